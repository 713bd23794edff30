//! Pulls from Debian's docker-registry, which caches the node's own one, by rules, trust and passwords as users have
//! them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and why it cannot run by a line that `make test` counts"
)]

use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::registry::{Cache, PROGRAM, rule, write};
use carpel_integration::request::BUSYBOX;
use serde_json::Value;

fn start() -> Option<Node> {
    if !Path::new(PROGRAM).exists() {
        println!("SKIP {PROGRAM} is missing: run make test");
        return None;
    }
    Node::start_carpel()
}

fn carpel(node: &Node, arguments: &[&str]) -> std::process::Output {
    let carpel = std::env::var_os("NODE_CARPEL").map_or_else(
        || carpel_integration::node::repository().join("target/release/carpel"),
        PathBuf::from,
    );
    let mut command = node.command(carpel);
    command
        .env("CARPEL_SOCKET", &node.socket)
        .args(arguments)
        .output()
        .unwrap()
}

fn explain(node: &Node) -> Value {
    let arguments = ["image", "explain", "--check", "--output", "json", BUSYBOX];
    let output = carpel(node, &arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn root_a_rule_of_three_lines_leads_to_a_cache_with_tls_and_a_password() {
    let Some(node) = start() else { return };
    let cache = Cache::locked(&node, 5443);
    let server = format!("server = \"https://{}\"", cache.address);
    rule(&node, &server);
    let pull = |words: &[&'static str]| [&["pull"], words, &[BUSYBOX]].concat();
    node.is_refused(
        &pull(&[]),
        &["Unknown"],
        &["RegistryUnavailable", &cache.address, "ca in hosts.toml"],
    );
    rule(
        &node,
        &format!(
            "{server}\nca = \"{}\"\ncapabilities = [\"pull\", \"resolve\"]\n",
            cache.authority()
        ),
    );
    node.is_refused(
        &pull(&[]),
        &["PermissionDenied"],
        &["with no credentials", "a user name and a password"],
    );
    let said = node.is_refused(
        &pull(&["--creds", "carpel:hunter2"]),
        &["PermissionDenied"],
        &["with the credentials of the request", "401"],
    );
    assert!(!said.contains("hunter2"), "{said}");
    node.tell(&pull(&["--creds", "carpel:secret"]));
    node.tell(&["rmi", BUSYBOX]);

    let explained = explain(&node);
    assert_eq!(
        explained["hosts"][0]["answers"]["has_manifest"], false,
        "{explained:#}"
    );
    // base64 of "carpel:secret"
    let auth_file = node.work.join("auth.json");
    let text_of_file = format!(
        r#"{{"auths": {{"{}/e2e-test-images": {{"auth": "Y2FycGVsOnNlY3JldA=="}}}}}}"#,
        cache.address
    );
    write(&auth_file, &text_of_file);
    node.tell(&pull(&[]));
    let explained = explain(&node);
    let hosts = explained["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 1, "{explained:#}");
    assert_eq!(
        text(&hosts[0], "/url"),
        format!("https://{}/v2", cache.address)
    );
    assert_eq!(text(&hosts[0], "/trust"), "authorities");
    assert_eq!(text(&hosts[0], "/authorities/0"), cache.authority());
    assert_eq!(hosts[0]["answers"]["has_manifest"], true, "{explained:#}");
    let from = text(&hosts[0], "/credentials");
    assert!(
        from.contains("auth.json") && from.contains("e2e-test-images"),
        "{from}"
    );
    assert!(!explained.to_string().contains("Y2FycGVs"), "{explained:#}");
    let log = node.daemon_log();
    assert!(
        !log.contains("hunter2") && !log.contains("Y2FycGVs"),
        "{log}"
    );
    cache.stop();
    node.finish();
}

#[test]
fn root_mirrors_that_are_down_are_followed_by_the_next_and_all_are_named_in_the_end() {
    let Some(node) = start() else { return };
    let cache = Cache::open(&node, 5001);
    // Nobody listens there: it was free a moment ago, in another network.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let down = format!("http://{free}");
    rule(
        &node,
        &format!(
            "server = \"http://{free}\"\n[host.\"{down}/mirror\"]\n[host.\"http://{}\"]\n",
            cache.address
        ),
    );
    node.tell(&["pull", BUSYBOX]);
    let image = node.ask_json(&["inspecti", BUSYBOX]);
    assert_eq!(image["status"]["repoTags"], serde_json::json!([BUSYBOX]));
    node.tell(&["rmi", BUSYBOX]);
    let address = cache.address.clone();
    cache.stop();
    node.is_refused(
        &["pull", BUSYBOX],
        &["Unknown"],
        &[
            "RegistryUnavailable",
            "3 hosts were asked",
            &address,
            &down,
            "Connection refused",
        ],
    );
    let output = carpel(&node, &["image", "explain", "--check", BUSYBOX]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches("Connection refused").count(), 6, "{said}");
    assert!(said.contains(&format!("{down}/mirror/v2")), "{said}");
    node.finish();
}
