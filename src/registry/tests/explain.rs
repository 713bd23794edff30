//! What is told about a pull before it is made.

use super::tls::write;
use super::*;

const RULES: &str = r#"
servr = "typo"
[host."https://m.example/base"]
  capabilities = ["pull"]
  ca = "/nonexistent.pem"
  [host."https://m.example/base".header]
    authorization = "Basic hunter2"
[host."http://p.example"]
  proxy = "http://user:hunter2@proxy.example:3128"
"#;

#[tokio::test]
async fn hosts_are_told_in_order_with_trust_proxy_and_credentials_and_no_secret() {
    let (folder, config) = with_rules(RULES);
    let file = folder.path().join("auth.json");
    write(
        &file,
        r#"{"auths": {"r.example/team": {"auth": "dTpodW50ZXIy"}}, "credHelpers": {"m.example": "x"}}"#,
    );
    let config = RegistryConfig {
        auth_files: vec![file.clone()],
        ..config
    };
    let reference = "r.example/team/app:1".parse().unwrap();
    let explained = Registry::new(config)
        .explain(&reference, Depth::Rules)
        .await
        .unwrap();
    assert_eq!(
        explained.rule,
        Some(folder.path().join("r.example/hosts.toml"))
    );
    assert_eq!(explained.ignored, ["servr"]);
    let [mirror, plain, upstream] = &explained.hosts[..] else {
        panic!("{explained:?}");
    };
    assert_eq!(mirror.url, "https://m.example/base/v2");
    assert_eq!(mirror.capabilities, ["pull"]);
    assert_eq!(mirror.manifest_url, None);
    assert_eq!(
        mirror.trust,
        Trust::Authorities(vec!["/nonexistent.pem".into()])
    );
    assert!(
        mirror
            .problem
            .as_ref()
            .unwrap()
            .contains("/nonexistent.pem")
    );
    assert_eq!(mirror.headers, ["authorization"]);
    let helper = Source::Helper {
        path: file.clone(),
        key: "m.example".to_owned(),
        name: "x".to_owned(),
    };
    assert_eq!(mirror.credentials, Some(helper));
    assert!(!mirror.takes_credentials && mirror.is_mirror);
    assert_eq!(plain.trust, Trust::Plain);
    assert_eq!(plain.proxy.as_deref(), Some("http://proxy.example:3128"));
    assert_eq!(
        plain.manifest_url.as_deref(),
        Some("http://p.example/v2/team/app/manifests/1?ns=r.example")
    );
    assert_eq!(upstream.trust, Trust::Authorities(Vec::new()));
    let key = "r.example/team".to_owned();
    assert_eq!(upstream.credentials, Some(Source::File { path: file, key }));
    assert!(upstream.takes_credentials && !upstream.is_mirror);
    assert!(upstream.answers.is_none() && upstream.problem.is_none());
    let all = format!("{explained:?}");
    assert!(
        !all.contains("hunter2") && !all.contains("aHVudGVyMg"),
        "{all}"
    );
}

#[tokio::test]
async fn with_a_check_each_host_is_asked() {
    let mirror = FakeRegistry::start(Door::Bearer(None)).await;
    mirror.put("/v2/", "", b"{}");
    let upstream = nobody();
    let (_folder, config) = with_rules(&format!(
        "server = \"http://{upstream}\"\n[host.\"http://{}\"]",
        mirror.address
    ));
    let registry = Registry::new(config);
    let reference = "r.example/x:1".parse().unwrap();
    let check = async || {
        let explained = registry.explain(&reference, Depth::Answers).await.unwrap();
        let answers = explained
            .hosts
            .into_iter()
            .map(|host| host.answers.unwrap());
        answers.collect::<Vec<_>>()
    };
    let [first, last] = &check().await[..] else {
        panic!("two hosts");
    };
    assert_eq!(first.api, "200 OK");
    assert_eq!(first.manifest, "404 Not Found");
    assert!(!first.has_manifest);
    assert!(last.api.contains("Connection refused"), "{last:?}");
    mirror.put_manifest("x", "1", MANIFEST);
    let first = check().await.swap_remove(0);
    assert!(first.has_manifest, "{first:?}");
    assert_eq!(
        mirror.count("HEAD /v2/x/manifests/1?ns=r.example Bearer good"),
        2
    );
}
