//! Fields of a container; the same for init containers.

use super::{Row, refused, supported};

/// In the order of the fields' places.
pub(super) const ROWS: &[Row] = &[
    supported("spec.containers[].args", "environment"),
    supported("spec.containers[].command", "environment"),
    supported("spec.containers[].env", "environment"),
    supported("spec.containers[].env[].name", "environment"),
    supported("spec.containers[].env[].value", "environment"),
    supported("spec.containers[].env[].valueFrom", "environment"),
    supported(
        "spec.containers[].env[].valueFrom.configMapKeyRef",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.configMapKeyRef.key",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.configMapKeyRef.name",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.configMapKeyRef.optional",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.secretKeyRef",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.secretKeyRef.key",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.secretKeyRef.name",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.secretKeyRef.optional",
        "environment",
    ),
    supported("spec.containers[].env[].valueFrom.fieldRef", "environment"),
    supported(
        "spec.containers[].env[].valueFrom.fieldRef.apiVersion",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fieldRef.fieldPath",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fileKeyRef",
        "volume/env_file",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fileKeyRef.key",
        "volume/env_file",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fileKeyRef.optional",
        "volume/env_file",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fileKeyRef.path",
        "volume/env_file",
    ),
    supported(
        "spec.containers[].env[].valueFrom.fileKeyRef.volumeName",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].env[].valueFrom.resourceFieldRef",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.resourceFieldRef.containerName",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.resourceFieldRef.divisor",
        "environment",
    ),
    supported(
        "spec.containers[].env[].valueFrom.resourceFieldRef.resource",
        "environment",
    ),
    supported("spec.containers[].envFrom", "environment"),
    supported("spec.containers[].envFrom[].configMapRef", "environment"),
    supported(
        "spec.containers[].envFrom[].configMapRef.name",
        "environment",
    ),
    supported(
        "spec.containers[].envFrom[].configMapRef.optional",
        "environment",
    ),
    supported("spec.containers[].envFrom[].secretRef", "environment"),
    supported("spec.containers[].envFrom[].secretRef.name", "environment"),
    supported(
        "spec.containers[].envFrom[].secretRef.optional",
        "environment",
    ),
    supported("spec.containers[].envFrom[].prefix", "environment"),
    supported("spec.containers[].image", "manifest/validation"),
    supported("spec.containers[].imagePullPolicy", "manifest/defaults"),
    supported("spec.containers[].lifecycle", "pod_worker"),
    supported(
        "spec.containers[].lifecycle.postStart",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.exec",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.exec.command",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.host",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.httpHeaders",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.httpHeaders[].name",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.httpHeaders[].value",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.path",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.port",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.httpGet.scheme",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.sleep",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.postStart.sleep.seconds",
        "manifest/validation",
    ),
    refused(
        "spec.containers[].lifecycle.postStart.tcpSocket",
        "a kubelet runs no such hook either; use exec or httpGet",
    ),
    supported("spec.containers[].lifecycle.preStop", "manifest/validation"),
    supported(
        "spec.containers[].lifecycle.preStop.exec",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.exec.command",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.host",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.httpHeaders",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.httpHeaders[].name",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.httpHeaders[].value",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.path",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.port",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.httpGet.scheme",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.sleep",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].lifecycle.preStop.sleep.seconds",
        "manifest/validation",
    ),
    refused(
        "spec.containers[].lifecycle.preStop.tcpSocket",
        "a kubelet runs no such hook either; use exec or httpGet",
    ),
    supported(
        "spec.containers[].lifecycle.stopSignal",
        "manifest/validation",
    ),
    supported("spec.containers[].livenessProbe", "probe"),
    supported("spec.containers[].livenessProbe.exec", "probe"),
    supported("spec.containers[].livenessProbe.exec.command", "probe"),
    supported("spec.containers[].livenessProbe.failureThreshold", "probe"),
    supported(
        "spec.containers[].livenessProbe.initialDelaySeconds",
        "probe",
    ),
    supported("spec.containers[].livenessProbe.periodSeconds", "probe"),
    supported("spec.containers[].livenessProbe.successThreshold", "probe"),
    supported("spec.containers[].livenessProbe.timeoutSeconds", "probe"),
    supported(
        "spec.containers[].livenessProbe.terminationGracePeriodSeconds",
        "manifest/validation",
    ),
    supported("spec.containers[].livenessProbe.grpc", "probe"),
    supported("spec.containers[].livenessProbe.grpc.port", "probe"),
    supported("spec.containers[].livenessProbe.grpc.service", "probe"),
    supported("spec.containers[].livenessProbe.httpGet", "probe"),
    supported("spec.containers[].livenessProbe.httpGet.host", "probe"),
    supported(
        "spec.containers[].livenessProbe.httpGet.httpHeaders",
        "probe",
    ),
    supported(
        "spec.containers[].livenessProbe.httpGet.httpHeaders[].name",
        "probe",
    ),
    supported(
        "spec.containers[].livenessProbe.httpGet.httpHeaders[].value",
        "probe",
    ),
    supported("spec.containers[].livenessProbe.httpGet.path", "probe"),
    supported("spec.containers[].livenessProbe.httpGet.port", "probe"),
    supported("spec.containers[].livenessProbe.httpGet.scheme", "probe"),
    supported("spec.containers[].livenessProbe.tcpSocket", "probe"),
    supported("spec.containers[].livenessProbe.tcpSocket.host", "probe"),
    supported("spec.containers[].livenessProbe.tcpSocket.port", "probe"),
    supported("spec.containers[].readinessProbe", "probe"),
    supported("spec.containers[].readinessProbe.exec", "probe"),
    supported("spec.containers[].readinessProbe.exec.command", "probe"),
    supported("spec.containers[].readinessProbe.failureThreshold", "probe"),
    supported(
        "spec.containers[].readinessProbe.initialDelaySeconds",
        "probe",
    ),
    supported("spec.containers[].readinessProbe.periodSeconds", "probe"),
    supported("spec.containers[].readinessProbe.successThreshold", "probe"),
    supported("spec.containers[].readinessProbe.timeoutSeconds", "probe"),
    supported(
        "spec.containers[].readinessProbe.terminationGracePeriodSeconds",
        "manifest/validation",
    ),
    supported("spec.containers[].readinessProbe.grpc", "probe"),
    supported("spec.containers[].readinessProbe.grpc.port", "probe"),
    supported("spec.containers[].readinessProbe.grpc.service", "probe"),
    supported("spec.containers[].readinessProbe.httpGet", "probe"),
    supported("spec.containers[].readinessProbe.httpGet.host", "probe"),
    supported(
        "spec.containers[].readinessProbe.httpGet.httpHeaders",
        "probe",
    ),
    supported(
        "spec.containers[].readinessProbe.httpGet.httpHeaders[].name",
        "probe",
    ),
    supported(
        "spec.containers[].readinessProbe.httpGet.httpHeaders[].value",
        "probe",
    ),
    supported("spec.containers[].readinessProbe.httpGet.path", "probe"),
    supported("spec.containers[].readinessProbe.httpGet.port", "probe"),
    supported("spec.containers[].readinessProbe.httpGet.scheme", "probe"),
    supported("spec.containers[].readinessProbe.tcpSocket", "probe"),
    supported("spec.containers[].readinessProbe.tcpSocket.host", "probe"),
    supported("spec.containers[].readinessProbe.tcpSocket.port", "probe"),
    supported("spec.containers[].startupProbe", "probe"),
    supported("spec.containers[].startupProbe.exec", "probe"),
    supported("spec.containers[].startupProbe.exec.command", "probe"),
    supported("spec.containers[].startupProbe.failureThreshold", "probe"),
    supported(
        "spec.containers[].startupProbe.initialDelaySeconds",
        "probe",
    ),
    supported("spec.containers[].startupProbe.periodSeconds", "probe"),
    supported("spec.containers[].startupProbe.successThreshold", "probe"),
    supported("spec.containers[].startupProbe.timeoutSeconds", "probe"),
    supported(
        "spec.containers[].startupProbe.terminationGracePeriodSeconds",
        "manifest/validation",
    ),
    supported("spec.containers[].startupProbe.grpc", "probe"),
    supported("spec.containers[].startupProbe.grpc.port", "probe"),
    supported("spec.containers[].startupProbe.grpc.service", "probe"),
    supported("spec.containers[].startupProbe.httpGet", "probe"),
    supported("spec.containers[].startupProbe.httpGet.host", "probe"),
    supported(
        "spec.containers[].startupProbe.httpGet.httpHeaders",
        "probe",
    ),
    supported(
        "spec.containers[].startupProbe.httpGet.httpHeaders[].name",
        "probe",
    ),
    supported(
        "spec.containers[].startupProbe.httpGet.httpHeaders[].value",
        "probe",
    ),
    supported("spec.containers[].startupProbe.httpGet.path", "probe"),
    supported("spec.containers[].startupProbe.httpGet.port", "probe"),
    supported("spec.containers[].startupProbe.httpGet.scheme", "probe"),
    supported("spec.containers[].startupProbe.tcpSocket", "probe"),
    supported("spec.containers[].startupProbe.tcpSocket.host", "probe"),
    supported("spec.containers[].startupProbe.tcpSocket.port", "probe"),
    supported("spec.containers[].name", "manifest/validation"),
    supported("spec.containers[].ports", "manifest/validation"),
    supported(
        "spec.containers[].ports[].containerPort",
        "manifest/validation",
    ),
    supported("spec.containers[].ports[].hostIP", "manifest/validation"),
    supported("spec.containers[].ports[].hostPort", "manifest/validation"),
    supported("spec.containers[].ports[].name", "manifest/validation"),
    supported("spec.containers[].ports[].protocol", "manifest/validation"),
    refused(
        "spec.containers[].resizePolicy",
        "containers are not resized in place; a change starts them again",
    ),
    supported("spec.containers[].resources", "runtime/resources"),
    refused(
        "spec.containers[].resources.claims",
        "there is no dynamic resource allocation; name devices by their CDI annotations",
    ),
    supported("spec.containers[].resources.limits", "runtime/resources"),
    supported("spec.containers[].resources.requests", "runtime/resources"),
    supported("spec.containers[].restartPolicy", "pod_worker"),
    supported("spec.containers[].restartPolicyRules", "pod_worker/restart"),
    supported(
        "spec.containers[].restartPolicyRules[].action",
        "pod_worker/restart",
    ),
    supported(
        "spec.containers[].restartPolicyRules[].exitCodes",
        "pod_worker/restart",
    ),
    supported(
        "spec.containers[].restartPolicyRules[].exitCodes.operator",
        "pod_worker/restart",
    ),
    supported(
        "spec.containers[].restartPolicyRules[].exitCodes.values",
        "pod_worker/restart",
    ),
    supported("spec.containers[].securityContext", "runtime/security"),
    supported(
        "spec.containers[].securityContext.allowPrivilegeEscalation",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.appArmorProfile",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.appArmorProfile.localhostProfile",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.appArmorProfile.type",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.capabilities",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.capabilities.add",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.capabilities.drop",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.privileged",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.procMount",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.readOnlyRootFilesystem",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.runAsGroup",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.runAsNonRoot",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.runAsUser",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seLinuxOptions",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seLinuxOptions.level",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seLinuxOptions.role",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seLinuxOptions.type",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seLinuxOptions.user",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seccompProfile",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seccompProfile.localhostProfile",
        "runtime/security",
    ),
    supported(
        "spec.containers[].securityContext.seccompProfile.type",
        "runtime/security",
    ),
    refused(
        "spec.containers[].securityContext.windowsOptions",
        "this is Linux",
    ),
    supported("spec.containers[].stdin", "runtime/container"),
    supported("spec.containers[].stdinOnce", "runtime/container"),
    supported("spec.containers[].terminationMessagePath", "status"),
    supported("spec.containers[].terminationMessagePolicy", "status"),
    supported("spec.containers[].tty", "runtime/container"),
    refused(
        "spec.containers[].volumeDevices",
        "there are no block volumes; mount the device as a hostPath",
    ),
    supported("spec.containers[].volumeMounts", "manifest/validation"),
    supported(
        "spec.containers[].volumeMounts[].mountPath",
        "manifest/validation",
    ),
    supported(
        "spec.containers[].volumeMounts[].mountPropagation",
        "volume/tests",
    ),
    supported(
        "spec.containers[].volumeMounts[].name",
        "manifest/validation",
    ),
    supported("spec.containers[].volumeMounts[].readOnly", "volume/tests"),
    supported(
        "spec.containers[].volumeMounts[].recursiveReadOnly",
        "volume/tests",
    ),
    supported(
        "spec.containers[].volumeMounts[].subPath",
        "volume/sub_path",
    ),
    supported(
        "spec.containers[].volumeMounts[].subPathExpr",
        "volume/tests",
    ),
    supported("spec.containers[].workingDir", "runtime/container"),
];
