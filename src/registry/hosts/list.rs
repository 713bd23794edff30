//! From the files of a registry to the hosts to ask.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};

use super::file::{Client, Clients, HostTable, HostsFile};
use super::folder;
use super::host::{ClientCertificate, Host, Verification};
use crate::registry::{RegistryConfig, RegistryError};

/// What is known about a registry.
#[derive(Debug)]
pub(in crate::registry) struct Rules {
    /// The hosts in the order in which to ask them; the last one is the registry itself or its stand-in.
    pub(in crate::registry) hosts: Vec<Host>,
    /// The file, or the folder in Docker's layout, that says so; `None` if nothing is configured.
    pub(in crate::registry) source: Option<PathBuf>,
    /// Keys of the file that have no meaning here.
    pub(in crate::registry) unknown: Vec<String>,
}

/// A file and the folder to which its paths are relative.
struct Reader<'a> {
    path: &'a Path,
    folder: &'a Path,
    config: &'a RegistryConfig,
}

/// The hosts of `registry`.
pub(in crate::registry) fn rules(
    config: &RegistryConfig,
    registry: &str,
) -> Result<Rules, RegistryError> {
    let own_authority = match registry {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    };
    let nowhere = Path::new("");
    let reader = Reader {
        path: nowhere,
        folder: nowhere,
        config,
    };
    let Some(folder) = folder::find(&config.certs_directories, registry)? else {
        let host = reader.host(own_authority, &HostTable::default())?;
        return Ok(Rules {
            hosts: vec![host],
            source: None,
            unknown: Vec::new(),
        });
    };
    let Some((path, text)) = folder::hosts_file(&folder)? else {
        let mut host = reader.host(own_authority, &HostTable::default())?;
        let found = folder::certificates(&folder)?;
        if host.scheme == "http" && !(found.authorities.is_empty() && found.clients.is_empty()) {
            // Nobody puts certificates there for plain HTTP.
            host.scheme = "https";
        }
        host.authorities = found.authorities;
        host.client_certificates = found.clients;
        return Ok(Rules {
            hosts: vec![host],
            source: Some(folder),
            unknown: Vec::new(),
        });
    };
    let (file, mut unknown) = HostsFile::parse(&text, &path)?;
    let reader = Reader {
        path: &path,
        folder: &folder,
        config,
    };
    let (mirrors, server, own) = file.into_hosts();
    let server = server.filter(|server| !server.is_empty());
    let mut hosts = Vec::new();
    for (url, table) in &mirrors {
        unknown.extend(unknown_capabilities(&format!("host.{url:?}."), table));
        hosts.push(reader.host(url, table)?);
    }
    unknown.extend(unknown_capabilities("", &own));
    hosts.push(reader.host(server.as_deref().unwrap_or(own_authority), &own)?);
    for host in &mut hosts {
        host.is_mirror = host.authority != own_authority;
    }
    Ok(Rules {
        hosts,
        source: Some(path),
        unknown,
    })
}

fn unknown_capabilities(place: &str, table: &HostTable) -> Vec<String> {
    let is_known = |capability: &str| {
        let known = ["pull", "resolve", "push", "referrers"];
        known.contains(&capability.to_ascii_lowercase().as_str())
    };
    let unknown = table.capabilities.iter().filter(|name| !is_known(name));
    unknown
        .map(|name| format!("{place}capabilities: {name:?}"))
        .collect()
}

impl Reader<'_> {
    fn host(&self, url: &str, table: &HostTable) -> Result<Host, RegistryError> {
        let (scheme, authority, path) = self.split(url)?;
        let can = |capability: &str| {
            table.capabilities.is_empty()
                || table
                    .capabilities
                    .iter()
                    .any(|can| can.eq_ignore_ascii_case(capability))
        };
        let authorities = table.ca.iter().flat_map(|ca| ca.as_slice());
        Ok(Host {
            scheme: scheme.unwrap_or_else(|| default_scheme(authority, &self.config.plain_http)),
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
            authorities: authorities.map(|path| self.folder.join(path)).collect(),
            client_certificates: self.clients(table.client.as_ref()),
            headers: self.headers(table)?,
            connect_timeout: match &table.dial_timeout {
                None => None,
                Some(text) => Some(
                    duration(text)
                        .ok_or_else(|| self.broken("dial_timeout", "not a duration like 1.5s"))?,
                ),
            },
            proxy: match table.proxy.as_deref() {
                None | Some("") => None,
                Some(text) => Some(self.proxy(text)?),
            },
            is_mirror: false,
        })
    }

    /// Scheme, if there is one, authority and path of a URL.
    fn split<'u>(
        &self,
        url: &'u str,
    ) -> Result<(Option<&'static str>, &'u str, String), RegistryError> {
        // What comes before an `@` may be a password.
        let shown = url.rsplit('@').next().unwrap_or_default();
        let bad = || self.broken(&format!("host {shown:?}"), "not an http or https URL");
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => (Some("http"), rest),
            Some(("https", rest)) => (Some("https"), rest),
            Some(_) => return Err(bad()),
            None => (None, url),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_authority = authority.parse::<hyper::http::uri::Authority>().is_ok();
        if !is_authority || authority.contains('@') || path.contains(['?', '#']) {
            return Err(bad());
        }
        let path = match path.trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        };
        Ok((scheme, authority, path))
    }

    fn clients(&self, clients: Option<&Clients>) -> Vec<ClientCertificate> {
        let clients = match clients {
            None => Vec::new(),
            Some(Clients::One(path)) => vec![Client::Joint(path.clone())],
            Some(Clients::Many(clients)) => clients.clone(),
        };
        let certificate = |client| {
            let (certificate, key) = match client {
                Client::Joint(path) => (path.clone(), path),
                Client::Pair(path, key) if key.is_empty() => (path.clone(), path),
                Client::Pair(path, key) => (path, key),
            };
            ClientCertificate {
                certificate: self.folder.join(certificate),
                key: self.folder.join(key),
            }
        };
        clients.into_iter().map(certificate).collect()
    }

    fn headers(&self, table: &HostTable) -> Result<HeaderMap, RegistryError> {
        let mut headers = HeaderMap::new();
        for (name, values) in &table.header {
            let broken = |problem| self.broken(&format!("header {name:?}"), problem);
            let name: HeaderName = name
                .parse()
                .map_err(|_invalid| broken("not a name of a header"))?;
            for value in values.as_slice() {
                let mut value = HeaderValue::from_str(value)
                    .map_err(|_invalid| broken("not a value of a header"))?;
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            }
        }
        Ok(headers)
    }

    fn proxy(&self, text: &str) -> Result<Uri, RegistryError> {
        let uri = text.parse::<Uri>().ok().filter(|uri| {
            matches!(
                uri.scheme_str(),
                Some("http" | "https" | "socks5" | "socks5h")
            ) && uri.host().is_some_and(|host| !host.is_empty())
                && matches!(uri.path(), "" | "/")
                && uri.query().is_none()
        });
        uri.ok_or_else(|| self.broken("proxy", "not an http, https or socks5 URL of a host alone"))
    }

    fn broken(&self, key: &str, problem: &'static str) -> RegistryError {
        RegistryError::Rule {
            path: self.path.to_owned(),
            key: key.to_owned(),
            problem,
        }
    }
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

/// Go's notation of durations, in which containerd has them: `300ms`, `1.5s`, `1m30s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}
