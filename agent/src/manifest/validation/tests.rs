//! Tables of pods and what is wrong with each.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::manifest::parse;

/// Puts `patch` over `value`: objects are merged, everything else is replaced.
fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(value), Value::Object(patch)) => {
            for (key, patch) in patch {
                merge(value.entry(key.clone()).or_insert(Value::Null), patch);
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}

fn errors_of(object: &Value) -> Vec<String> {
    match parse(&object.to_string(), "x") {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .errors
            .iter()
            .map(|error| format!("{}: {}", error.field.path, error.field.problem))
            .collect(),
    }
}

/// What is wrong with a pod of one container and the given spec over it.
fn of_spec(patch: &Value) -> Vec<String> {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a", "image": "x:1"}]}});
    merge(&mut pod["spec"], patch);
    errors_of(&pod)
}

/// What is wrong with a container, the given one over a good one, in a pod with a volume `v`.
fn of_container(patch: &Value) -> Vec<String> {
    let mut container = json!({"name": "a", "image": "x:1"});
    merge(&mut container, patch);
    of_spec(&json!({"containers": [container], "volumes": [{"name": "v"}]}))
        .into_iter()
        .map(|error| error.replacen("spec.containers[0].", "", 1))
        .collect()
}

/// What is wrong with a volume.
fn of_volume(source: &Value) -> Vec<String> {
    let mut volume = json!({"name": "v"});
    merge(&mut volume, source);
    of_spec(&json!({"volumes": [volume]}))
        .into_iter()
        .map(|error| error.replacen("spec.volumes[0].", "", 1))
        .collect()
}

#[track_caller]
fn assert_each(check: fn(&Value) -> Vec<String>, cases: &[(Value, &str)]) {
    for (patch, expected) in cases {
        let mut expected: Vec<&str> = expected.split_terminator('|').collect();
        expected.sort_unstable();
        let mut found = check(patch);
        found.sort_unstable();
        assert_eq!(found, expected, "{patch}");
    }
}

#[test]
fn names_and_labels_are_checked() {
    let of = |metadata: Value| {
        errors_of(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    };
    assert_eq!(of(json!({"name": "a.b-c"})), [""; 0]);
    assert_eq!(
        of(json!({})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    for (metadata, path) in [
        (
            json!({"name": "A"}),
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
        ),
        (
            json!({"name": "a", "namespace": "a.b"}),
            "metadata.namespace: Invalid value: \"a.b\": a lowercase RFC 1123 label",
        ),
        (
            json!({"name": "a", "labels": {"a b": "c"}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist",
        ),
        (
            json!({"name": "a", "labels": {"a": "c d"}}),
            "metadata.labels: Invalid value: \"c d\": a valid label must be",
        ),
        (
            json!({"name": "a", "annotations": {"/x": ""}}),
            "metadata.annotations: Invalid value: \"/x\": prefix part must be non-empty",
        ),
        (
            json!({"name": "a", "annotations": {"x": "y".repeat(300_000)}}),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            json!({"name": "a", "finalizers": ["x"]}),
            "metadata.finalizers: not supported: there are no controllers to remove them",
        ),
    ] {
        let errors = of(metadata);
        assert!(
            errors.len() == 1 && errors[0].starts_with(path),
            "{path}: {errors:?}"
        );
    }
}

#[test]
fn pods_are_checked() {
    assert_each(
        of_spec,
        &[
            (json!({}), ""),
            (json!({"containers": []}), "spec.containers: Required value"),
            (
                json!({"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}], "initContainers": [{"name": "a", "image": "x"}]}),
                "spec.containers[1].name: Duplicate value: \"a\"|spec.initContainers[0].name: Duplicate value: \"a\"",
            ),
            (
                json!({"restartPolicy": "Sometimes"}),
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ),
            (
                json!({"terminationGracePeriodSeconds": -1, "activeDeadlineSeconds": 0}),
                "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0|spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            ),
            (
                json!({"hostPID": true, "shareProcessNamespace": true}),
                "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ),
            (
                json!({"hostUsers": false, "hostNetwork": true, "hostPID": true}),
                "spec.hostNetwork: Forbidden: when `hostUsers` is false|spec.hostPID: Forbidden: when `hostUsers` is false",
            ),
            (json!({"hostUsers": false}), ""),
            (
                json!({"hostAliases": [{"ip": "10.1.2", "hostnames": ["a.b", "A"]}]}),
                "spec.hostAliases[0].ip: Invalid value: \"10.1.2\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)|spec.hostAliases[0].hostnames[1]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            (
                json!({"dnsPolicy": "None"}),
                "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a_b.example.", "."], "options": [{"name": "ndots", "value": "2"}, {}]}}),
                "spec.dnsConfig.options[1]: Required value: must not be empty",
            ),
            (
                json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "x"]}}),
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"x\"]: must not have more than 3 nameservers|spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
        ],
    );
}

#[test]
fn what_pods_refer_to_is_checked() {
    assert_each(
        of_spec,
        &[
            (
                json!({"os": {"name": "windows"}}),
                "spec.os.name: Unsupported value: \"windows\": supported values: \"linux\"",
            ),
            (
                json!({"imagePullSecrets": [{"name": ""}]}),
                "spec.imagePullSecrets[0].name: Required value",
            ),
            (json!({"automountServiceAccountToken": false}), ""),
            (
                json!({"automountServiceAccountToken": true}),
                "spec.automountServiceAccountToken: not supported: no token is mounted by itself: there is no API server to use it with; mount a projected serviceAccountToken",
            ),
            (
                json!({"schedulerName": "mine"}),
                "spec.schedulerName: Unsupported value: \"mine\": supported values: \"default-scheduler\"",
            ),
            (
                json!({"affinity": {}, "tolerations": [{"operator": "Exists"}], "ephemeralContainers": []}),
                "",
            ),
            (
                json!({"hostNetwork": true, "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
                "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true",
            ),
            (
                json!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]},
                    {"name": "b", "image": "x", "ports": [{"containerPort": 1, "hostPort": 81}, {"containerPort": 1, "hostPort": 81, "protocol": "UDP"}]}]}),
                "spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//81\"",
            ),
        ],
    );
}

#[test]
fn security_contexts_are_checked() {
    assert_each(
        of_spec,
        &[
            (
                json!({"securityContext": {"fsGroup": -1, "runAsUser": 4_294_967_296_i64, "supplementalGroups": [1, -2]}}),
                "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive|spec.securityContext.runAsUser: Invalid value: 4294967296: must be between 0 and 2147483647, inclusive|spec.securityContext.supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, inclusive",
            ),
            (
                json!({"securityContext": {"fsGroupChangePolicy": "Never", "seccompProfile": {"type": "Localhost"}}}),
                "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"|spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when profile type is Localhost",
            ),
            (
                json!({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}, {"name": "A", "value": ""}, {"name": "net/ipv4/ip_forward", "value": "0"}]}}),
                "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$|spec.securityContext.sysctls[2].name: Duplicate value: \"net.ipv4.ip_forward\"",
            ),
            (
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}]}}),
                "spec.securityContext.sysctls[0].name: Invalid value: \"net.ipv4.ip_forward\": may not be specified when 'hostNetwork' is set to true",
            ),
        ],
    );
    assert_each(
        of_container,
        &[
            (
                json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}}),
                "",
            ),
            (
                json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
                "securityContext.allowPrivilegeEscalation: Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ),
            (
                json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": false}}),
                "securityContext.allowPrivilegeEscalation: Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ),
            (
                json!({"securityContext": {"procMount": "Unmasked"}}),
                "securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ),
            (
                json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "/x/../y"}, "appArmorProfile": {"type": "Other"}}}),
                "securityContext.seccompProfile.localhostProfile: Invalid value: \"/x/../y\": can only be set when profile type is Localhost|securityContext.seccompProfile.localhostProfile: Invalid value: \"/x/../y\": must be a relative path|securityContext.seccompProfile.localhostProfile: Invalid value: \"/x/../y\": must not contain '..'|securityContext.appArmorProfile.type: Unsupported value: \"Other\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
            ),
        ],
    );
}

#[test]
fn containers_are_checked() {
    assert_each(
        of_container,
        &[
            (json!({"image": ""}), "image: Required value"),
            (
                json!({"image": " x"}),
                "image: Invalid value: \" x\": must not have leading or trailing whitespace",
            ),
            (
                json!({"imagePullPolicy": "Maybe"}),
                "imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ),
            (
                json!({"restartPolicy": "OnFailure", "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 1]}}]}),
                "",
            ),
            (
                json!({"restartPolicy": "Sometimes"}),
                "restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
            ),
            (
                json!({"restartPolicyRules": [{"action": "Stop"}, {"action": "RestartAllContainers",
                    "exitCodes": {"operator": "Out", "values": vec![1; 256]}}]}),
                "restartPolicy: Required value: must specify restartPolicy when restart rules are used|restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"|restartPolicyRules[0].exitCodes: Required value: must be specified|restartPolicyRules[1].action: not supported: containers are started again one by one; use Restart|restartPolicyRules[1].exitCodes.operator: Unsupported value: \"Out\": supported values: \"In\", \"NotIn\"|restartPolicyRules[1].exitCodes.values: Too many: 256: must have at most 255 items",
            ),
            (
                json!({"ports": [{"containerPort": 0}, {"containerPort": 70000, "name": "HTTP"}, {"containerPort": 1, "protocol": "ICMP", "hostIP": "x", "hostPort": -1}]}),
                "ports[0].containerPort: Required value|ports[1].name: Invalid value: \"HTTP\": must contain only alpha-numeric characters (a-z, 0-9) and hyphens (-), at least one letter, no two hyphens in a row, and no hyphen at an end, and be no more than 15 characters|ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive|ports[2].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive|ports[2].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"|ports[2].hostIP: Invalid value: \"x\": must be a valid IP address",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}]}),
                "",
            ),
            (
                json!({"volumeMounts": [{"name": "w", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/a:b"}, {"name": "v"}]}),
                "volumeMounts[0].name: Not found: \"w\"|volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique|volumeMounts[2].mountPath: Invalid value: \"/a:b\": must not contain ':'|volumeMounts[3].mountPath: Required value",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "/a", "subPathExpr": "b/.."}]}),
                "volumeMounts[0].subPath: Invalid value: \"/a\": must be a relative path|volumeMounts[0].subPathExpr: Invalid value: \"b/..\": must not contain '..'|volumeMounts[0].subPathExpr: Invalid value: \"b/..\": subPathExpr and subPath are mutually exclusive",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]}),
                "volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ),
            (
                json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"}, {"name": "v", "mountPath": "/w", "readOnly": true, "recursiveReadOnly": "IfPossible"}]}),
                "volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
            ),
            (
                json!({"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}),
                "",
            ),
            (
                json!({"resources": {"limits": {"cpu": "1", "memory": "x"}, "requests": {"cpu": "2", "memory": "-1"}}}),
                "resources.limits.memory: Invalid value: \"x\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'|resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1|resources.requests.memory: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"resources": {"limits": {"nvidia.com/gpu": "1"}}}),
                "resources.limits.nvidia.com/gpu: not supported: only cpu and memory are limited",
            ),
            (
                json!({"lifecycle": {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 31}}, "postStart": {"exec": {}, "httpGet": {"port": 0}}}}),
                "lifecycle.postStart: Forbidden: may not specify more than 1 handler type|lifecycle.postStart.exec.command: Required value|lifecycle.postStart.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive|lifecycle.preStop.sleep.seconds: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)|lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
            ),
        ],
    );
}

#[test]
fn init_containers_are_checked() {
    let of = |patch: &Value| {
        let mut container = json!({"name": "i", "image": "x:1"});
        merge(&mut container, patch);
        of_spec(&json!({"initContainers": [container]}))
    };
    let probe = json!({"exec": {"command": ["true"]}});
    assert_eq!(
        of(&json!({"restartPolicy": "Always", "startupProbe": probe, "lifecycle": {}})),
        [""; 0]
    );
    assert_eq!(
        of(&json!({"livenessProbe": probe, "lifecycle": {}})),
        [
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ]
    );
    assert_eq!(
        of(&json!({"restartPolicy": "Sometimes"})),
        [
            "spec.initContainers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""
        ]
    );
}

#[test]
fn probes_are_checked() {
    assert_each(
        of_container,
        &[
            (
                json!({"livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 1}, "successThreshold": 3}}),
                "",
            ),
            (
                json!({"livenessProbe": {}}),
                "livenessProbe: Required value: must specify a handler type",
            ),
            (
                json!({"livenessProbe": {"exec": {"command": ["true"]}, "grpc": {"port": 0}}}),
                "livenessProbe: Forbidden: may not specify more than 1 handler type|livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"startupProbe": {"exec": {"command": ["true"]}, "successThreshold": 2, "periodSeconds": -1, "terminationGracePeriodSeconds": 0}}),
                "startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0|startupProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than zero|startupProbe.successThreshold: Invalid value: 2: must be 1",
            ),
            (
                json!({"readinessProbe": {"tcpSocket": {"port": "http"}, "terminationGracePeriodSeconds": 5}, "ports": [{"name": "web", "containerPort": 80}]}),
                "readinessProbe.tcpSocket.port: Invalid value: \"http\": must be the name of a port of this container|readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
            ),
            (
                json!({"livenessProbe": {"httpGet": {"port": "web", "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": ""}]}}, "ports": [{"name": "web", "containerPort": 80}]}),
                "livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"|livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ),
        ],
    );
}

#[test]
fn variables_are_checked() {
    let from = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    assert_each(
        of_container,
        &[
            (json!({"env": [{"name": "a-b.c"}]}), ""),
            (
                json!({"env": [{"name": "a=b"}, {"name": ""}, {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                "env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='|env[1].name: Required value|env[2].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ),
            (
                from(json!({"fieldRef": {"fieldPath": "metadata.labels"}})),
                "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.labels\": error converting fieldPath: field label not supported",
            ),
            (
                from(json!({"fieldRef": {"fieldPath": "metadata.labels['a']"}})),
                "",
            ),
            (
                from(json!({"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v2"}})),
                "env[0].valueFrom.fieldRef.apiVersion: Unsupported value: \"v2\": supported values: \"v1\"",
            ),
            (
                from(json!({})),
                "env[0].valueFrom: Required value: must specify one of the sources",
            ),
            (
                from(
                    json!({"secretKeyRef": {"name": "a", "key": ""}, "configMapKeyRef": {"name": "", "key": "a/b"}}),
                ),
                "env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time|env[0].valueFrom.configMapKeyRef.name: Required value|env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')|env[0].valueFrom.secretKeyRef.key: Required value",
            ),
            (
                from(json!({"fileKeyRef": {"volumeName": "v", "path": "d/env", "key": "A"}})),
                "",
            ),
            (
                from(json!({"fileKeyRef": {"volumeName": "w", "path": "../env", "key": "A=B"}})),
                "env[0].valueFrom.fileKeyRef.volumeName: Not found: \"w\"|env[0].valueFrom.fileKeyRef.path: Invalid value: \"../env\": must not contain '..'|env[0].valueFrom.fileKeyRef.key: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ),
            (
                from(json!({"fileKeyRef": {"volumeName": "", "path": "", "key": ""}})),
                "env[0].valueFrom.fileKeyRef.volumeName: Required value|env[0].valueFrom.fileKeyRef.volumeName: Not found: \"\"|env[0].valueFrom.fileKeyRef.path: Required value|env[0].valueFrom.fileKeyRef.key: Required value",
            ),
            (
                from(json!({"resourceFieldRef": {"resource": "limits.disk", "divisor": "3"}})),
                "env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.disk\": supported values: \"limits.cpu\", \"limits.memory\", \"requests.cpu\", \"requests.memory\"|env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"3\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported",
            ),
            (
                from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}})),
                "",
            ),
            (
                json!({"envFrom": [{"prefix": "P_", "secretRef": {"name": "a"}}, {}]}),
                "envFrom[1]: Required value: must specify one of the sources",
            ),
        ],
    );
}

#[test]
fn volumes_are_checked() {
    assert_each(
        of_volume,
        &[
            (
                json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}),
                "",
            ),
            (
                json!({"emptyDir": {"medium": "Tape", "sizeLimit": "x"}}),
                "emptyDir.medium: Unsupported value: \"Tape\": supported values: \"\", \"Memory\"|emptyDir.sizeLimit: Invalid value: \"x\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                json!({"emptyDir": {"medium": "HugePages-2Mi"}}),
                "emptyDir.medium: not supported: huge pages are not mounted; use Memory",
            ),
            (
                json!({"emptyDir": {}, "hostPath": {"path": "/x"}}),
                "spec.volumes[0]: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"hostPath": {"path": "x", "type": "Door"}}),
                "hostPath.path: Invalid value: \"x\": must be an absolute path|hostPath.type: Unsupported value: \"Door\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ),
            (
                json!({"hostPath": {"path": "/x/../y"}}),
                "hostPath.path: Invalid value: \"/x/../y\": must not contain '..'",
            ),
            (
                json!({"secret": {"defaultMode": 512}}),
                "secret.secretName: Required value|secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
            ),
            (
                json!({"configMap": {"name": "c", "items": [{"key": "", "path": "/a"}, {"key": "k", "path": "../a", "mode": -1}, {"key": "k", "path": "..a"}, {"key": "k", "path": "b"}, {"key": "k", "path": "b"}, {"key": "k", "path": "."}]}}),
                "configMap.items[0].key: Required value|configMap.items[0].path: Invalid value: \"/a\": must be a relative path|configMap.items[1].path: Invalid value: \"../a\": must not contain '..'|configMap.items[1].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive|configMap.items[2].path: Invalid value: \"..a\": must not start with '..'|configMap.items[4].path: Invalid value: \"b\": conflicting duplicate paths|configMap.items[5].path: Invalid value: \".\": must name a file",
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "a"}, {"path": "b", "fieldRef": {"fieldPath": "status.podIP"}}, {"path": "c", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
                "downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required|downwardAPI.items[1].fieldRef.fieldPath: Invalid value: \"status.podIP\": error converting fieldPath: field label not supported|downwardAPI.items[2].resourceFieldRef.containerName: Required value",
            ),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}, {"secret": {"name": "", "items": [{"key": "k", "path": "t"}]}}, {"configMap": {"name": "c"}, "secret": {"name": "s"}}]}}),
                "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes|projected.sources[1].secret.name: Required value|projected.sources[1].secret.items[0].path: Invalid value: \"t\": conflicting duplicate paths|projected.sources[2]: Forbidden: may not specify more than 1 volume type per source",
            ),
            (
                json!({"image": {"pullPolicy": "No"}}),
                "image.reference: Required value|image.pullPolicy: Unsupported value: \"No\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ),
            (
                json!({"persistentVolumeClaim": {"claimName": "c"}}),
                "persistentVolumeClaim: not supported: there are no persistent volumes; use a hostPath",
            ),
        ],
    );
    assert_eq!(
        of_spec(&json!({"volumes": [{"name": "v"}, {"name": "v"}, {"name": "V_"}]})).len(),
        2
    );
}

#[test]
fn secrets_and_config_maps_are_checked() {
    let of = |kind: &str, fields: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
        merge(&mut object, &fields);
        errors_of(&object)
    };
    assert_eq!(
        of(
            "Secret",
            json!({"data": {"a": "YQ=="}, "stringData": {"b": "c"}})
        ),
        [""; 0]
    );
    for (kind, fields, expected) in [
        (
            "Secret",
            json!({"stringData": {"..a": ""}}),
            "data[..a]: Invalid value: \"..a\": must not start with '..'",
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": ""}}),
            "data[tls.key]: Required value",
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "hunter2"}}),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": must be JSON",
        ),
        (
            "Secret",
            json!({"stringData": {"a": "x".repeat(1_100_000)}}),
            "data: Too long: may not be more than 1048576 bytes",
        ),
        (
            "ConfigMap",
            json!({"data": {"a": ""}, "binaryData": {"a": ""}}),
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
        ),
        (
            "ServiceAccount",
            json!({"imagePullSecrets": [{}]}),
            "imagePullSecrets[0].name: Required value",
        ),
    ] {
        assert_eq!(of(kind, fields), [expected], "{kind}");
    }
    let errors = of("Secret", json!({"data": {"a": "%%%"}}));
    assert!(
        errors[0].starts_with("data.a: Invalid symbol"),
        "{errors:?}"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z/.:$()]{0,6}".prop_map(Value::from),
    ];
    let key = "(name|image|ports|containers|volumes|secret|items|path|env|valueFrom|securityContext|resources|limits|x)";
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn no_pod_panics_and_what_is_accepted_is_accepted_again(spec in any_value()) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec});
        if let Ok(objects) = parse(&pod.to_string(), "x") {
            let text = serde_json::to_string(&objects[0]).unwrap();
            let again = parse(&text, "x").map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(again, objects);
        }
    }
}
