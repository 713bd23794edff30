//! Arguments, environment, user, limits: what the first process gets.

use std::path::Path;

use serde_json::Value;

use super::super::*;
use super::request::{Request, process_of, strings};

/// The arguments of request and image, each as words.
fn arguments(command: &str, arguments: &str, entrypoint: &str, cmd: &str) -> Vec<String> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let mut request = Request::default();
    request.container.command = words(command);
    request.container.arguments = words(arguments);
    request.image.entrypoint = words(entrypoint);
    request.image.command = words(cmd);
    process_of(&request.right()).args().clone().unwrap()
}

#[test]
fn command_and_arguments_follow_the_images() {
    assert_eq!(arguments("", "", "e", "c d"), ["e", "c", "d"]);
    assert_eq!(arguments("", "x", "e", "c"), ["e", "x"]);
    assert_eq!(arguments("r", "", "e", "c"), ["r"]);
    assert_eq!(arguments("r", "x y", "e", "c"), ["r", "x", "y"]);
    assert_eq!(arguments("", "x", "", ""), ["x"]);
    assert_eq!(arguments("", "", "", "c"), ["c"]);
}

#[test]
fn nothing_to_run_is_an_error_that_names_the_image() {
    let mut request = Request::default();
    request.container.command.clear();
    request.container.image.image = "empty:1".to_owned();
    assert_eq!(
        request.wrong(),
        (
            OciErrorKind::Invalid,
            "no command: neither the request nor image \"empty:1\" has a command, an entrypoint or arguments".to_owned()
        )
    );
}

#[test]
fn the_environment_is_defaults_image_request_in_this_order() {
    let mut request = Request::default();
    request.image.environment = strings(&["A=image", "PATH=/image", "B=image", "nothing"]);
    request.container.tty = true;
    request.container.environment = vec![
        EnvironmentVariable {
            name: "B".to_owned(),
            value: b"request".to_vec(),
        },
        EnvironmentVariable {
            name: "C".to_owned(),
            value: b"=x\xff".to_vec(),
        },
    ];
    let calculated = request.right();
    let expected: [&[u8]; 6] = [
        b"PATH=/image",
        b"TERM=xterm",
        b"HOSTNAME=web-0",
        b"A=image",
        b"B=request",
        b"C==x\xff",
    ];
    assert_eq!(calculated.environment, expected);
    let lossy = process_of(&calculated).env().as_ref().unwrap();
    assert_eq!(lossy.last().unwrap(), "C==x\u{fffd}");
}

#[test]
fn without_a_terminal_there_is_no_term_and_path_has_a_default() {
    assert_eq!(
        Request::default().right().environment,
        [
            b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
            b"HOSTNAME=web-0".to_vec()
        ]
    );
}

#[test]
fn a_variable_without_a_name_or_with_a_nul_is_refused() {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0")] {
        let mut request = Request::default();
        request.container.environment = vec![EnvironmentVariable {
            name: name.to_owned(),
            value: value.as_bytes().to_vec(),
        }];
        assert_eq!(request.wrong().0, OciErrorKind::Invalid, "{name:?}");
    }
}

#[test]
fn the_working_directory_is_the_requests_then_the_images_then_the_root() {
    let mut request = Request::default();
    let directory = |request: &Request| process_of(&request.right()).cwd().clone();
    assert_eq!(directory(&request), Path::new("/"));
    request.image.working_directory = "srv".to_owned();
    assert_eq!(directory(&request), Path::new("/srv"));
    request.container.working_directory = "/data/./x".to_owned();
    assert_eq!(directory(&request), Path::new("/data/x"));
    request.container.working_directory = "data".to_owned();
    assert_eq!(
        request.wrong().1,
        "working_dir: \"data\": not an absolute path"
    );
}

#[test]
fn the_stop_signal_is_the_requests_then_the_images_then_term() {
    let mut request = Request::default();
    assert_eq!(request.right().stop_signal, 15);
    request.image.stop_signal = "SIGQUIT".to_owned();
    assert_eq!(request.right().stop_signal, 3);
    request.container.stop_signal = Some(12);
    assert_eq!(request.right().stop_signal, 12);
    request.container.stop_signal = Some(0);
    assert_eq!(
        request.wrong().1,
        "stop_signal: \"0\": not a signal of Linux"
    );
}

fn user(security: ContainerSecurity, image_user: &str) -> Result<UserRequest, OciError> {
    let mut request = Request::default();
    request.container.security = security;
    request.image.user = image_user.to_owned();
    Ok(request.calculate()?.user)
}

#[test]
fn the_user_is_the_requests_then_the_images_then_root() {
    let asked = |run_as_user| ContainerSecurity {
        run_as_user,
        ..ContainerSecurity::default()
    };
    let name = |security, image: &str| user(security, image).unwrap().name;
    assert_eq!(name(asked(RunAsUser::Image), ""), "0");
    assert_eq!(name(asked(RunAsUser::Image), "www:staff"), "www:staff");
    assert_eq!(name(asked(RunAsUser::Uid(1000)), "www"), "1000");
    assert_eq!(
        name(asked(RunAsUser::Name("nobody".to_owned())), "www"),
        "nobody"
    );
    let numeric = user(asked(RunAsUser::Image), "33:44").unwrap();
    assert_eq!((numeric.uid, numeric.gid_given), (33, false));
    assert!(numeric.merge_groups);
    assert!(user(asked(RunAsUser::Uid(-1)), "").is_err());
    assert!(user(asked(RunAsUser::Uid(4_294_967_295)), "").is_err());
    assert!(user(asked(RunAsUser::Name("a:b".to_owned())), "").is_err());
}

#[test]
fn a_group_needs_a_user() {
    let security = ContainerSecurity {
        run_as_group: Some(5),
        ..ContainerSecurity::default()
    };
    assert_eq!(
        user(security.clone(), "www").unwrap_err().to_string(),
        "linux.security_context.run_as_group: \"5\": a group without run_as_user or run_as_username"
    );
    let with_user = ContainerSecurity {
        run_as_user: RunAsUser::Uid(7),
        ..security
    };
    let user = user(with_user, "www").unwrap();
    assert_eq!(
        (user.name.as_str(), user.gid, user.gid_given),
        ("7", 5, true)
    );
}

#[test]
fn supplemental_groups_are_merged_or_strict() {
    let security = ContainerSecurity {
        supplemental_groups: vec![10, 20],
        supplemental_groups_policy: SupplementalGroupsPolicy::Strict,
        ..ContainerSecurity::default()
    };
    let strict = user(security, "").unwrap();
    assert_eq!(strict.additional_gids, [10, 20]);
    assert!(!strict.merge_groups);
}

#[test]
fn oom_score_adj_is_bounded_by_the_daemons_right() {
    let mut request = Request::default();
    request.container.resources.oom_score_adj = -998;
    assert_eq!(process_of(&request.right()).oom_score_adj(), Some(-998));
    request.host.lowest_oom_score_adj = 0;
    let raised = request.right();
    assert_eq!(process_of(&raised).oom_score_adj(), Some(0));
    assert_eq!(
        raised.lowered,
        ["oom_score_adj -998 is raised to 0: the daemon lacks CAP_SYS_RESOURCE"]
    );
    request.container.resources.oom_score_adj = 1001;
    assert_eq!(request.wrong().0, OciErrorKind::Invalid);
}

fn limits(change: fn(&mut LinuxResources)) -> Result<Value, OciError> {
    let mut resources = LinuxResources::default();
    change(&mut resources);
    linux_resources(&resources).map(|limits| serde_json::to_value(limits).unwrap())
}

#[test]
fn limits_become_oci_resources() {
    assert_eq!(limits(|_| {}).unwrap(), serde_json::json!({}));
    assert_eq!(
        limits(|limits| limits.memory_limit_bytes = 4096).unwrap(),
        serde_json::json!({"memory": {"limit": 4096, "swap": 4096}})
    );
    assert_eq!(
        limits(|limits| limits.memory_limit_bytes = -1).unwrap(),
        serde_json::json!({"memory": {"limit": -1, "swap": -1}})
    );
    assert!(
        limits(|limits| {
            limits.memory_limit_bytes = 4096;
            limits.memory_swap_limit_bytes = 100;
        })
        .is_err()
    );
    assert!(limits(|limits| limits.cpu_shares = -2).is_err());
    assert!(limits(|limits| limits.cpu_period = -2).is_err());
    assert_eq!(
        limits(|limits| {
            limits.hugepage_limits = vec![HugepageLimit {
                page_size: "2MB".to_owned(),
                limit_bytes: u64::MAX,
            }];
        })
        .unwrap(),
        serde_json::json!({"hugepageLimits": [{"pageSize": "2MB", "limit": i64::MAX}]})
    );
}
