//! Which protocol follows a request: what the client offers, what Carpel takes, and the response that says so.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::remote_command::Sizing;
use super::status::StatusFormat;
use super::websocket::{HalfClose, Layout};
use crate::pod::StreamRequest;

/// What a client of SPDY offers, and what was chosen.
const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What would have been accepted.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// A response, with its whole body.
pub(super) type Answer = Response<Full<Bytes>>;

/// What is spoken after the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// SPDY streams of exec and attach.
    SpdyCommand(Sizing, StatusFormat),
    /// SPDY streams of port-forward.
    SpdyForward,
    /// WebSocket channels of exec and attach.
    Channels(Layout, HalfClose, StatusFormat),
    /// WebSocket channels of port-forward.
    ForwardChannels(Layout),
    /// SPDY streams of port-forward in a WebSocket.
    Tunnel,
}

/// The protocols of SPDY: exec and attach.
const SPDY_COMMAND: &[(&str, Spoken)] = &[
    (
        "v4.channel.k8s.io",
        Spoken::SpdyCommand(Sizing::Stream, StatusFormat::Json),
    ),
    (
        "v3.channel.k8s.io",
        Spoken::SpdyCommand(Sizing::Stream, StatusFormat::Text),
    ),
    (
        "v2.channel.k8s.io",
        Spoken::SpdyCommand(Sizing::None, StatusFormat::Text),
    ),
    (
        "channel.k8s.io",
        Spoken::SpdyCommand(Sizing::None, StatusFormat::Text),
    ),
];

const SPDY_FORWARD: &[(&str, Spoken)] = &[("portforward.k8s.io", Spoken::SpdyForward)];

/// The protocols of WebSocket: exec and attach. The empty one is for a client that asks for none.
const WEBSOCKET_COMMAND: &[(&str, Spoken)] = &[
    (
        "v5.channel.k8s.io",
        Spoken::Channels(Layout::Binary, HalfClose::Signal, StatusFormat::Json),
    ),
    (
        "v4.channel.k8s.io",
        Spoken::Channels(Layout::Binary, HalfClose::None, StatusFormat::Json),
    ),
    (
        "v4.base64.channel.k8s.io",
        Spoken::Channels(Layout::Base64, HalfClose::None, StatusFormat::Json),
    ),
    (
        "channel.k8s.io",
        Spoken::Channels(Layout::Binary, HalfClose::None, StatusFormat::Text),
    ),
    (
        "base64.channel.k8s.io",
        Spoken::Channels(Layout::Base64, HalfClose::None, StatusFormat::Text),
    ),
    (
        "",
        Spoken::Channels(Layout::Binary, HalfClose::None, StatusFormat::Text),
    ),
];

const WEBSOCKET_FORWARD: &[(&str, Spoken)] = &[
    ("SPDY/3.1+portforward.k8s.io", Spoken::Tunnel),
    ("v4.channel.k8s.io", Spoken::ForwardChannels(Layout::Binary)),
    (
        "v4.base64.channel.k8s.io",
        Spoken::ForwardChannels(Layout::Base64),
    ),
    ("", Spoken::ForwardChannels(Layout::Binary)),
];

/// Chooses what is spoken, and makes the response that says so.
///
/// # Errors
/// The refusal.
pub(super) fn negotiate(
    request: &StreamRequest,
    headers: &HeaderMap,
) -> Result<(Spoken, Answer), Box<Answer>> {
    let is_forward = matches!(request, StreamRequest::PortForward { .. });
    let wants =
        |name: &str| has_word(headers, &CONNECTION, "upgrade") && has_word(headers, &UPGRADE, name);
    if wants("websocket") {
        let table = if is_forward {
            WEBSOCKET_FORWARD
        } else {
            WEBSOCKET_COMMAND
        };
        websocket(table, headers)
    } else if wants("spdy/3.1") {
        let table = if is_forward {
            SPDY_FORWARD
        } else {
            SPDY_COMMAND
        };
        spdy(table, headers)
    } else {
        let text = "unable to upgrade: neither SPDY/3.1 nor websocket is asked for";
        Err(refusal(StatusCode::BAD_REQUEST, text.to_owned()))
    }
}

fn spdy(
    table: &[(&'static str, Spoken)],
    headers: &HeaderMap,
) -> Result<(Spoken, Answer), Box<Answer>> {
    let offered = words(headers, &PROTOCOL);
    if offered.is_empty() {
        let text = format!("unable to upgrade: there is no protocol in header {PROTOCOL}");
        return Err(refusal(StatusCode::BAD_REQUEST, text));
    }
    let Some((name, spoken)) = choose(table, &offered) else {
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {:?}",
            table.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        let mut refusal = refusal(StatusCode::FORBIDDEN, text);
        for (name, _) in table {
            let accepted = HeaderValue::from_static(name);
            refusal.headers_mut().append(ACCEPTED, accepted);
        }
        return Err(refusal);
    };
    let mut answer = switching("SPDY/3.1");
    answer
        .headers_mut()
        .insert(PROTOCOL, HeaderValue::from_static(name));
    Ok((spoken, answer))
}

fn websocket(
    table: &[(&'static str, Spoken)],
    headers: &HeaderMap,
) -> Result<(Spoken, Answer), Box<Answer>> {
    let bad = |text: &str| refusal(StatusCode::BAD_REQUEST, text.to_owned());
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| bad("unable to upgrade: there is no Sec-WebSocket-Key"))?;
    let mut offered = words(headers, &SEC_WEBSOCKET_PROTOCOL);
    if offered.is_empty() {
        offered.push(String::new());
    }
    let (name, spoken) = choose(table, &offered)
        .ok_or_else(|| bad("unable to upgrade: none of the subprotocols is supported"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_not_ascii| bad("unable to upgrade: bad Sec-WebSocket-Key"))?;
    let mut answer = switching("websocket");
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    if !name.is_empty() {
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((spoken, answer))
}

/// The first of the client's that Carpel speaks.
fn choose(table: &[(&'static str, Spoken)], offered: &[String]) -> Option<(&'static str, Spoken)> {
    let known = |name: &String| table.iter().find(|(own, _)| own == name).copied();
    offered.iter().find_map(known)
}

/// The comma-separated words of all headers of that name.
fn words(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let words = texts.flat_map(|text| text.split(','));
    words
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn has_word(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let words = words(headers, name);
    words.iter().any(|word| word.eq_ignore_ascii_case(wanted))
}

fn switching(protocol: &'static str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    answer
}

/// A response that says why not.
pub(super) fn refusal(status: StatusCode, text: String) -> Box<Answer> {
    let mut answer = Response::new(Full::from(text + "\n"));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    // A connection is one request.
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    Box::new(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::WantedStreams;

    fn exec() -> StreamRequest {
        StreamRequest::Attach {
            container_id: "a".to_owned(),
            wanted: WantedStreams::default(),
        }
    }

    fn forward() -> StreamRequest {
        StreamRequest::PortForward {
            sandbox_id: "a".to_owned(),
            ports: Vec::new(),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_clients_first_protocol_that_is_spoken_is_chosen() {
        let offer = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
            (
                "x-stream-protocol-version",
                "v4.channel.k8s.io, channel.k8s.io",
            ),
        ]);
        let (spoken, answer) = negotiate(&exec(), &offer).unwrap();
        let expected = Spoken::SpdyCommand(Sizing::Stream, StatusFormat::Json);
        assert_eq!(spoken, expected);
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[PROTOCOL], "v4.channel.k8s.io");
        assert_eq!(answer.headers()[UPGRADE], "SPDY/3.1");
        let refused = negotiate(&forward(), &offer).unwrap_err();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()[ACCEPTED], "portforward.k8s.io");
    }

    #[test]
    fn websocket_protocols_are_chosen_by_the_request() {
        // RFC 6455, section 1.3.
        let offer = |protocol| {
            headers(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "WebSocket"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("sec-websocket-protocol", protocol),
            ])
        };
        let (spoken, answer) = negotiate(&exec(), &offer("v5.channel.k8s.io")).unwrap();
        let v5 = Spoken::Channels(Layout::Binary, HalfClose::Signal, StatusFormat::Json);
        assert_eq!(spoken, v5);
        assert_eq!(
            answer.headers()[SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let tunnel = negotiate(&forward(), &offer("SPDY/3.1+portforward.k8s.io"));
        assert_eq!(tunnel.unwrap().0, Spoken::Tunnel);
        let none = negotiate(&exec(), &offer("nonsense")).unwrap_err();
        assert_eq!(none.status(), StatusCode::BAD_REQUEST);
        let mut without = offer("v4.channel.k8s.io");
        without.remove(SEC_WEBSOCKET_PROTOCOL);
        let (spoken, answer) = negotiate(&exec(), &without).unwrap();
        let v1 = Spoken::Channels(Layout::Binary, HalfClose::None, StatusFormat::Text);
        assert_eq!(spoken, v1);
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
    }

    #[test]
    fn what_is_no_upgrade_is_refused() {
        for offer in [
            headers(&[]),
            headers(&[("upgrade", "SPDY/3.1")]),
            headers(&[("connection", "Upgrade"), ("upgrade", "h2c")]),
            headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]),
            headers(&[("connection", "Upgrade"), ("upgrade", "websocket")]),
        ] {
            let refused = negotiate(&exec(), &offer).unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{offer:?}");
        }
    }
}
