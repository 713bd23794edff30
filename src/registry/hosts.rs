//! Which hosts serve a registry, and how to talk to them: containerd's `hosts.toml` layout, as node images ship it.
//!
//! `<certs.d>/<host>/hosts.toml`, where a port may be written as `host:port` or `host_port_`, and `_default` is for
//! every other registry. Files are read at each pull, so that a change needs no restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::RegistryError;

/// Whether a host's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    /// Against the system's authorities and the host's own.
    Full,
    /// Not at all, as configured.
    Skipped,
}

/// One host to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Name and port.
    pub(super) authority: String,
    /// What comes before the repository's name: `/v2`, unless the path is overridden.
    pub(super) prefix: String,
    /// Whether it may serve blobs and manifests by digest.
    pub(super) pulls: bool,
    /// Whether it may say what a tag means.
    pub(super) resolves: bool,
    pub(super) verification: Verification,
    /// Files of authorities to trust besides the system's.
    pub(super) authorities: Vec<PathBuf>,
    /// Whether it is a mirror, which is told the registry's name by `?ns=`.
    pub(super) is_mirror: bool,
}

/// `hosts.toml`. Keys that are not known here (client certificates, headers, timeouts) are left to later.
#[derive(Debug, Default, Deserialize)]
struct HostsFile {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, Spanned<HostTable>>,
    #[serde(flatten)]
    own: HostTable,
}

#[derive(Debug, Default, Deserialize)]
struct HostTable {
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    ca: Option<OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// The hosts of `registry`, in the order in which to ask them.
pub(super) fn hosts(
    certs_directory: Option<&Path>,
    registry: &str,
    plain_http: &[String],
) -> Result<Vec<Host>, RegistryError> {
    let scheme = |authority: &str| default_scheme(authority, plain_http);
    let mut hosts = Vec::new();
    let upstream_authority = match registry {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    };
    let (folder, file) = match certs_directory {
        Some(directory) => read(directory, registry)?,
        None => (PathBuf::new(), HostsFile::default()),
    };
    let mut mirrors: Vec<_> = file.host.into_iter().collect();
    mirrors.sort_by_key(|(_, table)| table.span().start);
    for (url, table) in mirrors {
        hosts.push(host(&url, table.get_ref(), &folder, &scheme)?);
    }
    let upstream = file.server.as_deref().unwrap_or(upstream_authority);
    let mut upstream = host(upstream, &file.own, &folder, &scheme)?;
    upstream.is_mirror = false;
    hosts.push(upstream);
    for host in &mut hosts {
        host.is_mirror = host.is_mirror && host.authority != upstream_authority;
    }
    Ok(hosts)
}

fn read(directory: &Path, registry: &str) -> Result<(PathBuf, HostsFile), RegistryError> {
    let with_port = registry.replacen(':', "_", 1) + "_";
    for name in [registry, with_port.as_str(), "_default"] {
        let folder = directory.join(name);
        let path = folder.join("hosts.toml");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let file = toml::from_str(&text)
                    .map_err(|source| RegistryError::Hosts { path, source })?;
                return Ok((folder, file));
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(RegistryError::Read { path, source }),
        }
    }
    Ok((PathBuf::new(), HostsFile::default()))
}

fn host(
    url: &str,
    table: &HostTable,
    folder: &Path,
    default_scheme: &dyn Fn(&str) -> &'static str,
) -> Result<Host, RegistryError> {
    let bad = || RegistryError::BadUrl {
        url: url.to_owned(),
    };
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Some("http"), rest),
        Some(("https", rest)) => (Some("https"), rest),
        Some(_) => return Err(bad()),
        None => (None, url),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() || authority.contains(['@', '?', '#']) {
        return Err(bad());
    }
    let path = path.trim_matches('/');
    let path = match path {
        "" => String::new(),
        path => format!("/{path}"),
    };
    let can = |capability: &str| {
        table
            .capabilities
            .as_ref()
            .is_none_or(|capabilities| capabilities.iter().any(|can| can == capability))
    };
    let authorities = match &table.ca {
        None => Vec::new(),
        Some(OneOrMany::One(path)) => vec![folder.join(path)],
        Some(OneOrMany::Many(paths)) => paths.iter().map(|path| folder.join(path)).collect(),
    };
    Ok(Host {
        scheme: scheme.unwrap_or_else(|| default_scheme(authority)),
        authority: authority.to_owned(),
        prefix: match table.override_path || path.ends_with("/v2") {
            true => path,
            false => format!("{path}/v2"),
        },
        pulls: can("pull"),
        resolves: can("resolve"),
        verification: match table.skip_verify {
            true => Verification::Skipped,
            false => Verification::Full,
        },
        authorities,
        is_mirror: true,
    })
}

/// Plain HTTP for this machine itself, as Docker does, and where the configuration says so.
fn default_scheme(authority: &str, plain_http: &[String]) -> &'static str {
    let (name, port) = split_port(authority);
    let is_local = name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let is_configured = plain_http
        .iter()
        .any(|configured| configured == authority || configured == name);
    match (is_local && port != Some("443")) || is_configured {
        true => "http",
        false => "https",
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => match authority.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(directory: &Path, name: &str, text: &str) {
        let folder = directory.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut file = fs::File::create(folder.join("hosts.toml")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn urls(hosts: &[Host]) -> Vec<String> {
        hosts
            .iter()
            .map(|host| format!("{}://{}{}", host.scheme, host.authority, host.prefix))
            .collect()
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
            let hosts = hosts(None, registry, &["plain.example".to_owned()]).unwrap();
            assert_eq!(urls(&hosts), [expected]);
            assert!(!hosts[0].is_mirror);
        }
    }

    #[test]
    fn mirrors_come_first_in_the_order_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        write(
            directory.path(),
            "docker.io",
            r#"
            server = "https://registry-1.docker.io"
            [host."https://z.example"]
              capabilities = ["pull", "resolve"]
              skip_verify = true
              ca = "ca.pem"
            [host."http://a.example:5000/cache/v2/hub"]
              capabilities = ["pull"]
              override_path = true
              ca = ["/etc/one.pem", "two.pem"]
              [host."http://a.example:5000/cache/v2/hub".header]
                x-key = ["ignored for now"]
            [host."https://m.example/base"]
            "#,
        );
        let hosts = hosts(Some(directory.path()), "docker.io", &[]).unwrap();
        assert_eq!(
            urls(&hosts),
            [
                "https://z.example/v2",
                "http://a.example:5000/cache/v2/hub",
                "https://m.example/base/v2",
                "https://registry-1.docker.io/v2",
            ]
        );
        assert_eq!(hosts[0].verification, Verification::Skipped);
        assert_eq!(
            hosts[0].authorities,
            [directory.path().join("docker.io/ca.pem")]
        );
        assert_eq!(hosts[1].authorities[0], Path::new("/etc/one.pem"));
        assert!(hosts[1].pulls && !hosts[1].resolves);
        assert!(hosts[2].pulls && hosts[2].resolves && hosts[2].is_mirror);
        assert!(!hosts[3].is_mirror);
    }

    #[test]
    fn the_host_itself_then_its_port_form_then_the_default_is_read() {
        let directory = tempfile::tempdir().unwrap();
        write(
            directory.path(),
            "_default",
            "server = \"http://default.example\"",
        );
        write(
            directory.path(),
            "a.example_5000_",
            "server = \"http://a:1\"\nskip_verify = true",
        );
        let read = |registry: &str| urls(&hosts(Some(directory.path()), registry, &[]).unwrap());
        assert_eq!(read("a.example:5000"), ["http://a:1/v2"]);
        assert_eq!(read("b.example"), ["http://default.example/v2"]);
    }

    #[test]
    fn broken_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "a.example", "server = 3");
        write(directory.path(), "b.example", "[host.\"ftp://x\"]");
        let error = |registry: &str| hosts(Some(directory.path()), registry, &[]).unwrap_err();
        assert!(
            error("a.example")
                .to_string()
                .ends_with("a.example/hosts.toml")
        );
        assert!(matches!(error("b.example"), RegistryError::BadUrl { .. }));
    }
}
