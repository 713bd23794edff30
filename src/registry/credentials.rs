//! What a client may prove itself with, in the forms of CRI's AuthConfig.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

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
    /// The proof for a host that serves `registry`, if these credentials are for it.
    pub(super) fn proof(&self, host: &str, registry: &str) -> Option<Proof> {
        let is_meant = match self.server_address.as_str() {
            "" => is_same_server(host, registry),
            server => is_same_server(server, host),
        };
        if !is_meant {
            return None;
        }
        if !self.registry_token.is_empty() {
            return Some(Proof::Token(self.registry_token.clone()));
        }
        if !self.identity_token.is_empty() {
            return Some(Proof::Identity(self.identity_token.clone()));
        }
        if !self.username.is_empty() {
            return Some(Proof::Password {
                username: self.username.clone(),
                password: self.password.clone(),
            });
        }
        let decoded = BASE64.decode(self.auth.trim()).ok()?;
        // Docker's own files may end in NULs.
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.trim_end_matches('\0').split_once(':')?;
        Some(Proof::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        })
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

fn host_of(server: &str) -> &str {
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

    fn password(username: &str, password: &str) -> Option<Proof> {
        Some(Proof::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn every_form_gives_its_proof() {
        let with = |set: fn(&mut Credentials)| {
            let mut credentials = Credentials::default();
            set(&mut credentials);
            credentials.proof("r.example", "r.example")
        };
        assert!(with(|_| {}).is_none());
        assert!(
            with(|form| {
                form.username = "u".into();
                form.password = "p:q".into();
            }) == password("u", "p:q")
        );
        // base64 of "u:p:q", with and without padding.
        assert!(with(|form| form.auth = "dTpwOnE=".into()) == password("u", "p:q"));
        assert!(with(|form| form.auth = "dTpwOnE".into()) == password("u", "p:q"));
        assert!(with(|form| form.auth = "%".into()).is_none());
        assert!(with(|form| form.identity_token = "i".into()) == Some(Proof::Identity("i".into())));
        assert!(with(|form| form.registry_token = "t".into()) == Some(Proof::Token("t".into())));
    }

    #[test]
    fn credentials_are_for_their_server_only() {
        for (server, host, registry, meant) in [
            ("", "r.example", "r.example", true),
            ("", "mirror.example", "r.example", false),
            ("r.example", "r.example", "r.example", true),
            ("https://r.example/v2/", "r.example", "r.example", true),
            ("r.example:443", "r.example", "r.example", true),
            ("mirror.example", "mirror.example", "r.example", true),
            ("other.example", "r.example", "r.example", false),
            (
                "https://index.docker.io/v1/",
                "registry-1.docker.io",
                "docker.io",
                true,
            ),
            ("", "registry-1.docker.io", "docker.io", true),
        ] {
            let credentials = Credentials {
                registry_token: "t".to_owned(),
                server_address: server.to_owned(),
                ..Credentials::default()
            };
            let found = credentials.proof(host, registry).is_some();
            assert_eq!(found, meant, "{server} {host}");
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
