//! Docker's `config.json` and podman's `auth.json`: credentials by registry, or by a part of one.
//!
//! ```json
//! {"auths": {"r.example/team": {"auth": "<base64 of user:password>"}},
//!  "credHelpers": {"*.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}, "credsStore": "pass"}
//! ```
//!
//! Keys are hosts, as names or URLs, with `*` in place of parts of a name (kubernetes.io, "Interpretation of
//! config.json"), with or without the beginning of a repository's path (containers-auth.json(5)): the longest path
//! wins, then the name without `*`. The files are read when a registry asks who we are, so that a change needs no
//! restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::credentials::host_of;
use super::{Credentials, RegistryError};

/// Under which name Docker keeps the credentials of its own registry.
const DOCKER_SERVER: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
    #[serde(rename = "registrytoken")]
    registry_token: String,
}

/// A place where credentials for a host may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The file.
    pub(super) path: PathBuf,
    /// The key that matched; `credsStore` for the helper that knows all hosts.
    pub(super) key: String,
    pub(super) how: How,
}

/// How credentials are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// In the file.
    Inline(Credentials),
    /// By a program, under the name of a server.
    Helper { name: String, server: String },
}

/// Where to look for the credentials of `authority`, for `repository`: best place first.
pub(super) fn candidates(
    paths: &[PathBuf],
    authority: &str,
    repository: &str,
) -> Result<Vec<Candidate>, RegistryError> {
    let mut candidates = Vec::new();
    for path in paths {
        let Some(file) = read(path)? else { continue };
        let candidate = |key: &str, how| Candidate {
            path: path.clone(),
            key: key.to_owned(),
            how,
        };
        if let Some((key, name)) = best(&file.helpers, authority, repository) {
            let how = How::Helper {
                name: name.clone(),
                server: server(key, authority),
            };
            candidates.push(candidate(key, how));
        }
        if let Some((key, entry)) = best(&file.auths, authority, repository) {
            let credentials = entry.credentials();
            if credentials.form().is_some() {
                candidates.push(candidate(key, How::Inline(credentials)));
            }
        }
        if !file.store.is_empty() {
            let how = How::Helper {
                name: file.store,
                server: server(authority, authority),
            };
            candidates.push(candidate("credsStore", how));
        }
    }
    Ok(candidates)
}

fn read(path: &Path) -> Result<Option<AuthFile>, RegistryError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(RegistryError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    // The parser's own message may have a secret in it.
    let broken = |error: serde_json::Error| RegistryError::AuthFile {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}

impl Entry {
    fn credentials(&self) -> Credentials {
        Credentials {
            username: self.username.clone(),
            password: self.password.clone(),
            auth: self.auth.clone(),
            identity_token: self.identity_token.clone(),
            registry_token: self.registry_token.clone(),
            server_address: String::new(),
        }
    }
}

/// What a helper is asked for.
fn server(key: &str, authority: &str) -> String {
    match host_of(authority) {
        "docker.io" => DOCKER_SERVER.to_owned(),
        // A pattern is no name.
        _ if key.contains('*') => authority.to_owned(),
        _ => key.to_owned(),
    }
}

fn best<'a, T>(
    entries: &'a BTreeMap<String, T>,
    authority: &str,
    repository: &str,
) -> Option<(&'a str, &'a T)> {
    entries
        .iter()
        .filter_map(|(key, entry)| Some((rank(key, authority, repository)?, key, entry)))
        .max_by_key(|(rank, _, _)| *rank)
        .map(|(_, key, entry)| (key.as_str(), entry))
}

/// How well a key fits: the length of its path, and whether it names the host without `*`.
fn rank(key: &str, authority: &str, repository: &str) -> Option<(usize, bool)> {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let (_, path) = bare.split_once('/').unwrap_or((bare, ""));
    // The version of the API is no part of a repository.
    let path = match path {
        "v1" | "v2" => "",
        path => path,
    };
    let is_below = path.is_empty()
        || repository
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (pattern, host) = (host_of(key), host_of(authority));
    let is_same = pattern.eq_ignore_ascii_case(host);
    (is_below && (is_same || is_like(pattern, host))).then_some((path.len(), is_same))
}

/// `*` stands for a part of one label of the name; the port is compared as it is.
fn is_like(pattern: &str, host: &str) -> bool {
    let labels = |name: &str| name.split('.').count();
    pattern.contains('*')
        && labels(pattern) == labels(host)
        && pattern
            .split('.')
            .zip(host.split('.'))
            .all(|(pattern, label)| is_like_label(pattern, label))
}

fn is_like_label(pattern: &str, label: &str) -> bool {
    let (pattern, label) = (pattern.to_ascii_lowercase(), label.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == label,
        Some((head, tail)) => {
            // A port is behind the last label, and `*` does not reach over it.
            let middle = label
                .strip_prefix(head)
                .and_then(|rest| rest.strip_suffix(tail));
            middle.is_some_and(|middle| !middle.contains(':'))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn keys(text: &str, authority: &str, repository: &str) -> Vec<String> {
        let file = file(text);
        let found = candidates(&[file.path().to_owned()], authority, repository).unwrap();
        found.into_iter().map(|candidate| candidate.key).collect()
    }

    #[test]
    fn the_longest_path_wins_then_the_name_without_a_star() {
        let text = r#"{"auths": {
            "r.example": {"auth": "dTpw"},
            "r.example/team": {"auth": "dTpw"},
            "r.example/team/app": {"username": "u"},
            "*.example": {"auth": "dTpw"},
            "reg*.*.example:5000": {"auth": "dTpw"},
            "https://index.docker.io/v1/": {"auth": "dTpw"},
            "empty.example": {}
        }}"#;
        for (authority, repository, expected) in [
            ("r.example", "other", Some("r.example")),
            ("r.example:443", "other", Some("r.example")),
            ("R.example", "team", Some("r.example/team")),
            ("r.example", "team/x", Some("r.example/team")),
            ("r.example", "teams", Some("r.example")),
            ("r.example", "team/app/x", Some("r.example/team/app")),
            ("s.example", "x", Some("*.example")),
            ("s.example:5000", "x", None),
            ("a.b.example", "x", None),
            ("regis.a.example:5000", "x", Some("reg*.*.example:5000")),
            ("regis.a.example", "x", None),
            (
                "registry-1.docker.io",
                "library/x",
                Some("https://index.docker.io/v1/"),
            ),
            ("other.test", "x", None),
        ] {
            let found = keys(text, authority, repository);
            assert_eq!(
                found.first().map(String::as_str),
                expected,
                "{authority}/{repository}"
            );
        }
        // An empty entry says only that a store has it.
        assert_eq!(keys(text, "empty.example", "x"), Vec::<String>::new());
    }

    #[test]
    fn helpers_come_first_and_the_store_last() {
        let text = r#"{"auths": {"r.example": {"auth": "dTpw"}, "docker.io": {}},
            "credHelpers": {"r.example": "one", "*.x.example": "two"}, "credsStore": "three"}"#;
        assert_eq!(
            keys(text, "r.example", "x"),
            ["r.example", "r.example", "credsStore"]
        );
        let file = file(text);
        let helper = |authority: &str| {
            let found = candidates(&[file.path().to_owned()], authority, "x").unwrap();
            found[0].how.clone()
        };
        for (authority, name, server) in [
            ("r.example", "one", "r.example"),
            ("a.x.example", "two", "a.x.example"),
            ("registry-1.docker.io", "three", DOCKER_SERVER),
            ("o.example:5000", "three", "o.example:5000"),
        ] {
            let expected = How::Helper {
                name: name.to_owned(),
                server: server.to_owned(),
            };
            assert_eq!(helper(authority), expected);
        }
    }

    #[test]
    fn all_files_are_read_in_order_and_missing_ones_are_none() {
        let one = file(r#"{"auths": {"r.example": {"identitytoken": "one"}}}"#);
        let two = file(r#"{"auths": {"r.example": {"registrytoken": "two"}}}"#);
        let paths = [
            PathBuf::from("/nonexistent/config.json"),
            two.path().to_owned(),
            one.path().to_owned(),
        ];
        let found = candidates(&paths, "r.example", "x").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, two.path());
    }

    #[test]
    fn a_broken_file_is_named_without_its_content() {
        let file = file("{\"auths\": {\"r.example\": \"hunter2\"}}");
        let error = candidates(&[file.path().to_owned()], "r.example", "x").unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(&file.path().display().to_string()), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
