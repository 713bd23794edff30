//! The rules of the house that a program can check: the layers of `src/`, and what a reader may count on in every file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest layer first. A module may name modules of lower layers, never of its own or a higher one.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "leaf",
        &[
            "registry",
            "content",
            "layer",
            "snapshot",
            "network",
            "cgroup",
            "shim_client",
            "persist",
            "seccomp",
            "apparmor",
            "selinux",
            "cdi",
            "systemd",
        ],
    ),
    ("calculation", &["oci"]),
    ("domain", &["pod", "image"]),
    ("boundary", &["cri", "streaming", "metrics"]),
    ("wiring", &["daemon", "config", "cli"]),
];

/// The places where a file may name a neighbour all the same.
const MEETINGS: &[(&str, &str)] = &[
    ("pod/create_container.rs", "image"),
    // The wiring is one layer: its parts are one program.
    ("cli", "config"),
    ("cli", "daemon"),
    ("daemon", "config"),
];

/// A SAFETY comment that is shorter cannot say what the callee requires and why it holds.
const SAFETY_CHARACTERS_MIN: usize = 40;

/// Scripts of tests that run in a machine of their own.
const SCRIPTS: [&str; 4] = [
    "integration/uml/pods",
    "integration/uml/scopes",
    "integration/kernel/pods",
    "integration/kernel/labels",
];

/// Messages of Windows are never acted on, so their fields have no rows in docs/cri-coverage.md.
const FOREIGN: &str = "Windows";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All Rust files of the given folders, by their path below the root.
fn sources(folders: &[&str]) -> BTreeMap<String, String> {
    let mut files = Vec::new();
    for folder in folders {
        let folder = root().join(folder);
        if folder.is_dir() {
            rust_files(&folder, &mut files);
        }
    }
    files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            (name.to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Every folder with code of ours; what is not there yet is passed over.
fn all_sources() -> BTreeMap<String, String> {
    sources(&[
        "src",
        "linux/src",
        "shim/src",
        "shim-protocol/src",
        "agent/src",
        "integration/bench/src",
        "integration/bench-endpoint/src",
        "integration/bench-pull/src",
        "tests",
        "benches",
    ])
}

/// Lines that are comments, without their slashes; with their number, from 1 on.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let (_, comment) = line.split_once("//")?;
        Some((index + 1, comment.trim_start_matches(['/', '!']).trim()))
    })
}

/// The top-level modules that `text` names, as `crate::module`.
fn named_modules(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter_map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase() && c != '_')
            .unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

fn complaints(file: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if text.contains("crate::{") {
        complaints.push(format!(
            "src/{file}: one module per `use crate::`, so that this test can read it"
        ));
    }
    if !file.starts_with("cri/") && (text.contains("tonic::") || text.contains("prost::")) {
        complaints.push(format!("src/{file}: only cri/ may name tonic or prost"));
    }
    let own = file.split('/').next().unwrap().trim_end_matches(".rs");
    let Some(own_layer) = layer_of(own) else {
        return complaints;
    };
    for named in named_modules(text) {
        let too_high = layer_of(named).is_some_and(|layer| layer >= own_layer);
        let is_meeting = MEETINGS.contains(&(file, named)) || MEETINGS.contains(&(own, named));
        if named != own && too_high && !is_meeting {
            complaints.push(format!(
                "src/{file}: {own} ({}) may not name {named}",
                LAYERS[own_layer].0
            ));
        }
    }
    complaints
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn modules_name_only_lower_layers() {
    let broken: Vec<String> = sources(&["src"])
        .iter()
        .flat_map(|(path, text)| complaints(path.trim_start_matches("src/"), text))
        .collect();
    assert_none(&broken);
}

#[test]
fn a_leaf_that_names_the_domain_is_reported() {
    let text = "//! Blobs.\nuse crate::pod::record;\n";
    assert_eq!(
        complaints("content/ingest.rs", text),
        ["src/content/ingest.rs: content (leaf) may not name pod"]
    );
}

#[test]
fn pod_and_image_meet_in_create_container_only() {
    let text = "//! Pods.\nuse crate::image::lease;\n";
    assert_eq!(complaints("pod/create_container.rs", text), [""; 0]);
    assert_eq!(complaints("pod/driver.rs", text).len(), 1);
}

#[test]
fn grpc_outside_of_cri_is_reported() {
    let text = "//! Pods.\nuse tonic::Status;\n";
    assert_eq!(complaints("cri/status.rs", text), [""; 0]);
    assert_eq!(complaints("pod/driver.rs", text).len(), 1);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| format!("{path}: open with `//!`: what it is for, and what not"))
        .collect();
    assert_none(&broken);
}

/// The text after the word SAFETY, with the lines of the same comment that follow.
fn safety_comments(text: &str) -> Vec<(usize, String)> {
    let comments: Vec<_> = comments(text).collect();
    let mut found = Vec::new();
    for (index, (line, comment)) in comments.iter().enumerate() {
        let Some(argument) = comment.strip_prefix("SAFETY:") else {
            continue;
        };
        let mut argument = argument.trim().to_owned();
        for (offset, (next_line, next)) in comments[index + 1..].iter().enumerate() {
            if *next_line != line + 1 + offset {
                break;
            }
            argument.push(' ');
            argument.push_str(next);
        }
        found.push((*line, argument));
    }
    found
}

#[test]
fn every_safety_comment_argues() {
    let mut broken = Vec::new();
    for (path, text) in all_sources() {
        if path == "tests/architecture.rs" {
            continue;
        }
        for (line, argument) in safety_comments(&text) {
            if argument.chars().count() <= SAFETY_CHARACTERS_MIN {
                broken.push(format!(
                    "{path}:{line}: SAFETY says too little: {argument:?}"
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn a_safety_comment_goes_on_over_lines() {
    let text = "// SAFETY: one\n// two\n\n// three\n";
    assert_eq!(safety_comments(text), [(1, "one two".to_owned())]);
}

#[test]
fn unsafe_code_is_in_linux_only() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|(path, text)| {
            !path.starts_with("linux/")
                && path != "tests/architecture.rs"
                && text.contains("unsafe {")
        })
        .map(|(path, _)| format!("{path}: unsafe code belongs into linux/"))
        .collect();
    assert_none(&broken);
}

#[test]
fn every_todo_names_its_issue() {
    let mut broken = Vec::new();
    for (path, text) in all_sources() {
        if path == "tests/architecture.rs" {
            continue;
        }
        for (line, comment) in comments(&text) {
            let has_issue = comment.split("TODO(#").nth(1).is_some_and(|rest| {
                rest.split_once(')')
                    .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
            });
            if comment.contains("TODO") && !has_issue {
                broken.push(format!("{path}:{line}: write TODO(#<issue>)"));
            }
        }
    }
    assert_none(&broken);
}

/// Rows of a table in a document: the first cell of each, with the others.
fn table_rows(text: &str) -> BTreeMap<&str, Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| {
            let mut cells = row.split(" | ").map(str::trim);
            (cells.next().unwrap_or_default(), cells.collect())
        })
        .collect()
}

/// Messages of a proto file with their fields: name and type without `repeated`.
fn proto_messages(text: &str) -> BTreeMap<&str, Vec<(&str, &str)>> {
    let mut messages = BTreeMap::new();
    let mut current: Option<(&str, Vec<(&str, &str)>)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("message ") {
            let name = rest.split([' ', '{']).next().unwrap();
            match rest.ends_with("{}") {
                true => drop(messages.insert(name, Vec::new())),
                false => current = Some((name, Vec::new())),
            }
        } else if line == "}" {
            messages.extend(current.take());
        } else if let (Some((_, fields)), Some((declaration, _))) =
            (&mut current, line.trim().split_once(" = "))
            && line.starts_with("  ")
            && !line.starts_with("   ")
            && !line.trim().starts_with("//")
        {
            let (kind, name) = declaration.rsplit_once(' ').unwrap();
            fields.push((name, kind.trim_start_matches("repeated ")));
        }
    }
    messages
}

/// The calls of a proto file with their requests.
fn proto_calls(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("rpc "))
        .map(|call| {
            let (name, rest) = call.split_once('(').unwrap();
            (name, rest.split(')').next().unwrap())
        })
        .collect()
}

#[test]
fn every_call_of_the_cri_has_a_row_in_the_coverage() {
    let (proto, document) = (read("proto/cri/api.proto"), read("docs/cri-coverage.md"));
    let rows = table_rows(&document);
    let calls = proto_calls(&proto);
    assert_eq!(calls.len(), 43);
    let broken: Vec<String> = calls
        .iter()
        .filter(|(call, _)| rows.get(call).is_none_or(|cells| cells.len() != 2))
        .map(|(call, _)| format!("docs/cri-coverage.md: no row for {call}"))
        .collect();
    assert_none(&broken);
}

#[test]
fn every_field_of_a_request_has_a_row_in_the_coverage() {
    let (proto, document) = (read("proto/cri/api.proto"), read("docs/cri-coverage.md"));
    let rows = table_rows(&document);
    let messages = proto_messages(&proto);
    let mut to_visit: Vec<&str> = proto_calls(&proto)
        .iter()
        .map(|(_, request)| *request)
        .collect();
    let mut visited = Vec::new();
    let mut broken = Vec::new();
    while let Some(message) = to_visit.pop() {
        if visited.contains(&message) || message.starts_with(FOREIGN) {
            continue;
        }
        visited.push(message);
        for (field, kind) in messages.get(message).into_iter().flatten() {
            let name = format!("{message}.{field}");
            if !rows.contains_key(name.as_str()) {
                broken.push(format!("docs/cri-coverage.md: no row for {name}"));
            }
            to_visit.push(kind);
        }
    }
    assert!(visited.len() > 50, "only {visited:?} were found");
    assert_none(&broken);
}

#[test]
fn every_test_that_the_coverage_names_exists() {
    let document = read("docs/cri-coverage.md");
    let mut sources = sources(&["src", "shim", "tests", "integration/suite/tests"]);
    for script in SCRIPTS {
        sources.insert(script.to_owned(), read(script));
    }
    let exists = |path: &str| {
        // A file of tests that run a node or a shim, or one of its tests.
        if path.starts_with("integration/") || path.starts_with("shim/tests/") {
            let (file, name) = path.split_once("::").unwrap_or((path, ""));
            let text = sources.get(file);
            return text.is_some_and(|text| name.is_empty() || exists(text, name));
        }
        let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
        let folder = format!("src/{}", module.trim_end_matches("::").replace("::", "/"));
        let file = format!("{folder}.rs");
        match name {
            // A module, or all tests of one.
            "" | "tests" => sources.keys().any(|path| path.starts_with(&folder)),
            _ => sources.iter().any(|(path, text)| {
                let is_there = *path == file
                    || *path == format!("{folder}/mod.rs")
                    || format!("{}/tests", path.trim_end_matches(".rs")) == folder
                    || path.starts_with(&format!("{folder}/"));
                is_there && text.contains(&format!("fn {name}("))
            }),
        }
    };
    let broken: Vec<String> = table_rows(&document)
        .values()
        .filter_map(|cells| cells.get(1))
        .flat_map(|tests| tests.split('`').skip(1).step_by(2))
        .filter(|path| !exists(path))
        .map(|path| format!("docs/cri-coverage.md: there is no test {path}"))
        .collect();
    assert_none(&broken);
}

/// What keeps a container from others and what it may use: their tests must show what a program sees or may do.
const ISOLATION: [&str; 14] = [
    "CDIDevice",
    "Capability",
    "Device",
    "HugepageLimit",
    "IDMapping",
    "LinuxContainerResources",
    "LinuxContainerSecurityContext",
    "LinuxSandboxSecurityContext",
    "Mount",
    "NamespaceOption",
    "SELinuxOption",
    "SecurityProfile",
    "UserNamespace",
    "LinuxPodSandboxConfig.sysctls",
];

/// Places of tests that run programs in containers.
const CONTAINERS_RUN: [&str; 4] = [
    "integration/suite/tests/",
    "integration/uml/",
    "integration/kernel/",
    "shim/tests/",
];

#[test]
fn the_coverage_names_a_test_of_the_effect_for_all_that_isolates() {
    let document = read("docs/cri-coverage.md");
    let rows = table_rows(&document);
    let is_effect = |test: &str| {
        test.contains("::") && CONTAINERS_RUN.iter().any(|place| test.starts_with(place))
    };
    let mut found = Vec::new();
    let mut broken = Vec::new();
    for (field, cells) in &rows {
        let message = field.split('.').next().unwrap();
        let Some(of) = ISOLATION.iter().find(|of| **of == message || *of == field) else {
            continue;
        };
        found.push(*of);
        if !cells
            .get(1)
            .is_some_and(|tests| quoted(tests).any(is_effect))
        {
            broken.push(format!(
                "docs/cri-coverage.md: {field} names no test of its effect in a container"
            ));
        }
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), ISOLATION.len(), "{found:?}");
    assert_none(&broken);
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A name as tests have it.
fn is_test(name: &str) -> bool {
    let legal = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.contains('_') && name.bytes().all(legal)
}

/// Everything that holds tests: Rust sources, and the scripts of the two machines.
fn tests() -> String {
    let folders = [
        "src",
        "agent/src",
        "shim",
        "linux",
        "tests",
        "integration/suite/tests",
    ];
    let mut all: String = sources(&folders).into_values().collect();
    for script in SCRIPTS {
        all.push_str(&read(script));
    }
    all
}

fn exists(tests: &str, name: &str) -> bool {
    let of_a_script = format!("\n{name}() {{");
    tests.contains(&format!("fn {name}(")) || tests.contains(&of_a_script)
}

/// Tests that a page on security names and that are not there.
fn missing(tests: &str, page: &str, text: &str) -> Vec<String> {
    quoted(text)
        .filter(|name| is_test(name) && !exists(tests, name))
        .map(|name| format!("docs/security/{page}: there is no test {name}"))
        .collect()
}

#[test]
fn every_test_that_the_pages_on_security_name_exists() {
    let tests = tests();
    for (page, at_least) in [
        ("unpacking.md", 40),
        ("threat-model.md", 30),
        ("known-vulnerabilities.md", 100),
    ] {
        let text = read(format!("docs/security/{page}"));
        let named = quoted(&text).filter(|name| is_test(name)).count();
        assert!(named > at_least, "{page} names {named} tests");
        assert_none(&missing(&tests, page, &text));
    }
}

#[test]
fn a_test_that_is_not_there_is_reported() {
    let tests = "fn a_test() {}\nof_a_script() {\n";
    let text = "`a_test`, `of_a_script`, `no_test`, `src/no_path.rs`, no_quotes";
    let expected = ["docs/security/page.md: there is no test no_test"];
    assert_eq!(missing(tests, "page.md", text), expected);
}

/// What is wrong with the rows of the table of vulnerabilities: each has an id of its own, says what happened and what is
/// done, and by which test or file one sees it.
fn wrong_rows(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| CVE"));
    let mut seen = Vec::new();
    let mut broken = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let id = cells.first().copied().unwrap_or_default();
        if cells.len() != 4 || cells.iter().any(|cell| cell.is_empty()) {
            broken.push(format!("{id}: not four cells"));
        }
        if seen.contains(&id) {
            broken.push(format!("{id}: twice"));
        }
        seen.push(id);
        let last = cells.last().copied().unwrap_or_default();
        if quoted(last).next().is_none() {
            broken.push(format!("{id}: shown by nothing"));
        }
        for name in quoted(last).filter(|name| !is_test(name)) {
            if !root().join(name).is_file() {
                broken.push(format!("{id}: {name} is neither a test nor a file"));
            }
        }
    }
    broken
}

#[test]
fn every_known_vulnerability_is_shown_by_something() {
    let text = read("docs/security/known-vulnerabilities.md");
    assert!(text.matches("\n| CVE-").count() > 100);
    assert_none(&wrong_rows(&text));
}

#[test]
fn a_vulnerability_that_nothing_shows_is_reported() {
    let text = "| CVE-1 | this | that | `a_test` |\n| CVE-1 | this | that | by luck |\n| CVE-2 | this | `src/nowhere.rs` |\n";
    assert_eq!(
        wrong_rows(text),
        [
            "CVE-1: twice",
            "CVE-1: shown by nothing",
            "CVE-2: not four cells",
            "CVE-2: src/nowhere.rs is neither a test nor a file"
        ]
    );
}
