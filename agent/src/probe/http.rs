//! The HTTP request of probes and hooks: kubelet, `pkg/probe/http`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::act::{Answer, Place, plain};
use super::tls;

/// Go's `http.Client` follows no more.
const REDIRECTS_MAX: usize = 10;

/// So much of an answer is read: kubelet, `maxRespBodyLength`.
const BODY_MAX: usize = 10 * 1024;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    is_tls: bool,
    host: String,
    port: u16,
    /// With its query.
    path: String,
}

impl Target {
    fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Where a Location leads from here; `None` if it is none.
    fn follow(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let Some(host) = uri.host() else {
            return Some(Self {
                path: path.to_owned(),
                ..self.clone()
            });
        };
        let is_tls = uri
            .scheme_str()
            .map_or(self.is_tls, |scheme| scheme == "https");
        let default = if is_tls { 443 } else { 80 };
        Some(Self {
            is_tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(default),
            path: path.to_owned(),
        })
    }
}

/// Asks. A redirect to another host is well: what is there is not this container's doing.
pub(super) async fn get(
    place: &Place,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Result<Answer, String> {
    let (host, port) = place.address(action.host.as_deref(), &action.port)?;
    let path = action.path.as_deref().unwrap_or("/");
    let target = Target {
        is_tls: action.scheme.as_deref() == Some("HTTPS"),
        host,
        port,
        path: match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        },
    };
    let url = target.url();
    match tokio::time::timeout(timeout, follow(target, action)).await {
        Ok(answer) => Ok(answer),
        Err(_) => Ok(Answer::failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))),
    }
}

async fn follow(mut target: Target, action: &HTTPGetAction) -> Answer {
    let first_host = target.host.clone();
    for _ in 0..=REDIRECTS_MAX {
        let url = target.url();
        let (status, location) = match ask(&target, action).await {
            Ok(answer) => answer,
            Err(error) => return Answer::failure(format!("Get \"{url}\": {error}")),
        };
        let next = location.and_then(|location| target.follow(&location));
        match (status, next) {
            (300..=399, Some(next)) if next.host == first_host => target = next,
            (300..=399, Some(_)) => return Answer::success("Probe terminated redirects"),
            (200..=399, _) => return Answer::success(format!("{status}")),
            _ => {
                return Answer::failure(format!("HTTP probe failed with statuscode: {status}"));
            }
        }
    }
    Answer::failure(format!("stopped after {REDIRECTS_MAX} redirects"))
}

/// One request: its status, and where it sends us.
async fn ask(target: &Target, action: &HTTPGetAction) -> Result<(u16, Option<String>), String> {
    let stream = TcpStream::connect((&*target.host, target.port))
        .await
        .map_err(|error| {
            format!(
                "dial tcp {}: connect: {}",
                target.authority(),
                plain(&error)
            )
        })?;
    let request = request(target, action)?;
    let response = match target.is_tls {
        true => send(tls::connect(&target.host, stream).await?, request).await?,
        false => send(stream, request).await?,
    };
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    // What it says is read so that it can say it, but no more than a little.
    Limited::new(response.into_body(), BODY_MAX)
        .collect()
        .await
        .ok();
    Ok((status, location))
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the request: the sender is dropped then.
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}

fn request(target: &Target, action: &HTTPGetAction) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() =
        target
            .path
            .parse()
            .map_err(|_no_path: hyper::http::uri::InvalidUri| {
                format!("invalid path {:?}", target.path)
            })?;
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&target.authority()).map_err(|error| error.to_string())?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.36"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut is_given = Vec::new();
    for header in action.http_headers.iter().flatten() {
        let name = HeaderName::try_from(&header.name).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(&header.value).map_err(|error| error.to_string())?;
        if value.is_empty() && (name == USER_AGENT || name == ACCEPT) {
            // As the kubelet: an empty value takes the default one away.
            headers.remove(name);
        } else if is_given.contains(&name) {
            headers.append(name, value);
        } else {
            headers.insert(name.clone(), value);
            is_given.push(name);
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::act::{Action, act};
    use crate::runtime::Runtime;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each request with the next of `answers`; gives back what was asked.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let length = stream.read(&mut bytes).await.unwrap();
                asked.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, task)
    }

    fn answer(status: &str, headers: &str) -> String {
        format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{headers}\r\n")
    }

    async fn asked(answers: Vec<String>) -> ((bool, String), Vec<String>) {
        let (port, task) = server(answers).await;
        let place = Place {
            runtime: Runtime::at(std::path::Path::new("/nowhere")),
            container_id: String::new(),
            container: Default::default(),
            pod_ip: "127.0.0.1".to_owned(),
        };
        let action = HTTPGetAction {
            path: Some("/healthz?full=1".to_owned()),
            port: IntOrString::Int(port.into()),
            http_headers: serde_json::from_str(
                r#"[{"name":"Host","value":"shop.example"},{"name":"X-A","value":"1"},{"name":"x-a","value":"2"}]"#,
            )
            .unwrap(),
            ..HTTPGetAction::default()
        };
        let answer = act(&place, &Action::Http(action), Duration::from_secs(2)).await;
        (answer, task.await.unwrap())
    }

    #[tokio::test]
    async fn headers_are_sent_and_200_is_well() {
        let ((is_well, _), asked) = asked(vec![answer("200", "")]).await;
        assert!(is_well);
        assert!(
            asked[0].starts_with("GET /healthz?full=1 HTTP/1.1\r\n"),
            "{asked:?}"
        );
        assert!(asked[0].contains("host: shop.example\r\n"), "{asked:?}");
        assert!(asked[0].contains("x-a: 1\r\nx-a: 2\r\n"), "{asked:?}");
        assert!(asked[0].contains("user-agent: kube-probe/"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_status_says_what_is_wrong() {
        let (answer, _) = asked(vec![answer("503", "")]).await;
        let text = "HTTP probe failed with statuscode: 503".to_owned();
        assert_eq!(answer, (false, text));
    }

    #[tokio::test]
    async fn redirects_are_followed_on_the_same_host_only() {
        let here = vec![answer("302", "location: /other\r\n"), answer("404", "")];
        let (said, asked_for) = asked(here).await;
        assert!(!said.0);
        assert!(asked_for[1].starts_with("GET /other "), "{asked_for:?}");
        let there = vec![answer("302", "location: http://192.0.2.1/\r\n")];
        let (said, _) = asked(there).await;
        assert_eq!(said, (true, "Probe terminated redirects".to_owned()));
    }
}
