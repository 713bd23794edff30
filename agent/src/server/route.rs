//! From a request to what answers it.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::listen::Api;
use super::reply::{self, Refusal, Reply};
use super::{nodes, objects, tokens, usage, watch};
use crate::manifest::Kind;

/// As the API server: etcd takes no larger object.
const BODY_MAX: usize = 3 * 1024 * 1024;

/// Of Kubernetes, and of this program.
pub(super) const VERSION: &str = concat!("v1.36.0+carpel-", env!("CARGO_PKG_VERSION"));

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Path<'a> {
    /// Objects of a kind, of one namespace or of all.
    Objects(Kind, Option<&'a str>),
    /// One object.
    Object(Kind, &'a str, &'a str),
    /// A token of a service account.
    Token(&'a str, &'a str),
    /// What has happened.
    Events(Option<&'a str>),
    /// This machine, alone.
    Nodes,
    /// This machine, by its name.
    Node(&'a str),
    /// What pods use.
    Usage(Option<&'a str>),
    /// The keys of tokens.
    Keys,
    /// Where they are.
    Discovery,
    /// Who answers.
    Version,
    /// Whether anybody does.
    Health,
}

impl<'a> Path<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        Some(match words.as_slice() {
            ["healthz" | "livez" | "readyz"] => Self::Health,
            ["version"] => Self::Version,
            ["openid", "v1", "jwks"] => Self::Keys,
            [".well-known", "openid-configuration"] => Self::Discovery,
            ["apis", "metrics.k8s.io", "v1beta1", "pods"] => Self::Usage(None),
            [
                "apis",
                "metrics.k8s.io",
                "v1beta1",
                "namespaces",
                namespace,
                "pods",
            ] => Self::Usage(Some(namespace)),
            ["api", "v1", "nodes"] => Self::Nodes,
            ["api", "v1", "nodes", name] => Self::Node(name),
            ["api", "v1", "events"] => Self::Events(None),
            ["api", "v1", "namespaces", namespace, "events"] => Self::Events(Some(namespace)),
            ["api", "v1", plural] => Self::Objects(kind(plural)?, None),
            ["api", "v1", "namespaces", namespace, plural] => {
                Self::Objects(kind(plural)?, Some(namespace))
            }
            ["api", "v1", "namespaces", namespace, plural, name] => {
                Self::Object(kind(plural)?, namespace, name)
            }
            [
                "api",
                "v1",
                "namespaces",
                namespace,
                "serviceaccounts",
                name,
                "token",
            ] => Self::Token(namespace, name),
            _ => return None,
        })
    }
}

fn kind(plural: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.plural() == plural)
}

/// A word of the query; an empty one is there.
pub(super) fn query<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Answers, whatever is asked.
pub(super) async fn answer(api: Api, request: Request<Incoming>) -> Result<Reply, Infallible> {
    Ok(match dispatch(&api, request).await {
        Ok(reply) => reply,
        Err(refusal) => refusal.reply(),
    })
}

async fn dispatch(api: &Api, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await;
    let body = body.map_err(|error| Refusal::bad(format!("read the request: {error}")))?;
    let body = body.to_bytes();
    let asked = head.uri.query().unwrap_or_default();
    let is_watch = matches!(query(asked, "watch"), Some("true" | "1"));
    let path = Path::parse(head.uri.path()).ok_or_else(Refusal::no_path)?;
    let get = |reply: Reply| match head.method {
        Method::GET => Ok(reply),
        _ => Err(Refusal::method()),
    };
    match path {
        Path::Object(kind, namespace, name) => {
            let key = crate::store::key(kind, namespace, name);
            match head.method {
                Method::GET => objects::get(api, &key),
                Method::PATCH | Method::PUT => objects::apply(api, key, body, asked).await,
                Method::DELETE => objects::delete(api, &key, &body, asked),
                _ => Err(Refusal::method()),
            }
        }
        Path::Objects(kind, namespace) => match head.method {
            Method::GET if is_watch => Ok(watch::objects(api, kind, namespace, asked)),
            Method::GET => Ok(objects::list(api, kind, namespace)),
            Method::POST => objects::create(api, kind, namespace, body).await,
            _ => Err(Refusal::method()),
        },
        Path::Token(namespace, name) if head.method == Method::POST => {
            tokens::create(api, namespace, name, &body)
        }
        Path::Token(..) => Err(Refusal::method()),
        Path::Events(namespace) if is_watch => get(watch::events(api, namespace)),
        Path::Events(namespace) => get(objects::events(api, namespace)),
        // One thing that does not change is not worth watching.
        Path::Nodes if is_watch => Err(Refusal::method()),
        Path::Nodes => get(nodes::list(api).await),
        Path::Node(name) => get(nodes::get(api, name).await?),
        Path::Usage(namespace) => get(usage::pods(api, namespace).await?),
        Path::Keys => get(reply::value(StatusCode::OK, &api.issuer.jwks())),
        Path::Discovery => get(reply::value(StatusCode::OK, &api.issuer.discovery())),
        Path::Version => get(version()),
        Path::Health => get(reply::text(StatusCode::OK, "text/plain", Bytes::from("ok"))),
    }
}

/// Of Kubernetes, whose API this is like, and of this program.
fn version() -> Reply {
    let version = json!({
        "major": "1",
        "minor": "36",
        "gitVersion": VERSION,
        "platform": format!("linux/{}", std::env::consts::ARCH),
    });
    reply::value(StatusCode::OK, &version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_kubernetes_api() {
        let cases = [
            ("/api/v1/pods", Some(Path::Objects(Kind::Pod, None))),
            (
                "/api/v1/namespaces/shop/secrets",
                Some(Path::Objects(Kind::Secret, Some("shop"))),
            ),
            (
                "/api/v1/namespaces/shop/pods/web",
                Some(Path::Object(Kind::Pod, "shop", "web")),
            ),
            (
                "/api/v1/namespaces/shop/serviceaccounts/bot/token",
                Some(Path::Token("shop", "bot")),
            ),
            (
                "/api/v1/namespaces/shop/events",
                Some(Path::Events(Some("shop"))),
            ),
            ("/api/v1/nodes", Some(Path::Nodes)),
            ("/api/v1/nodes/this", Some(Path::Node("this"))),
            ("/api/v1/services", None),
            ("/", None),
        ];
        for (path, wanted) in cases {
            assert_eq!(Path::parse(path), wanted, "{path}");
        }
    }

    #[test]
    fn words_of_a_query_are_found() {
        assert_eq!(query("a=1&watch=true", "watch"), Some("true"));
        assert_eq!(query("watch", "watch"), Some(""));
        assert_eq!(query("", "watch"), None);
    }
}
