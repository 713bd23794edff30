//! Answering a registry's challenge: a password, or a token from its token server.

use hyper::header::WWW_AUTHENTICATE;
use hyper::{HeaderMap, Uri};
use serde::Deserialize;

use super::RegistryError;
use super::challenge::Challenge;
use super::credentials::{Proof, basic};
use super::transport::{Ask, Transport, shown};

/// As much of a token server's answer as is accepted.
const TOKEN_BYTES_MAX: u64 = 1024 * 1024;

/// The answer of a token server; both names are in use (distribution spec, "token authentication").
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The value of the `Authorization` header that answers the challenge in `headers`, for pulling `repository`.
pub(super) async fn authorization(
    transport: &Transport,
    url: &Uri,
    headers: &HeaderMap,
    (proof, repository): (Option<&Proof>, &str),
) -> Result<String, RegistryError> {
    let known = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|header| Challenge::parse(header.to_str().ok()?))
        .collect::<Vec<_>>();
    let unknown = || RegistryError::Challenge {
        url: shown(url),
        challenge: headers
            .get(WWW_AUTHENTICATE)
            .and_then(|header| header.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    };
    if let Some(Proof::Token(token)) = proof {
        return Ok(format!("Bearer {token}"));
    }
    for challenge in known {
        match (challenge, proof) {
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                proof,
            ) => {
                let scope = match scope.is_empty() {
                    true => format!("repository:{repository}:pull"),
                    false => scope,
                };
                let realm_uri = realm.parse::<Uri>();
                let realm_uri = realm_uri.map_err(|_broken| unknown())?;
                let is_clear = realm_uri.scheme_str() != Some("https");
                if proof.is_some() && is_clear && url.scheme_str() == Some("https") {
                    return Err(RegistryError::InsecureRealm {
                        url: shown(url),
                        realm: shown(&realm_uri),
                    });
                }
                let ask = token_request(&realm, &service, &scope, proof).ok_or_else(unknown)?;
                return token(transport, ask).await;
            }
            (Challenge::Basic, Some(Proof::Password { username, password })) => {
                return Ok(basic(username, password));
            }
            (Challenge::Basic, _) => {}
        }
    }
    Err(unknown())
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
            form: Some(form),
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
    let (uri, response) = transport.ask(ask).await.map_err(refused)?;
    if !response.status().is_success() {
        return Err(refused(transport.refusal(&uri, response).await));
    }
    let body = transport
        .whole(&uri, response.into_body(), TOKEN_BYTES_MAX)
        .await
        .map_err(refused)?;
    let answer = serde_json::from_slice::<Answer>(&body).ok();
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
