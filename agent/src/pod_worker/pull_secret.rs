//! Credentials for a pull, from Secrets of the types dockerconfigjson and dockercfg.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::runtime::wire::AuthConfig;

const DOCKER_IO: &str = "docker.io";

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

/// The credentials in a Secret that are for an image; the most particular first.
pub(super) fn credentials(secret: &Secret, image: &str) -> Vec<AuthConfig> {
    let data = secret.data.clone().unwrap_or_default();
    let parsed = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => data
            .get(".dockerconfigjson")
            .and_then(|bytes| serde_json::from_slice::<DockerConfig>(&bytes.0).ok())
            .map(|config| config.auths),
        Some("kubernetes.io/dockercfg") => data
            .get(".dockercfg")
            .and_then(|bytes| serde_json::from_slice(&bytes.0).ok()),
        _ => None,
    };
    let name = full_name(image);
    let mut fitting: Vec<(String, Entry)> = parsed
        .unwrap_or_default()
        .into_iter()
        .map(|(server, entry)| (plain_server(&server), entry))
        .filter(|(server, _)| is_below(&name, server))
        .collect();
    fitting.sort_by_key(|(server, _)| std::cmp::Reverse(server.len()));
    fitting
        .into_iter()
        .map(|(server, entry)| auth(&server, entry))
        .collect()
}

/// With its registry: `docker.io/library/busybox:1`.
fn full_name(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
        Some(_) => format!("{DOCKER_IO}/{image}"),
        None => format!("{DOCKER_IO}/library/{image}"),
    }
}

/// `https://index.docker.io/v1/` is docker.io; other servers are without scheme and version.
fn plain_server(server: &str) -> String {
    let server = server.trim_start_matches("https://");
    let server = server.trim_start_matches("http://").trim_end_matches('/');
    let server = server.trim_end_matches("/v1").trim_end_matches("/v2");
    match server {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_IO.to_owned(),
        server => server.to_owned(),
    }
}

/// Is the image at that server, and below its path if it has one? `*` stands for one label of the host.
fn is_below(name: &str, server: &str) -> bool {
    let (host, path) = name.split_once('/').unwrap_or((name, ""));
    let (wanted_host, wanted_path) = server.split_once('/').unwrap_or((server, ""));
    let (labels, wanted): (Vec<&str>, Vec<&str>) =
        (host.split('.').collect(), wanted_host.split('.').collect());
    let is_host = labels.len() == wanted.len()
        && labels
            .iter()
            .zip(wanted)
            .all(|(label, wanted)| wanted == "*" || *label == wanted);
    is_host && path.starts_with(wanted_path)
}

fn auth(server: &str, entry: Entry) -> AuthConfig {
    let decoded = STANDARD.decode(entry.auth.trim()).unwrap_or_default();
    let decoded = String::from_utf8(decoded).unwrap_or_default();
    let (username, password) = match decoded.split_once(':') {
        Some((username, password)) => (username.to_owned(), password.to_owned()),
        None => (entry.username, entry.password),
    };
    AuthConfig {
        username,
        password,
        server_address: server.to_owned(),
        identity_token: entry.identitytoken,
        registry_token: entry.registrytoken,
        auth: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn users(auths: serde_json::Value, image: &str) -> Vec<String> {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {}, "type": "kubernetes.io/dockerconfigjson",
            "data": { ".dockerconfigjson": STANDARD.encode(json!({ "auths": auths }).to_string()) },
        }))
        .unwrap();
        let found = credentials(&secret, image);
        found
            .into_iter()
            .map(|auth| format!("{}:{}", auth.username, auth.password))
            .collect()
    }

    #[test]
    fn the_most_particular_credentials_come_first() {
        let auths = json!({
            "https://index.docker.io/v1/": { "auth": STANDARD.encode("hub:pass:word") },
            "registry.example": { "username": "all", "password": "a" },
            "registry.example/team": { "username": "team", "password": "t" },
            "*.cloud.example": { "username": "star", "password": "s" },
        });
        assert_eq!(users(auths.clone(), "busybox"), ["hub:pass:word"]);
        assert_eq!(
            users(auths.clone(), "registry.example/team/app:1"),
            ["team:t", "all:a"]
        );
        assert_eq!(users(auths.clone(), "registry.example/other"), ["all:a"]);
        assert_eq!(users(auths.clone(), "eu.cloud.example/app"), ["star:s"]);
        assert!(users(auths, "elsewhere.example/app").is_empty());
    }
}
