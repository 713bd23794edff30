//! Answering a registry's challenge: a password, or a token from its token server.

use hyper::Uri;
use hyper::header::WWW_AUTHENTICATE;
use serde::Deserialize;

use super::RegistryError;
use super::challenge::Challenge;
use super::credentials::{Proof, basic};
use super::transport::{Answer, Ask, Transport, Verb, shown};

/// As much of a token server's answer as is accepted.
const TOKEN_BYTES_MAX: u64 = 1024 * 1024;

/// The answer of a token server; both names are in use (distribution spec, "token authentication").
#[derive(Deserialize)]
struct Tokens {
    token: Option<String>,
    access_token: Option<String>,
}

/// Who asks for a token, and where from.
#[derive(Clone, Copy)]
pub(super) struct Applicant<'a> {
    pub(super) transport: &'a Transport,
    pub(super) proof: Option<&'a Proof>,
    pub(super) repository: &'a str,
}

impl Applicant<'_> {
    /// The value of the `Authorization` header that answers the challenge in `refusal`.
    pub(super) async fn authorization(self, refusal: &Answer) -> Result<String, RegistryError> {
        if let Some(Proof::Token(token)) = self.proof {
            return Ok(format!("Bearer {token}"));
        }
        let url = &refusal.body.uri;
        let headers = &refusal.headers;
        let mut wants_password = false;
        let known = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|header| Challenge::parse(header.to_str().ok()?));
        for challenge in known {
            match (challenge, self.proof) {
                (
                    Challenge::Bearer {
                        realm,
                        service,
                        scope,
                    },
                    _,
                ) => return self.bearer(url, &realm, (&service, &scope)).await,
                (Challenge::Basic, Some(Proof::Password { username, password })) => {
                    return Ok(basic(username, password));
                }
                (Challenge::Basic, _) => wants_password = true,
            }
        }
        if wants_password {
            return Err(RegistryError::NoPassword { url: shown(url) });
        }
        Err(RegistryError::Challenge {
            url: shown(url),
            challenge: headers
                .get(WWW_AUTHENTICATE)
                .and_then(|header| header.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
        })
    }

    async fn bearer(
        self,
        url: &Uri,
        realm: &str,
        (service, scope): (&str, &str),
    ) -> Result<String, RegistryError> {
        let own = format!("repository:{}:pull", self.repository);
        let scope = if scope.is_empty() { &own } else { scope };
        let bad = || RegistryError::BadUrl {
            url: realm.to_owned(),
        };
        let realm_uri: Uri = realm.parse().map_err(|_broken| bad())?;
        let is_in_clear =
            realm_uri.scheme_str() != Some("https") && url.scheme_str() == Some("https");
        if self.proof.is_some() && is_in_clear {
            return Err(RegistryError::InsecureRealm {
                url: shown(url),
                realm: shown(&realm_uri),
            });
        }
        let mut ask = token_request(realm, service, scope, self.proof).ok_or_else(bad)?;
        if !is_in_clear {
            // A rule's header may be what the token server knows us by.
            ask.headers = self.transport.host().headers.clone();
        }
        token(self.transport, ask).await
    }
}

fn token_request(realm: &str, service: &str, scope: &str, proof: Option<&Proof>) -> Option<Ask> {
    let accept = "application/json";
    let query = format!("service={}&scope={}", encode(service), encode(scope));
    if let Some(Proof::Identity(identity)) = proof {
        let form = format!(
            "grant_type=refresh_token&client_id=carpel&refresh_token={}&{query}",
            encode(identity)
        );
        let ask = Ask::get(realm.parse().ok()?, accept);
        return Some(Ask {
            verb: Verb::Post(form),
            ..ask
        });
    }
    let joint = if realm.contains('?') { '&' } else { '?' };
    let mut ask = Ask::get(format!("{realm}{joint}{query}").parse().ok()?, accept);
    if let Some(Proof::Password { username, password }) = proof {
        ask.authorization = Some(basic(username, password));
    }
    Some(ask)
}

async fn token(transport: &Transport, ask: Ask) -> Result<String, RegistryError> {
    let realm = shown(&ask.uri);
    let refused = |source| RegistryError::Token {
        realm: realm.clone(),
        source: Box::new(source),
    };
    let answer = transport.ask(ask).await.map_err(refused)?;
    if !answer.status.is_success() {
        return Err(refused(answer.refusal().await));
    }
    let body = answer.body.whole(TOKEN_BYTES_MAX).await.map_err(refused)?;
    let answer = serde_json::from_slice::<Tokens>(&body).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    match token {
        Some(token) if !token.is_empty() => Ok(format!("Bearer {token}")),
        _ => Err(RegistryError::NoToken { realm }),
    }
}

/// Percent-encoding of everything that is not unreserved (RFC 3986 §2.3).
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}
