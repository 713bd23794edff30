//! Tests of reading and describing the configuration.

use std::path::Path;

use super::keys::default_of;
use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("carpel.toml")).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_socket_follows_the_run_directory() {
    let config = parse("run_directory = \"/tmp/run\"").unwrap();
    assert_eq!(config.socket_path(), Path::new("/tmp/run/carpel.sock"));
    let config = parse("run_directory = \"/tmp/run\"\nsocket = \"/tmp/other\"").unwrap();
    assert_eq!(config.socket_path(), Path::new("/tmp/other"));
}

#[test]
fn every_mistake_is_reported_with_its_line_and_key() {
    let cases = [
        (
            "root = \"/x\"\n\n[pod]\nshm_size = 1\n",
            "carpel.toml:4: unknown key \"pod.shm_size\"; did you mean \"pod.shm_size_bytes\"?",
        ),
        (
            "[netwrok]\nmtu = 1\n",
            "carpel.toml:1: unknown key \"netwrok\"; did you mean \"network\"?",
        ),
        (
            "subnet = \"10.0.0.0/8\"\n",
            "carpel.toml:1: unknown key \"subnet\"; did you mean \"network.subnet\"?",
        ),
        ("\nqqq = 1\n", "carpel.toml:2: unknown key \"qqq\""),
        (
            "[pod]\nshm_size_bytes = \"64M\"\n",
            "carpel.toml:2: pod.shm_size_bytes: invalid type: string \"64M\", expected u64",
        ),
        (
            "[pod]\n\nshm_size_bytes = -1\n",
            "carpel.toml:3: pod.shm_size_bytes: invalid value: integer `-1`, expected u64",
        ),
        (
            "pod = 3\n",
            "carpel.toml:1: pod: invalid type: integer `3`, expected struct PodSection",
        ),
        (
            "root = \"state\"\n",
            "carpel.toml:1: root: \"state\" is not an absolute path",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "carpel.toml:2: log.format: unknown variant `xml`, expected one of `auto`, `text`, `json`",
        ),
        (
            "[network]\nsubnet = \"10.63.0.1/16\"\n",
            "carpel.toml:2: network.subnet: \"10.63.0.1/16\" has bits behind its prefix: the subnet is 10.63.0.0/16",
        ),
        (
            "[network]\nbridge = \"a-very-long-bridge\"\n",
            "carpel.toml:2: network.bridge: \"a-very-long-bridge\" is not an interface name: 1 to 15 letters, digits, -, _ and .",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Err(expected.to_owned()), "in {text:?}");
    }
    let syntax = parse("root = \n").unwrap_err();
    assert!(
        syntax.starts_with("carpel.toml:1: not TOML: "),
        "{syntax:?}"
    );
    assert!(!syntax.contains('\n'), "{syntax:?}");
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let error = Config::read_or_default(Some(Path::new("/no/such/file"))).unwrap_err();
    assert_eq!(error.to_string(), "read /no/such/file");
}

#[test]
fn the_list_of_keys_is_the_list_of_fields() {
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for key in KEYS {
        let value = default_of(&defaults, key.path);
        let expected = matches!(key.default, DefaultValue::Fixed);
        assert_eq!(value.is_some(), expected, "default of {}", key.path);
    }
    for (name, value) in &defaults {
        let paths: Vec<String> = match value.as_table() {
            None => vec![name.clone()],
            Some(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        };
        for path in paths {
            assert!(
                keys::find(&path).is_some(),
                "{path} is a field, not in KEYS"
            );
        }
    }
}

/// Both or none.
const TLS: &str = "[streaming]\ntls_certificate_file = \"/c\"\ntls_key_file = \"/k\"";

#[test]
fn a_certificate_without_its_key_is_a_mistake() {
    for half in ["tls_certificate_file", "tls_key_file"] {
        let error = parse(&format!("[streaming]\n{half} = \"/x\"")).unwrap_err();
        assert!(error.contains("belong together"), "{error}");
    }
    assert!(parse(TLS).is_ok());
}

/// A derived key has no value to find in the defaults: that its field exists shows when the file sets it.
#[test]
fn every_derived_key_can_be_set() {
    for (text, key) in [
        ("socket = \"/s\"", "socket"),
        ("[cgroup]\nmount_point = \"/c\"", "cgroup.mount_point"),
        ("[network]\nmtu = 1400", "network.mtu"),
        ("[network]\ncni_template = \"/t\"", "network.cni_template"),
        ("[network]\nsubnet_v6 = \"fd63::/64\"", "network.subnet_v6"),
        (TLS, "streaming.tls_certificate_file"),
        (TLS, "streaming.tls_key_file"),
        ("[metrics]\naddress = \"127.0.0.1:1\"", "metrics.address"),
        (
            "[traces]\notlp_endpoint = \"http://x\"",
            "traces.otlp_endpoint",
        ),
        (
            "[agent]\nmanifests_directory = \"/m\"",
            "agent.manifests_directory",
        ),
        ("[agent]\nnode_name = \"n\"", "agent.node_name"),
    ] {
        let table = toml::Table::try_from(parse(text).unwrap()).unwrap();
        assert!(default_of(&table, key).is_some(), "{key}");
    }
    let derived = KEYS
        .iter()
        .filter(|key| key.default != DefaultValue::Fixed)
        .count();
    assert_eq!(derived, 11, "a derived key without a line above");
}

#[test]
fn the_printed_default_is_a_file_that_means_the_default() {
    let text = commented_default().unwrap();
    assert_eq!(parse(&text), Ok(Config::default()));
    let uncommented: String = text
        .lines()
        .filter(|line| !line.contains('…'))
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains(": ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(parse(&uncommented), Ok(Config::default()));
}

/// Rows look like ``| `pod.shm_size_bytes` | integer, bytes | `67108864` | Size … |``.
#[test]
fn the_document_lists_every_key_with_its_default_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let rows: Vec<&str> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default = match key.default {
                DefaultValue::Derived(how) => how.to_owned(),
                DefaultValue::Fixed => format!("`{}`", default_of(&defaults, key.path).unwrap()),
            };
            format!(
                "| `{}` | {} | {default} | {} |",
                key.path, key.kind, key.about
            )
        })
        .collect();
    assert_eq!(
        rows,
        expected,
        "the rows have to be:\n{}",
        expected.join("\n")
    );
}
