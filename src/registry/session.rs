//! Pulling from one repository: which host, with which proof, how often.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode, Uri};
use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::credentials::Proof;
use super::hosts::{Host, hosts};
use super::transport::{Ask, Transport, shown};
use super::{BlobStream, Credentials, RegistryError, token};

/// The largest manifest or index that is accepted, as in the distribution project's own registry.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Every form of a manifest that the image side can read.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*;q=0.5";

/// How to talk to registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The folder of `<host>/hosts.toml`; `None` for no such rules.
    pub certs_directory: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that are asked by plain HTTP; those on this machine are anyway.
    pub plain_http: Vec<String>,
    /// How long nothing may come from a registry before it is given up.
    pub no_progress: Duration,
    /// How often a request that failed for a passing reason is made in all.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub pause: Duration,
    /// The longest pause, also where the registry asks for a longer one.
    pub pause_max: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            certs_directory: None,
            plain_http: Vec::new(),
            no_progress: Duration::from_secs(60),
            attempts: 5,
            pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// The client; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    config: Arc<RegistryConfig>,
}

/// A manifest or index, with its digest verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of `bytes`.
    pub digest: Digest,
    /// The `Content-Type` without parameters; may be empty or wrong.
    pub media_type: String,
    /// As the registry sent them.
    pub bytes: Vec<u8>,
}

/// Pulls from one repository; cheap to clone. Connections and tokens live as long as its clones.
#[derive(Debug, Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<RegistryConfig>,
    registry: String,
    repository: String,
    endpoints: Vec<Endpoint>,
}

/// One host, with what it takes to be let in.
pub(super) struct Endpoint {
    pub(super) transport: Transport,
    proof: Option<Proof>,
    /// The last `Authorization` that answered a challenge.
    authorization: Mutex<Option<String>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("host", self.transport.host())
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A client with these settings. Nothing is read or connected yet.
    #[must_use]
    pub fn new(config: RegistryConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// Begins to pull from the repository of `reference`; its `hosts.toml` is read now.
    ///
    /// # Errors
    /// `Read`, `Hosts` or `BadUrl` if that file is broken.
    pub fn session(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Session, RegistryError> {
        let registry = reference.registry();
        let config = &self.config;
        let directory = config.certs_directory.as_deref();
        let endpoint = |host: Host| Endpoint {
            proof: credentials.and_then(|given| given.proof(&host.authority, registry)),
            transport: Transport::new(host, config.no_progress),
            authorization: Mutex::new(None),
        };
        let endpoints = hosts(directory, registry, &config.plain_http)?;
        Ok(Session {
            shared: Arc::new(Shared {
                config: Arc::clone(config),
                registry: registry.to_owned(),
                repository: reference.repository().to_owned(),
                endpoints: endpoints.into_iter().map(endpoint).collect(),
            }),
        })
    }
}

impl Session {
    /// The manifest or index that a tag names now.
    ///
    /// # Errors
    /// By what the last host that was asked said; `WrongDigest` if it announced another digest than it sent.
    pub async fn manifest_by_tag(&self, tag: &str) -> Result<Manifest, RegistryError> {
        self.manifest(tag, None).await
    }

    /// The manifest or index with a digest.
    ///
    /// # Errors
    /// By what the last host that was asked said; `WrongDigest` if it sent something else.
    pub async fn manifest_by_digest(&self, digest: &Digest) -> Result<Manifest, RegistryError> {
        self.manifest(digest.as_ref(), Some(digest)).await
    }

    /// Begins to download a blob; `size` in bytes where it is known.
    #[must_use]
    pub fn blob(&self, digest: &Digest, size: Option<u64>) -> BlobStream {
        BlobStream::new(self.clone(), digest.clone(), size)
    }

    async fn manifest(
        &self,
        name: &str,
        expected: Option<&Digest>,
    ) -> Result<Manifest, RegistryError> {
        let capability = if expected.is_some() {
            "pull"
        } else {
            "resolve"
        };
        let path = format!("manifests/{name}");
        let expected = expected.map(ToString::to_string);
        self.on_each_host(capability, |endpoint| {
            self.manifest_once(endpoint, &path, expected.as_deref())
                .boxed()
        })
        .await
    }

    /// Asks the hosts with a capability one after another, until one answers.
    pub(super) async fn on_each_host<'a, T>(
        &'a self,
        capability: &'static str,
        ask: impl Fn(&'a Endpoint) -> BoxFuture<'a, Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let mut last = None;
        let mut endpoints = self.endpoints(capability).peekable();
        while let Some(endpoint) = endpoints.next() {
            // A mirror gets one chance: the next host is a better use of the time.
            let attempts = match endpoints.peek() {
                Some(_) => 1,
                None => self.attempts(),
            };
            match self.repeat(attempts, || ask(endpoint)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.no_host(capability)))
    }

    /// Asks again, after a pause, as long as that may help.
    async fn repeat<'a, T>(
        &self,
        attempts: u32,
        ask: impl Fn() -> BoxFuture<'a, Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let mut failures = 0;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            if !error.is_passing() || failures >= attempts {
                return Err(error);
            }
            tokio::time::sleep(self.pause(&error, failures)).await;
        }
    }

    pub(super) async fn manifest_once(
        &self,
        endpoint: &Endpoint,
        path: &str,
        expected: Option<&str>,
    ) -> Result<Manifest, RegistryError> {
        let ask = Ask::get(self.uri(endpoint, path)?, MANIFEST_TYPES);
        let (uri, response) = self.get(endpoint, ask).await?;
        let header = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let announced = header("docker-content-digest");
        let media_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_owned();
        let bytes = endpoint
            .transport
            .whole(&uri, response.into_body(), MANIFEST_BYTES_MAX)
            .await?;
        let found = sha256(&bytes);
        let announced = announced.filter(|announced| announced.starts_with("sha256:"));
        if let Some(expected) = expected.or(announced.as_deref())
            && expected != found
        {
            return Err(RegistryError::WrongDigest {
                url: shown(&uri),
                expected: expected.to_owned(),
                found,
            });
        }
        let digest = found
            .parse()
            .map_err(|_impossible| RegistryError::BadUrl { url: found })?;
        Ok(Manifest {
            digest,
            media_type,
            bytes,
        })
    }

    /// The hosts that have a capability, in their order.
    pub(super) fn endpoints(&self, capability: &'static str) -> impl Iterator<Item = &Endpoint> {
        self.shared.endpoints.iter().filter(move |endpoint| {
            let host = endpoint.transport.host();
            match capability {
                "resolve" => host.resolves,
                _ => host.pulls,
            }
        })
    }

    pub(super) fn no_host(&self, capability: &'static str) -> RegistryError {
        RegistryError::NoHost {
            registry: self.shared.registry.clone(),
            capability,
        }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.shared.config.attempts
    }

    /// How long to wait after so many failures: what the registry asks for, or twice as long each time.
    pub(super) fn pause(&self, error: &RegistryError, failures: u32) -> Duration {
        let config = &self.shared.config;
        let doubled = config
            .pause
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        let asked = error.retry_after_seconds().map(Duration::from_secs);
        asked.unwrap_or(doubled).min(config.pause_max)
    }

    /// Asks one host for one thing, answering its challenge if it has one. The answer is a success.
    pub(super) async fn get(
        &self,
        endpoint: &Endpoint,
        mut ask: Ask,
    ) -> Result<(Uri, Response<Incoming>), RegistryError> {
        ask.authorization = endpoint.authorization();
        let origin = ask.uri.clone();
        let (mut uri, mut response) = endpoint.transport.ask(ask.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && uri.authority() == origin.authority() {
            let answer = token::authorization(
                &endpoint.transport,
                &uri,
                response.headers(),
                (endpoint.proof.as_ref(), &self.shared.repository),
            )
            .await?;
            endpoint.remember(&answer);
            ask.authorization = Some(answer);
            (uri, response) = endpoint.transport.ask(ask).await?;
        }
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok((uri, response)),
            _ => Err(endpoint.transport.refusal(&uri, response).await),
        }
    }

    /// The URL of something below the repository; `path` may have a query.
    pub(super) fn uri(&self, endpoint: &Endpoint, path: &str) -> Result<Uri, RegistryError> {
        let host = endpoint.transport.host();
        let mut url = format!(
            "{}://{}{}/{}/{path}",
            host.scheme, host.authority, host.prefix, self.shared.repository
        );
        if host.is_mirror {
            let joint = if path.contains('?') { '&' } else { '?' };
            url = format!("{url}{joint}ns={}", self.shared.registry);
        }
        url.parse().map_err(|_broken| RegistryError::BadUrl { url })
    }
}

impl Endpoint {
    fn authorization(&self) -> Option<String> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, authorization: &str) {
        let mut last = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(authorization.to_owned());
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}
