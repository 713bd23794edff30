//! Tokens of service accounts on request: the API's `TokenRequest`.

use hyper::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::listen::Api;
use super::reply::{self, Refusal, Reply, chain};
use crate::manifest::Kind;
use crate::token::Request;

/// As the API server: less is refused.
const LIFE_MIN: i64 = 600;

/// One hour, if nothing else is asked for.
const LIFE: i64 = 3600;

/// A token.
pub(super) fn create(
    api: &Api,
    namespace: &str,
    name: &str,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let asked: TokenRequest = match body.is_empty() {
        true => TokenRequest::default(),
        false => serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("TokenRequest: {error}")))?,
    };
    let account = api.node.store.service_account(namespace, name);
    let account = account.map_err(|error| Refusal::of_store(&error))?;
    let account = account.ok_or_else(|| Refusal::not_found(Kind::ServiceAccount.plural(), name))?;
    let spec = asked.spec.clone().unwrap_or_default();
    if spec.bound_object_ref.is_some() {
        return Err(Refusal::invalid(
            "spec.boundObjectRef: not supported: only tokens of projected volumes are bound",
        ));
    }
    let life = spec.expiration_seconds.unwrap_or(LIFE);
    if life < LIFE_MIN {
        return Err(Refusal::invalid(
            "spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes",
        ));
    }
    let request = Request {
        namespace: namespace.to_owned(),
        account: name.to_owned(),
        account_uid: account.metadata.uid.clone().unwrap_or_default(),
        pod: None,
        audiences: spec.audiences.unwrap_or_default(),
        expiration_seconds: life,
    };
    let issued = api.issuer.issue(&request, None, jiff::Timestamp::now());
    let issued = issued.map_err(|error| Refusal::internal(chain(&error)))?;
    let answer = TokenRequest {
        status: Some(TokenRequestStatus {
            token: Some(issued.token),
            expiration_timestamp: Some(Time(issued.expires_at)),
        }),
        ..asked
    };
    Ok(reply::value(StatusCode::CREATED, &json!(answer)))
}
