//! Proxies: a real one that forwards and tunnels to one place, whatever name it is asked for.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

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
        Self::serve(target, None).await
    }

    /// The same, spoken to by TLS.
    async fn start_encrypted(target: std::net::SocketAddr, tls: rustls::ServerConfig) -> Self {
        Self::serve(target, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn serve(target: std::net::SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, lines) = (tls.clone(), Arc::clone(&lines));
                tokio::spawn(async move {
                    match tls {
                        None => forward(stream, target, lines).await,
                        Some(tls) => {
                            let stream = tls.accept(stream).await.unwrap();
                            forward(stream, target, lines).await;
                        }
                    }
                });
            }
        });
        Self { address, log }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

async fn forward(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
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
        no_progress: Duration::from_secs(30),
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

/// A SOCKS proxy (RFC 1928) that wants "user" and "secret" (RFC 1929) and connects to `target`, whatever it is asked for.
async fn socks(
    mut stream: TcpStream,
    target: std::net::SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; usize::from(greeting[1])];
    stream.read_exact(&mut methods).await?;
    // Username and password, or nothing that would do.
    let has_password = methods.contains(&2);
    stream
        .write_all(&[5, if has_password { 2 } else { 0xff }])
        .await?;
    if !has_password {
        return Ok(());
    }
    assert_eq!(stream.read_u8().await?, 1);
    let mut secret = Vec::new();
    for _ in 0..2 {
        let length = usize::from(stream.read_u8().await?);
        let mut text = vec![0; length];
        stream.read_exact(&mut text).await?;
        secret.push(text);
    }
    let is_right = secret == [b"user".to_vec(), b"secret".to_vec()];
    stream.write_all(&[1, u8::from(!is_right)]).await?;
    if !is_right {
        return Ok(());
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    // CONNECT to a name: the proxy resolves it.
    assert_eq!(request, [5, 1, 0, 3]);
    let mut name = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut name).await?;
    let port = stream.read_u16().await?;
    let name = String::from_utf8(name).unwrap();
    log.lock().unwrap().push(format!("{name}:{port}"));
    let mut upstream = TcpStream::connect(target).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut upstream).await?;
    Ok(())
}

#[tokio::test]
async fn a_socks_proxy_is_logged_in_to_and_resolves_the_name() {
    let authority = Authority::new("one");
    let tls = authority.server("r.example", None);
    let encrypted = FakeRegistry::start_encrypted(Door::Open, tls).await;
    let plain = FakeRegistry::start(Door::Open).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    write(&file, &authority.pem);
    let trusting = format!("ca = {:?}", file.display().to_string());
    let server = "server = \"http://r.example\"".to_owned();
    for (registry, rule, port) in [(encrypted, trusting, 443), (plain, server, 80)] {
        registry.put_manifest("x", "1", MANIFEST);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let target = registry.address;
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let lines = Arc::clone(&lines);
                tokio::spawn(async move { socks(stream, target, lines).await.unwrap_or_default() });
            }
        });
        let by = |scheme: &str, user: &str| {
            let url = format!("{scheme}://{user}@{address}");
            ProxySettings {
                http: url.clone(),
                https: url,
                exceptions: String::new(),
            }
        };
        pull(&rule, by("socks5h", "user:secret")).await.unwrap();
        assert_eq!(*log.lock().unwrap(), [format!("r.example:{port}")]);
        let refused = pull(&rule, by("socks5h", "user:wrong")).await.unwrap_err();
        let refused = chain(&refused);
        let named = format!("through the proxy socks5h://{address}");
        assert!(refused.contains(&named), "{refused}");
        assert!(!refused.contains("wrong"), "{refused}");
    }
}

#[tokio::test]
async fn a_proxy_with_tls_needs_a_certificate_of_the_system_s_authorities() {
    let authority = Authority::new("nobody's");
    let tls = authority.server("127.0.0.1", None);
    // Any server with TLS: there is no word before the handshake.
    let proxy = FakeRegistry::start_encrypted(Door::Open, tls).await;
    let url = format!("https://user:secret@{}", proxy.address);
    let settings = ProxySettings {
        http: url.clone(),
        https: url,
        exceptions: String::new(),
    };
    for rule in ["", "server = \"http://r.example\""] {
        let refused = pull(rule, settings.clone()).await.unwrap_err();
        let refused = chain(&refused);
        let named = format!("through the proxy https://{}", proxy.address);
        assert!(refused.contains(&named), "{refused}");
        assert!(refused.to_lowercase().contains("certificate"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
}

/// The proxy and the rule for the other process of the test below.
const OTHER_PROCESS: [&str; 2] = ["CARPEL_TEST_PROXY", "CARPEL_TEST_RULE"];

/// The system's authorities are those of the file that `SSL_CERT_FILE` names: the client is another process, this very
/// test with that variable.
#[tokio::test]
async fn a_proxy_with_tls_is_asked_and_tunnels() {
    if let [Ok(url), Ok(rule)] = OTHER_PROCESS.map(std::env::var) {
        let settings = ProxySettings {
            http: url.clone(),
            https: url,
            exceptions: String::new(),
        };
        pull(&rule, settings).await.unwrap();
        return;
    }
    let authority = Authority::new("one");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    write(&file, &authority.pem);
    let tls = authority.server("r.example", None);
    let encrypted = FakeRegistry::start_encrypted(Door::Open, tls).await;
    let plain = FakeRegistry::start(Door::Open).await;
    let to_encrypted = format!("ca = {:?}", file.display().to_string());
    for (registry, rule, asked) in [
        (encrypted, to_encrypted.as_str(), "CONNECT r.example:443"),
        (
            plain,
            "server = \"http://r.example\"",
            "GET http://r.example/v2/x/manifests/1",
        ),
    ] {
        registry.put_manifest("x", "1", MANIFEST);
        let tls = authority.server("127.0.0.1", None);
        let proxy = FakeProxy::start_encrypted(registry.address, tls).await;
        let url = format!("https://user:secret@{}", proxy.address);
        let test = "registry::tests::proxy::a_proxy_with_tls_is_asked_and_tunnels";
        let client = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("SSL_CERT_FILE", &file)
            .envs(OTHER_PROCESS.into_iter().zip([url.as_str(), rule]))
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&client.stdout);
        assert!(said.contains("1 passed"), "{said}");
        assert_eq!(proxy.log(), [format!("{asked} HTTP/1.1")]);
    }
}

#[tokio::test]
async fn a_proxy_of_another_kind_is_refused_and_nobody_is_asked() {
    for url in [
        "ftp://user:secret@p.example:21",
        "socks4://p.example:1",
        "http://",
    ] {
        let settings = ProxySettings {
            http: url.to_owned(),
            https: url.to_owned(),
            exceptions: String::new(),
        };
        let refused = pull("", settings).await.unwrap_err();
        let refused = chain(&refused);
        assert!(
            refused.contains("http, https, socks5 and socks5h"),
            "{refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }
}
