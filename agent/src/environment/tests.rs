//! Tests of environments against objects of a store.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::facts::Facts;
use crate::manifest;
use crate::store::Store;
use k8s_openapi::api::core::v1::Pod;

const OBJECTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {one: '1', two: '2'}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {user: admin, one: from-secret}
data: {binary: /w==}
";

fn facts() -> Facts {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Facts {
        node_name: "node-1".to_owned(),
        host_ips: vec![address("192.0.2.1"), address("2001:db8::1")],
        pod_ips: vec![address("10.88.0.7"), address("fd00::7")],
        allocatable_cpu_milli: 3500,
        allocatable_memory: 8 << 30,
    }
}

fn pod(container: &str) -> Pod {
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "web", "labels": {{"app": "shop", "b": "x.y"}},
             "annotations": {{"note": "a\nb"}}}},
            "spec": {{"serviceAccountName": "robot", "volumes": [{{"name": "v", "emptyDir": {{}}}}], "containers": [{{"name": "a", "image": "x:1", {container}}},
              {{"name": "other", "image": "x:1", "resources": {{"limits": {{"cpu": "250m"}}}}}}]}}}}"#
    );
    let mut objects = manifest::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
    let mut pod = objects.remove(0).as_pod().unwrap().clone();
    pod.metadata.uid = Some("uid-1".to_owned());
    pod
}

fn environment(container: &str) -> Result<Vec<(String, String)>, EnvironmentError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for object in manifest::parse(OBJECTS, "test").unwrap_or_else(|error| panic!("{error}")) {
        store.apply(object).unwrap();
    }
    let pod = pod(container);
    of_container(
        &pod,
        &pod.spec.as_ref().unwrap().containers[0],
        &facts(),
        &store,
        &|selector| match (&*selector.key, selector.optional) {
            ("NONE", Some(true)) => Ok(None),
            ("NONE", _) => Err(EnvironmentError::NoFileKey {
                key: selector.key.clone(),
                file: selector.path.clone(),
            }),
            (key, _) => Ok(Some(format!("{key} of {}", selector.path))),
        },
    )
}

#[test]
fn files_of_variables_are_asked_in_their_turn() {
    let of = |name: &str, key: &str, optional: bool| {
        format!(
            r#"{{"name": "{name}", "valueFrom": {{"fileKeyRef": {{"volumeName": "v", "path": "f", "key": "{key}", "optional": {optional}}}}}}}"#
        )
    };
    let container = |variables: &[String]| {
        format!(
            r#""env": [{}, {{"name": "Z", "value": "<$(A)>"}}]"#,
            variables.join(", ")
        )
    };
    assert_eq!(
        pairs(&container(&[of("A", "K", false), of("B", "NONE", true)])),
        ["A=K of f", "Z=<K of f>"]
    );
    assert_eq!(
        environment(&container(&[of("A", "NONE", false)]))
            .unwrap_err()
            .to_string(),
        r#"environment variable key "NONE" not found in file "f""#
    );
}

fn pairs(container: &str) -> Vec<String> {
    let environment = environment(container).unwrap_or_else(|error| panic!("{error}"));
    let pairs = environment.iter();
    pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn values_name_variables_before_them() {
    assert_eq!(
        pairs(
            r#""env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}, {"name": "C", "value": "3"},
               {"name": "A", "value": "$(A)0"}]"#
        ),
        ["A=10", "B=1-$(C)-$(A)", "C=3"]
    );
}

#[test]
fn fields_of_the_pod_are_told() {
    for (path, value) in [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['app']", "shop"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['note']", "a\nb"),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.88.0.7"),
        ("status.podIPs", "10.88.0.7,fd00::7"),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1,2001:db8::1"),
    ] {
        let container = format!(
            r#""env": [{{"name": "A", "valueFrom": {{"fieldRef": {{"fieldPath": "{path}"}}}}}}]"#
        );
        assert_eq!(pairs(&container), [format!("A={value}")], "{path}");
    }
}

#[test]
fn whole_maps_are_lines_in_order() {
    assert_eq!(
        field(&pod(r#""env": []"#), "metadata.labels", &facts()).unwrap(),
        "app=\"shop\"\nb=\"x.y\""
    );
    assert_eq!(
        field(&pod(r#""env": []"#), "metadata.annotations", &facts()).unwrap(),
        "note=\"a\\nb\""
    );
}

#[test]
fn an_address_that_is_not_there_yet_is_an_error() {
    let error = field(&pod(r#""env": []"#), "status.podIP", &Facts::default()).unwrap_err();
    assert_eq!(
        error,
        EnvironmentError::NoAddress("status.podIP".to_owned())
    );
}

#[test]
fn resources_are_in_divisors_rounded_up() {
    let resources = r#""resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}, "requests": {"cpu": "100m"}}"#;
    let told = |resources: &str, name: &str, more: &str| {
        pairs(&format!(
            r#"{resources}, "env": [{{"name": "A", "valueFrom": {{"resourceFieldRef": {{"resource": "{name}" {more}}}}}}}]"#
        ))
        .remove(0)
    };
    for (name, more, value) in [
        ("limits.cpu", "", "A=2"),
        ("limits.cpu", r#", "divisor": "1m""#, "A=1500"),
        ("limits.memory", "", "A=1073741824"),
        ("limits.memory", r#", "divisor": "1Mi""#, "A=1024"),
        ("limits.memory", r#", "divisor": "1G""#, "A=2"),
        ("requests.cpu", "", "A=1"),
        ("requests.memory", r#", "divisor": "0""#, "A=1073741824"),
        (
            "limits.cpu",
            r#", "containerName": "other", "divisor": "1m""#,
            "A=250",
        ),
    ] {
        assert_eq!(told(resources, name, more), value, "{name} {more}");
    }
    // Without limits: what the node has, and no request.
    for (name, more, value) in [
        ("limits.cpu", "", "A=4"),
        ("limits.memory", r#", "divisor": "1Gi""#, "A=8"),
        ("requests.cpu", "", "A=0"),
    ] {
        assert_eq!(
            told(r#""resources": {}"#, name, more),
            value,
            "{name} {more}"
        );
    }
}

#[test]
fn objects_are_told_whole_and_by_key() {
    assert_eq!(
        pairs(
            r#""envFrom": [{"configMapRef": {"name": "map"}}, {"prefix": "S_", "secretRef": {"name": "secret2", "optional": true}},
                 {"configMapRef": {"name": "none", "optional": true}}],
               "env": [{"name": "two", "value": "over"},
                 {"name": "U", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "user"}}},
                 {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "one"}}},
                 {"name": "N", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "nope", "optional": true}}},
                 {"name": "E", "value": "$(one)$(U)"}]"#
        ),
        ["one=1", "two=over", "U=admin", "M=1", "E=1admin"]
    );
}

#[test]
fn a_prefix_is_put_before_every_key() {
    let pairs = pairs(r#""envFrom": [{"prefix": "P-", "configMapRef": {"name": "map"}}]"#);
    assert_eq!(pairs, ["P-one=1", "P-two=2"]);
}

#[test]
fn what_is_not_there_is_said_as_the_kubelet_says_it() {
    let from = |source: &str| format!(r#""env": [{{"name": "A", "valueFrom": {{{source}}}}}]"#);
    for (container, message) in [
        (
            from(r#""configMapKeyRef": {"name": "x", "key": "k"}"#),
            "configmap \"x\" not found",
        ),
        (
            from(r#""secretKeyRef": {"name": "x", "key": "k"}"#),
            "secret \"x\" not found",
        ),
        (
            from(r#""configMapKeyRef": {"name": "map", "key": "k"}"#),
            "couldn't find key k in ConfigMap default/map",
        ),
        (
            from(r#""secretKeyRef": {"name": "secret", "key": "k"}"#),
            "couldn't find key k in Secret default/secret",
        ),
        (
            from(r#""secretKeyRef": {"name": "secret", "key": "binary"}"#),
            "key binary in Secret default/secret is no UTF-8 text: mount it as a file",
        ),
        (
            r#""envFrom": [{"configMapRef": {"name": "x"}}]"#.to_owned(),
            "configmap \"x\" not found",
        ),
        (
            r#""envFrom": [{"secretRef": {"name": "x"}}]"#.to_owned(),
            "secret \"x\" not found",
        ),
    ] {
        assert_eq!(environment(&container).unwrap_err().to_string(), message);
    }
}

#[test]
fn command_lines_are_expanded() {
    let pod = pod(r#""command": ["sh", "-c", "echo $(A) $$(A) $(B)"], "args": ["$(A)"]"#);
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let (command, args) = command_line(container, &[("A".to_owned(), "1".to_owned())]);
    assert_eq!(command, ["sh", "-c", "echo 1 $(A) $(B)"]);
    assert_eq!(args, ["1"]);
    let other = &pod.spec.as_ref().unwrap().containers[1];
    assert_eq!(command_line(other, &[]), (Vec::new(), Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_last_value_of_a_name_counts_and_no_name_is_there_twice(names in prop::collection::vec("[AB]", 1..8)) {
        let variables: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| format!(r#"{{"name": "{name}", "value": "{index}"}}"#))
            .collect();
        let environment = environment(&format!(r#""env": [{}]"#, variables.join(","))).unwrap();
        for (name, value) in &environment {
            let last = names.iter().rposition(|other| other == name).unwrap();
            prop_assert_eq!(value, &last.to_string());
            prop_assert_eq!(environment.iter().filter(|(other, _)| other == name).count(), 1);
        }
    }
}
