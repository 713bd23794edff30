//! What another OCI runtime gets, and what it is not asked for.

use serde_json::{Value, json};

use super::super::*;
use super::request::Request;

fn refusal(request: &Request, has_recursive_read_only: bool) -> Option<(OciErrorKind, String)> {
    let refused = refuse_for_other_runtime(
        &request.sandbox,
        &request.container,
        has_recursive_read_only,
    );
    refused.err().map(|error| (error.kind(), error.to_string()))
}

#[test]
fn the_user_goes_between_head_and_tail() {
    let mut request = Request::default();
    request.container.resources.memory_limit_bytes = 1 << 20;
    request.container.security.run_as_user = RunAsUser::Name("alice".into());
    // It cannot be mistaken for the place of the user: the id is not known to who asks.
    request.container.environment.push(EnvironmentVariable {
        name: "A".into(),
        value: b"carpel-user-of-".to_vec(),
    });
    let parts = other_configuration(&request.right(), "c1", "/run/carpel/pods/p1/root").unwrap();
    let whole = format!("{}{{\"uid\":7}}{}", parts.head, parts.tail);
    let value: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(value["process"]["user"], json!({ "uid": 7 }));
    assert_eq!(value["process"]["args"], json!(["/bin/true"]));
    assert_eq!(value["root"]["path"], "/run/carpel/pods/p1/root");
    let environment = value["process"]["env"].to_string();
    assert!(environment.contains("A=carpel-user-of-"), "{environment}");
    assert_eq!(value["linux"]["cgroupsPath"], "/carpel/p1/c1");
    // Limits are Carpel's: the runtime is given none.
    let resources = &value["linux"]["resources"];
    assert!(resources.get("memory").is_none(), "{resources}");
    let rules = resources["devices"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "{resources}");
    assert_eq!(rules[0]["allow"], true, "{resources}");
    let mounts = value["mounts"].as_array().unwrap();
    let types: Vec<&str> = mounts.iter().filter_map(|it| it["type"].as_str()).collect();
    assert!(types.contains(&"cgroup") && !types.contains(&"cgroup2"));
    assert!(value.get("hooks").is_none(), "{value:#}");
}

#[test]
fn what_it_is_not_asked_for_is_refused_by_name() {
    assert_eq!(refusal(&Request::default(), false), None);
    let mount = |change: fn(&mut Mount)| {
        let mut mount = Mount {
            container_path: "/m".into(),
            host_path: "/h".into(),
            ..Mount::default()
        };
        change(&mut mount);
        Request::default().with_mount(mount)
    };
    let mut bytes = Request::default();
    bytes.container.environment.push(EnvironmentVariable {
        name: "B".into(),
        value: vec![0xff],
    });
    for (request, field) in [
        (
            mount(|mount| mount.image = Some(ImageSpec::default())),
            "mounts[0].image",
        ),
        (
            mount(|mount| mount.propagation = MountPropagation::Bidirectional),
            "mounts[0].propagation",
        ),
        (
            mount(|mount| mount.recursive_read_only = true),
            "mounts[0].recursive_read_only",
        ),
        (bytes, "envs[\"B\"]"),
    ] {
        let (kind, message) = refusal(&request, false).unwrap();
        assert_eq!(kind, OciErrorKind::Unimplemented);
        assert!(message.starts_with(field), "{message}");
    }
    let recursive = mount(|mount| mount.recursive_read_only = true);
    assert_eq!(refusal(&recursive, true), None);
}
