//! Tests of the rules of registries.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::list::{Rules, duration};
use super::*;
use crate::registry::{RegistryConfig, RegistryError};

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn read(directories: &[&Path], registry: &str) -> Result<Rules, RegistryError> {
    let config = RegistryConfig {
        certs_directories: directories.iter().map(PathBuf::from).collect(),
        plain_http: vec!["plain.example".to_owned()],
        ..RegistryConfig::default()
    };
    rules(&config, registry)
}

fn urls(rules: &Rules) -> Vec<String> {
    rules.hosts.iter().map(Host::base).collect()
}

#[test]
fn without_files_the_registry_itself_is_asked() {
    for (registry, expected) in [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("r.example:5000", "https://r.example:5000/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("127.3.2.1:5000", "http://127.3.2.1:5000/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("localhost:443", "https://localhost:443/v2"),
        ("plain.example", "http://plain.example/v2"),
        ("127.0.0.1.example", "https://127.0.0.1.example/v2"),
    ] {
        let rules = read(&[], registry).unwrap();
        assert_eq!(urls(&rules), [expected]);
        assert!(!rules.hosts[0].is_mirror);
        assert_eq!(rules.source, None);
    }
}

#[test]
fn mirrors_come_first_in_the_order_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "docker.io/hosts.toml",
        r#"
        server = "https://registry-1.docker.io"
        [host."https://z.example"]
          capabilities = ["pull", "Resolve"]
          skip_verify = true
          ca = "ca.pem"
          dial_timeout = "1.5s"
          proxy = "http://proxy.example:3128"
        [host."http://a.example:5000/cache/v2/hub"]
          capabilities = ["pull"]
          override_path = true
          ca = ["/etc/one.pem", "two.pem"]
          client = [["a.cert", "a.key"], ["b.pem", ""], "/c.pem"]
          [host."http://a.example:5000/cache/v2/hub".header]
            x-key = ["one", "two"]
            authorization = "Basic secret"
        [host."https://m.example/base"]
          client = "joint.pem"
        "#,
    );
    let rules = read(&[directory.path()], "docker.io").unwrap();
    assert_eq!(
        urls(&rules),
        [
            "https://z.example/v2",
            "http://a.example:5000/cache/v2/hub",
            "https://m.example/base/v2",
            "https://registry-1.docker.io/v2",
        ]
    );
    assert!(rules.unknown.is_empty(), "{:?}", rules.unknown);
    let folder = directory.path().join("docker.io");
    assert_eq!(rules.source, Some(folder.join("hosts.toml")));
    let [first, second, third, last] = &rules.hosts[..] else {
        panic!("{rules:?}");
    };
    assert_eq!(first.verification, Verification::Skipped);
    assert_eq!(first.authorities, [folder.join("ca.pem")]);
    assert_eq!(first.connect_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(
        first.proxy.as_ref().unwrap().to_string(),
        "http://proxy.example:3128/"
    );
    assert!(first.resolves);
    assert_eq!(second.authorities[0], Path::new("/etc/one.pem"));
    assert!(second.pulls && !second.resolves);
    let files: Vec<_> = second
        .client_certificates
        .iter()
        .map(|client| (client.certificate.clone(), client.key.clone()))
        .collect();
    let expected = [
        (folder.join("a.cert"), folder.join("a.key")),
        (folder.join("b.pem"), folder.join("b.pem")),
        (PathBuf::from("/c.pem"), PathBuf::from("/c.pem")),
    ];
    assert_eq!(files, expected);
    assert_eq!(second.headers.get_all("x-key").iter().count(), 2);
    assert!(!format!("{second:?}").contains("secret"));
    assert!(third.pulls && third.resolves && third.is_mirror);
    assert_eq!(third.client_certificates[0].key, folder.join("joint.pem"));
    assert!(!last.is_mirror);
}

#[test]
fn the_own_folder_comes_before_the_default_and_the_first_directory_before_the_second() {
    let one = tempfile::tempdir().unwrap();
    let two = tempfile::tempdir().unwrap();
    let both = [one.path(), two.path()];
    let server = |host: &str| format!("server = \"http://{host}\"\nskip_verify = true");
    write(one.path(), "_default/hosts.toml", &server("default"));
    write(one.path(), "a.example_5000_/hosts.toml", &server("a1"));
    write(one.path(), "a.example:5000/hosts.toml", &server("a2"));
    write(two.path(), "a.example:5000/hosts.toml", &server("a3"));
    write(two.path(), "b.example/hosts.toml", &server("b"));
    write(two.path(), "[::1]_5000_/hosts.toml", &server("v6"));
    for (registry, expected) in [
        ("a.example:5000", "http://a1/v2"),
        ("b.example", "http://b/v2"),
        ("[::1]:5000", "http://v6/v2"),
        ("c.example", "http://default/v2"),
    ] {
        assert_eq!(urls(&read(&both, registry).unwrap()), [expected]);
    }
}

#[test]
fn a_folder_in_docker_s_layout_adds_its_certificates() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["ca.crt", "client.cert", "client.key", "joint.cert", "note"] {
        write(directory.path(), &format!("r.example/{name}"), "");
    }
    // An empty hosts.toml is none.
    write(directory.path(), "r.example/hosts.toml", "");
    write(directory.path(), "_default/hosts.toml", "server = \"x\"");
    let rules = read(&[directory.path()], "r.example").unwrap();
    assert_eq!(urls(&rules), ["https://r.example/v2"]);
    let folder = directory.path().join("r.example");
    assert_eq!(rules.source.as_ref(), Some(&folder));
    let host = &rules.hosts[0];
    assert_eq!(host.authorities, [folder.join("ca.crt")]);
    let keys: Vec<_> = host
        .client_certificates
        .iter()
        .map(|pair| &pair.key)
        .collect();
    assert_eq!(
        keys,
        [&folder.join("client.key"), &folder.join("joint.cert")]
    );
}

#[test]
fn unknown_keys_are_named_and_break_nothing() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "r.example/hosts.toml",
        r#"
        servr = "x"
        capabilities = ["pull", "fly"]
        [host."https://m.example"]
          skip-verify = true
        "#,
    );
    let rules = read(&[directory.path()], "r.example").unwrap();
    assert_eq!(
        rules.unknown,
        [
            "servr",
            "host.\"https://m.example\".skip-verify",
            "capabilities: \"fly\"",
        ]
    );
    assert_eq!(
        urls(&rules),
        ["https://m.example/v2", "https://r.example/v2"]
    );
}

#[test]
fn broken_files_are_named_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    for (text, key) in [
        ("server = 3", ""),
        ("[host.\"ftp://x\"]", "host \"ftp://x\""),
        ("server = \"https://user:secret@x\"", "host"),
        ("dial_timeout = \"soon\"", "dial_timeout"),
        ("proxy = \"ftp://x\"", "proxy"),
        ("proxy = \"http://x/path\"", "proxy"),
        ("[header]\n\"a b\" = \"c\"", "header \"a b\""),
        ("[header]\na = \"secret\\nx\"", "header \"a\""),
    ] {
        write(directory.path(), "r.example/hosts.toml", text);
        let error = read(&[directory.path()], "r.example").unwrap_err();
        let said = error.to_string();
        assert!(said.contains("r.example/hosts.toml"), "{said}");
        assert!(said.contains(key) && !said.contains("secret"), "{said}");
        assert_eq!(error.kind(), crate::registry::ErrorKind::Configuration);
    }
}

#[test]
fn durations_are_those_of_go() {
    for (text, expected) in [
        ("300ms", Some(Duration::from_millis(300))),
        ("1.5s", Some(Duration::from_millis(1500))),
        ("1m30s", Some(Duration::from_secs(90))),
        ("2h", Some(Duration::from_secs(7200))),
        ("", None),
        ("5", None),
        ("s", None),
        ("-1s", None),
        ("1d", None),
        ("1.2.3s", None),
    ] {
        assert_eq!(duration(text), expected, "{text:?}");
    }
}
