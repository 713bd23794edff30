//! What a client may prove itself with, in the forms of CRI's AuthConfig.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::hosts::Host;

/// Standard base64, with or without padding: both are in use.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials of a pull (CRI api.proto, AuthConfig); empty fields are absent ones. They are never logged: `Debug`
/// shows the server only.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// User name, with `password`.
    pub username: String,
    /// Password, with `username`.
    pub password: String,
    /// Base64 of `username:password`, used if `username` is empty.
    pub auth: String,
    /// For which server they are, as a host or a URL; for the reference's own registry if empty.
    pub server_address: String,
    /// An OAuth2 refresh token to get tokens with.
    pub identity_token: String,
    /// A token to send as it is.
    pub registry_token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// One way of proving oneself.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Password { username: String, password: String },
    Identity(String),
    Token(String),
}

impl Credentials {
    /// Whether they are for `host`, which serves `registry`. Those that name no server are for the registry itself,
    /// and for mirrors that are trusted to say what a tag means and that nobody can overhear
    /// (docs/decisions/0011).
    pub(super) fn are_for(&self, host: &Host, registry: &str) -> bool {
        match self.server_address.as_str() {
            "" => {
                is_same_server(&host.authority, registry)
                    || !host.is_mirror
                    || (host.resolves && host.scheme == "https")
            }
            server => is_same_server(server, &host.authority),
        }
    }

    /// What they prove, if anything.
    pub(super) fn form(&self) -> Option<Proof> {
        if !self.registry_token.is_empty() {
            return Some(Proof::Token(self.registry_token.clone()));
        }
        if !self.identity_token.is_empty() {
            return Some(Proof::Identity(self.identity_token.clone()));
        }
        if !self.username.is_empty() {
            return Some(password(&self.username, &self.password));
        }
        let decoded = BASE64.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        // Docker's own files may end in NULs.
        let (username, secret) = text.trim_end_matches('\0').split_once(':')?;
        Some(password(username, secret))
    }
}

/// Docker's way of writing an identity token in place of a password.
fn password(username: &str, password: &str) -> Proof {
    match username {
        "<token>" => Proof::Identity(password.to_owned()),
        _ => Proof::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        },
    }
}

/// The value of an `Authorization` header for a password (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{username}:{password}")))
}

/// Whether two names mean the same server; either may be a URL, and Docker's has several names.
fn is_same_server(one: &str, other: &str) -> bool {
    host_of(one).eq_ignore_ascii_case(host_of(other))
}

/// The name and port of a server, which may be given as a URL.
pub(super) fn host_of(server: &str) -> &str {
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = server.split('/').next().unwrap_or(server);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host.strip_suffix(":443").unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistryConfig;
    use crate::registry::hosts::rules;

    fn is(username: &str, secret: &str) -> Option<Proof> {
        Some(Proof::Password {
            username: username.to_owned(),
            password: secret.to_owned(),
        })
    }

    #[test]
    fn every_form_gives_its_proof() {
        let with = |set: fn(&mut Credentials)| {
            let mut credentials = Credentials::default();
            set(&mut credentials);
            credentials.form()
        };
        assert!(with(|_| {}).is_none());
        assert!(
            with(|form| {
                form.username = "u".into();
                form.password = "p:q".into();
            }) == is("u", "p:q")
        );
        assert!(
            with(|form| {
                form.username = "<token>".into();
                form.password = "i".into();
            }) == Some(Proof::Identity("i".into()))
        );
        // base64 of "u:p:q", with and without padding.
        assert!(with(|form| form.auth = "dTpwOnE=".into()) == is("u", "p:q"));
        assert!(with(|form| form.auth = "dTpwOnE".into()) == is("u", "p:q"));
        assert!(with(|form| form.auth = "%".into()).is_none());
        assert!(with(|form| form.identity_token = "i".into()) == Some(Proof::Identity("i".into())));
        assert!(with(|form| form.registry_token = "t".into()) == Some(Proof::Token("t".into())));
    }

    #[test]
    fn credentials_are_for_their_server_only() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"
            [host."https://trusted.example"]
            [host."https://public.example"]
            capabilities = ["pull"]
            [host."http://clear.example"]
        "#;
        for folder in ["r.example", "docker.io"] {
            let folder = directory.path().join(folder);
            std::fs::create_dir(&folder).unwrap();
            let mut file = std::fs::File::create(folder.join("hosts.toml")).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        }
        let config = RegistryConfig {
            certs_directories: vec![directory.path().to_owned()],
            ..RegistryConfig::default()
        };
        for (server, registry, meant) in [
            ("", "r.example", [true, false, false, true]),
            ("", "docker.io", [true, false, false, true]),
            ("r.example", "r.example", [false, false, false, true]),
            (
                "https://r.example/v2/",
                "r.example",
                [false, false, false, true],
            ),
            ("r.example:443", "r.example", [false, false, false, true]),
            ("public.example", "r.example", [false, true, false, false]),
            ("other.example", "r.example", [false; 4]),
            (
                "https://index.docker.io/v1/",
                "docker.io",
                [false, false, false, true],
            ),
        ] {
            let credentials = Credentials {
                registry_token: "t".to_owned(),
                server_address: server.to_owned(),
                ..Credentials::default()
            };
            let hosts = rules(&config, registry).unwrap().hosts;
            let found = hosts.iter().map(|host| credentials.are_for(host, registry));
            assert_eq!(found.collect::<Vec<_>>(), meant, "{server} {registry}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials {
            password: "hunter2".to_owned(),
            auth: "hunter2".to_owned(),
            ..Credentials::default()
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
