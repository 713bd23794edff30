//! Proxies: a real one that forwards and tunnels to one place, whatever name it is asked for.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tls::{Authority, write};
use super::*;

/// "user:secret"
const AUTHORIZATION: &str = "proxy-authorization: Basic dXNlcjpzZWNyZXQ=";

struct FakeProxy {
    address: std::net::SocketAddr,
    /// The first lines of what it was asked.
    log: Arc<Mutex<Vec<String>>>,
}

impl FakeProxy {
    /// Forwards everything that has the password to `target`.
    async fn start(target: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(stream, target, Arc::clone(&lines)));
            }
        });
        Self { address, log }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

async fn forward(
    mut stream: TcpStream,
    target: std::net::SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap().to_owned();
    log.lock().unwrap().push(line.clone());
    if !head.to_lowercase().contains(&AUTHORIZATION.to_lowercase()) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal).await.unwrap();
        return;
    }
    let mut upstream = TcpStream::connect(target).await.unwrap();
    if line.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        // From a whole URL to a path, and one request a connection.
        let path = line
            .split(' ')
            .nth(1)
            .unwrap()
            .splitn(4, '/')
            .nth(3)
            .unwrap();
        let (_, rest) = head.split_once("\r\n").unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nconnection: close\r\n{rest}");
        upstream.write_all(request.as_bytes()).await.unwrap();
    }
    drop(tokio::io::copy_bidirectional(&mut stream, &mut upstream).await);
}

fn through(proxy: &FakeProxy, user: &str) -> ProxySettings {
    let url = format!("http://{user}{}", proxy.address);
    ProxySettings {
        http: url.clone(),
        https: url,
        exceptions: "direct.example".to_owned(),
    }
}

async fn pull(rule: &str, proxies: ProxySettings) -> Result<Manifest, RegistryError> {
    let (_directory, config) = with_rules(rule);
    let config = RegistryConfig {
        proxies,
        attempts: 1,
        ..config
    };
    let reference = "r.example/x".parse().unwrap();
    let session = Registry::new(config).session(&reference, None).unwrap();
    session.manifest_by_tag("1").await
}

#[tokio::test]
async fn plain_http_is_asked_of_the_proxy() {
    let registry = FakeRegistry::start(Door::Open).await;
    registry.put_manifest("x", "1", MANIFEST);
    let proxy = FakeProxy::start(registry.address).await;
    let server = "server = \"http://r.example\"";
    pull(server, through(&proxy, "user:secret@")).await.unwrap();
    assert_eq!(
        proxy.log(),
        ["GET http://r.example/v2/x/manifests/1 HTTP/1.1"]
    );
    let refused = pull(server, through(&proxy, "")).await.unwrap_err();
    assert!(chain(&refused).contains("407"), "{}", chain(&refused));
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_the_host_s_own_certificate() {
    let authority = Authority::new("one");
    let tls = authority.server("r.example", None);
    let registry = FakeRegistry::start_encrypted(Door::Open, tls).await;
    registry.put_manifest("x", "1", MANIFEST);
    let proxy = FakeProxy::start(registry.address).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    write(&file, &authority.pem);
    let rule = format!("ca = {:?}", file.display().to_string());
    pull(&rule, through(&proxy, "user:secret@")).await.unwrap();
    assert_eq!(proxy.log(), ["CONNECT r.example:443 HTTP/1.1"]);
    let refused = chain(&pull(&rule, through(&proxy, "user:bad@")).await.unwrap_err());
    let named = format!("through the proxy http://{}", proxy.address);
    assert!(refused.contains(&named), "{refused}");
    assert!(!refused.contains("bad@"), "{refused}");
    // The rule of the host comes before the environment.
    let rule = format!("{rule}\nproxy = \"http://user:secret@{}\"", proxy.address);
    let elsewhere = ProxySettings {
        https: format!("http://{}", nobody()),
        ..ProxySettings::default()
    };
    pull(&rule, elsewhere).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let proxy = FakeProxy {
        address: nobody(),
        log: Arc::default(),
    };
    let error = pull("", through(&proxy, "")).await.unwrap_err();
    let said = chain(&error);
    assert!(said.contains(&proxy.address.to_string()), "{said}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
