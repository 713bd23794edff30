//! Fields of a pod, but for its containers and volumes.

use super::{Row, idle, refused, supported};

/// In the order of the fields' places.
pub(super) const ROWS: &[Row] = &[
    supported("spec.activeDeadlineSeconds", "pod_worker"),
    refused(
        "spec.affinity",
        "on one node there is nothing to choose between; use nodeSelector or nodeName",
    ),
    supported("spec.automountServiceAccountToken", "manifest/validation"),
    supported("spec.containers", "manifest/validation"),
    supported("spec.dnsConfig", "runtime/dns"),
    supported("spec.dnsConfig.nameservers", "runtime/dns"),
    supported("spec.dnsConfig.searches", "runtime/dns"),
    supported("spec.dnsConfig.options", "runtime/dns"),
    supported("spec.dnsConfig.options[].name", "runtime/dns"),
    supported("spec.dnsConfig.options[].value", "runtime/dns"),
    supported("spec.dnsPolicy", "runtime/dns"),
    idle(
        "spec.enableServiceLinks",
        "there are no Services to link to",
    ),
    refused(
        "spec.ephemeralContainers",
        "they are added to a running pod, never by a manifest",
    ),
    supported("spec.hostAliases", "runtime/hosts"),
    supported("spec.hostAliases[].hostnames", "runtime/hosts"),
    supported("spec.hostAliases[].ip", "runtime/hosts"),
    supported("spec.hostIPC", "runtime/namespaces"),
    supported("spec.hostNetwork", "runtime/namespaces"),
    supported("spec.hostPID", "runtime/namespaces"),
    supported("spec.hostUsers", "runtime/namespaces"),
    supported("spec.hostname", "runtime/hostname"),
    supported("spec.hostnameOverride", "runtime/hostname"),
    supported("spec.imagePullSecrets", "manifest/validation"),
    supported("spec.imagePullSecrets[].name", "manifest/validation"),
    supported("spec.nodeName", "status"),
    supported("spec.nodeSelector", "status"),
    supported("spec.os", "manifest/validation"),
    supported("spec.os.name", "manifest/validation"),
    refused(
        "spec.overhead",
        "RuntimeClass objects say it, and there are none",
    ),
    idle(
        "spec.preemptionPolicy",
        "every pod runs: none is put in another one's place",
    ),
    refused("spec.priority", "there are no priority classes"),
    refused("spec.priorityClassName", "there are no priority classes"),
    refused(
        "spec.readinessGates",
        "there are no controllers that would open them",
    ),
    refused(
        "spec.resourceClaims",
        "there is no dynamic resource allocation; name devices by their CDI annotations",
    ),
    refused(
        "spec.resources",
        "resources of a whole pod are not enforced; set those of its containers",
    ),
    supported("spec.restartPolicy", "pod_worker"),
    supported("spec.runtimeClassName", "runtime/sandbox"),
    supported("spec.schedulerName", "manifest/validation"),
    refused(
        "spec.schedulingGates",
        "there is no scheduler that would wait for them",
    ),
    refused(
        "spec.schedulingGroup",
        "there is no scheduler that would place a group",
    ),
    supported("spec.securityContext", "manifest/validation"),
    supported("spec.securityContext.appArmorProfile", "runtime/security"),
    supported(
        "spec.securityContext.appArmorProfile.type",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.appArmorProfile.localhostProfile",
        "runtime/security",
    ),
    supported("spec.securityContext.fsGroup", "volume/tests"),
    supported("spec.securityContext.fsGroupChangePolicy", "volume/tests"),
    supported("spec.securityContext.runAsGroup", "runtime/security"),
    supported("spec.securityContext.runAsNonRoot", "runtime/security"),
    supported("spec.securityContext.runAsUser", "runtime/security"),
    supported("spec.securityContext.seLinuxOptions", "runtime/security"),
    supported(
        "spec.securityContext.seLinuxOptions.level",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.seLinuxOptions.role",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.seLinuxOptions.type",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.seLinuxOptions.user",
        "runtime/security",
    ),
    supported("spec.securityContext.seccompProfile", "runtime/security"),
    supported(
        "spec.securityContext.seccompProfile.type",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.seccompProfile.localhostProfile",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.supplementalGroups",
        "runtime/security",
    ),
    supported(
        "spec.securityContext.supplementalGroupsPolicy",
        "runtime/security",
    ),
    supported("spec.securityContext.sysctls", "manifest/validation"),
    supported("spec.securityContext.sysctls[].name", "manifest/validation"),
    supported(
        "spec.securityContext.sysctls[].value",
        "manifest/validation",
    ),
    refused(
        "spec.securityContext.seLinuxChangePolicy",
        "volumes are not relabelled",
    ),
    refused("spec.securityContext.windowsOptions", "this is Linux"),
    supported("spec.serviceAccount", "manifest/defaults"),
    supported("spec.serviceAccountName", "volume/tests"),
    supported("spec.setHostnameAsFQDN", "runtime/hostname"),
    supported("spec.shareProcessNamespace", "runtime/namespaces"),
    supported("spec.subdomain", "runtime/hostname"),
    supported("spec.terminationGracePeriodSeconds", "pod_worker"),
    idle("spec.tolerations", "the node has no taints"),
    idle(
        "spec.topologySpreadConstraints",
        "on one node the spread is always even",
    ),
    supported("spec.volumes", "manifest/validation"),
];
