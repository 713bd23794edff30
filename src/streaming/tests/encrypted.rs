//! TLS, the address that is listened on, and Carpel's own client of both.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::{ALL, AtDisconnect, Served};
use crate::streaming::client::{
    Command, CommandEnd, CommandEvent, ForwardEnd, Forwarder, StreamClientError, TrustedServer,
};
use crate::streaming::{Settings, TlsFiles};

fn settings(address: [u8; 4], tls: Option<TlsFiles>) -> Settings {
    Settings {
        address: SocketAddr::from((address, 0)),
        tls,
        idle_timeout: Duration::from_secs(3600),
        kill_on_disconnect: false,
    }
}

fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// A certificate of nobody's, with its key, in files.
fn certificate(folder: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["node.example".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    write(&files.certificate, &made.cert.pem());
    write(&files.key, &made.signing_key.serialize_pem());
    (files, made.cert.der().clone())
}

/// Everything that a command says, and its end.
async fn run(url: &str, trusted: &TrustedServer, input: &[u8]) -> (Vec<u8>, CommandEnd) {
    let mut command = Command::open(url, trusted).await.unwrap();
    command.input.send(input).await.unwrap();
    command.input.end().await.unwrap();
    let mut said = Vec::new();
    while let Some(event) = command.output.next().await.unwrap() {
        if let CommandEvent::Stdout(bytes) = event {
            said.extend_from_slice(&bytes);
        }
    }
    (said, command.output.end().unwrap())
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_tls_and_is_believed_by_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (files, own) = certificate(folder.path());
    let served = Served::with(settings([127, 0, 0, 1], Some(files))).await;
    let url = served.exec_url(&["sh", "-c", "cat; exit 3"], ALL);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let trusted = TrustedServer::with_certificate(own);
    let (said, end) = run(&url, &trusted, b"over TLS").await;
    assert_eq!(said, b"over TLS");
    assert_eq!(end, CommandEnd::Exited(3));

    // Another certificate is not taken, nor one that only its own issuer vouches for, nor no TLS at all.
    let other_folder = tempfile::tempdir().unwrap();
    let (_files, other) = certificate(other_folder.path());
    let url = served.exec_url(&["cat"], ALL);
    for wrong in [
        TrustedServer::with_certificate(other),
        TrustedServer::default(),
    ] {
        let refused = Command::open(&url, &wrong).await;
        assert!(
            matches!(refused, Err(StreamClientError::Tls { .. })),
            "{refused:?}"
        );
    }
    let plain = url.replacen("https", "http", 1);
    assert!(Command::open(&plain, &trusted).await.is_err());
    // None of them has used the URL up.
    let (said, end) = run(&url, &trusted, b"still good").await;
    assert_eq!((&*said, end), (&b"still good"[..], CommandEnd::Exited(0)));
}

#[tokio::test]
async fn a_server_listens_where_it_is_told_and_names_that_in_its_urls() {
    let served = Served::with(settings([127, 0, 0, 5], None)).await;
    let url = served.exec_url(&["cat"], ALL);
    assert!(url.starts_with("http://127.0.0.5:"), "{url}");
    let (said, end) = run(&url, &TrustedServer::default(), b"x").await;
    assert_eq!((&*said, end), (&b"x"[..], CommandEnd::Exited(0)));
    // And nowhere else.
    let elsewhere = url.replacen("127.0.0.5", "127.0.0.1", 1);
    let refused = Command::open(&elsewhere, &TrustedServer::default()).await;
    assert!(
        matches!(refused, Err(StreamClientError::Connect { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_url_that_was_used_is_refused_and_what_cannot_be_run_is_told() {
    let served = Served::start(AtDisconnect::Leave).await;
    let trusted = TrustedServer::default();
    let url = served.exec_url(&["/no/such/program"], ALL);
    let mut command = Command::open(&url, &trusted).await.unwrap();
    while command.output.next().await.unwrap().is_some() {}
    let end = command.output.end().unwrap();
    assert!(
        matches!(&end, CommandEnd::Failed(why) if why.contains("execute: No such file")),
        "{end:?}"
    );
    let again = Command::open(&url, &trusted).await;
    assert!(
        matches!(again, Err(StreamClientError::Upgrade { .. })),
        "{again:?}"
    );
}

/// A pair of connected sockets.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, accepted) = tokio::join!(near, listener.accept());
    (near.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn connections_are_forwarded_with_their_half_closes_side_by_side() {
    let served = Served::start(AtDisconnect::Leave).await;
    let url = served.forward_url(&[]);
    let forwarder = Forwarder::open(&url, &TrustedServer::default())
        .await
        .unwrap();
    // A server that answers when its client has said all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                socket.read_to_end(&mut asked).await.unwrap();
                asked.reverse();
                socket.write_all(&asked).await.unwrap();
            });
        }
    });
    let asks = (0..20).map(|number| {
        let forwarder = &forwarder;
        async move {
            let (mut near, far) = pair().await;
            let asked = vec![u8::try_from(number).unwrap(); 200_000];
            let client = async move {
                near.write_all(b"first").await.unwrap();
                near.write_all(&asked).await.unwrap();
                near.shutdown().await.unwrap();
                let mut answer = Vec::new();
                near.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.len(), 200_005);
                assert!(answer.ends_with(b"tsrif"));
            };
            let ((), end) = tokio::join!(client, forwarder.forward(far, port));
            assert_eq!(end, ForwardEnd::Closed);
        }
    });
    futures_util::future::join_all(asks).await;
    // Nobody listens there: told, and the connection to the server goes on.
    let (near, far) = pair().await;
    let end = forwarder.forward(far, 1).await;
    assert!(
        matches!(&end, ForwardEnd::Refused(why) if why.contains("forwarding port 1 ")),
        "{end:?}"
    );
    drop(near);
}
