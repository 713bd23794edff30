//! What a token says.

use serde::Serialize;

/// Who wants a token, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The namespace of the service account and of the pod.
    pub namespace: String,
    /// The service account.
    pub account: String,
    /// Its uid.
    pub account_uid: String,
    /// The pod that carries the token; none for one that a person made.
    pub pod: Option<BoundPod>,
    /// Whom the token is for; none: the issuer itself.
    pub audiences: Vec<String>,
    /// How long it is valid.
    pub expiration_seconds: i64,
}

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct BoundPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The claims of RFC 7519 and those of Kubernetes.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    pub(super) aud: &'a [String],
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: &'a str,
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Kubernetes<'a>,
    pub(super) nbf: i64,
    pub(super) sub: String,
}

/// What the token is bound to.
#[derive(Debug, Serialize)]
pub(super) struct Kubernetes<'a> {
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Node<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a BoundPod>,
    serviceaccount: Account<'a>,
}

#[derive(Debug, Serialize)]
struct Node<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Account<'a> {
    name: &'a str,
    uid: &'a str,
}

impl<'a> Kubernetes<'a> {
    pub(super) fn of(request: &'a Request, node_name: Option<&'a str>) -> Self {
        Self {
            namespace: &request.namespace,
            node: node_name
                .filter(|_| request.pod.is_some())
                .map(|name| Node { name }),
            pod: request.pod.as_ref(),
            serviceaccount: Account {
                name: &request.account,
                uid: &request.account_uid,
            },
        }
    }
}
