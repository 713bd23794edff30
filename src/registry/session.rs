//! Pulling from one repository: which host, with which proof, how often.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::CONTENT_TYPE;
use hyper::{StatusCode, Uri};
use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::hosts::{Host, rules};
use super::identity::{Identity, Inquiry};
use super::retry::{back_off, random};
use super::token::Applicant;
use super::transport::{Answer, Ask, Transport, shown};
use super::{BlobStream, Credentials, ErrorKind, RegistryConfig, RegistryError};

/// As many warnings about rules are remembered.
const WARNINGS_MAX: usize = 1000;

/// The largest manifest or index that is accepted, as in the distribution project's own registry.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Every form of a manifest that the image side can read.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*;q=0.5";

/// The client; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) config: Arc<RegistryConfig>,
    /// Warnings that were logged.
    said: Arc<Mutex<HashSet<String>>>,
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
    /// The file or folder of the rules, and what has no meaning in it.
    rule: Option<PathBuf>,
    ignored: Vec<String>,
    /// Those of the request.
    credentials: Option<Credentials>,
    endpoints: Vec<Endpoint>,
    /// A host came to be distrusted.
    has_turned_away: AtomicBool,
}

/// One host, with what it takes to be let in.
pub(super) struct Endpoint {
    pub(super) transport: Transport,
    /// Who we are to it, once it has asked.
    identity: OnceCell<Option<Identity>>,
    /// The last `Authorization` that answered a challenge.
    authorization: Mutex<Option<String>>,
    /// It has sent other bytes than those of a digest.
    is_distrusted: AtomicBool,
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
            said: Arc::default(),
        }
    }

    /// Begins to pull from the repository of `reference`; its `hosts.toml` is read now.
    ///
    /// # Errors
    /// `Read`, `Hosts` or `Rule` if that file is broken.
    pub fn session(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Session, RegistryError> {
        let config = &self.config;
        let rules = rules(config, reference.registry())?;
        for key in &rules.unknown {
            let file = rules.source.as_deref().unwrap_or(Path::new("")).display();
            self.warn_once(format!("{file}: unknown key {key} is ignored"));
        }
        let endpoint = |host: Host| Endpoint {
            transport: Transport::new(host, &config.proxies, config.no_progress),
            identity: OnceCell::new(),
            authorization: Mutex::new(None),
            is_distrusted: AtomicBool::new(false),
        };
        Ok(Session {
            shared: Arc::new(Shared {
                config: Arc::clone(config),
                registry: reference.registry().to_owned(),
                repository: reference.repository().to_owned(),
                rule: rules.source,
                ignored: rules.unknown,
                credentials: credentials.cloned(),
                endpoints: rules.hosts.into_iter().map(endpoint).collect(),
                has_turned_away: AtomicBool::new(false),
            }),
        })
    }

    /// Files are read at each pull; what is said about them once is enough.
    fn warn_once(&self, warning: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < WARNINGS_MAX && !said.contains(&warning) {
            tracing::warn!("{warning}");
            said.insert(warning);
        }
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

    /// A small blob, not larger than `limit` bytes, with its digest verified.
    ///
    /// # Errors
    /// By what the hosts said; `TooLarge`, or `WrongDigest` if all of them sent something else.
    pub async fn document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        self.on_each_host("pull", |endpoint| {
            self.document_once(endpoint, digest, limit).boxed()
        })
        .await
    }

    async fn document_once(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let uri = self.uri(endpoint, &format!("blobs/{digest}"))?;
        let answer = self.get(endpoint, Ask::get(uri, "*/*")).await?;
        let url = shown(&answer.body.uri);
        let bytes = answer.body.whole(limit).await?;
        let found = sha256(&bytes);
        match found == digest.to_string() {
            true => Ok(bytes),
            false => Err(RegistryError::WrongDigest {
                url,
                expected: digest.to_string(),
                found,
            }),
        }
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
        let mut failures = Vec::new();
        let mut endpoints = self.endpoints(capability).peekable();
        while let Some(endpoint) = endpoints.next() {
            // A mirror gets one chance: the next host is a better use of the time.
            let attempts = match endpoints.peek() {
                Some(_) => 1,
                None => self.attempts(),
            };
            match self.repeat(attempts, || ask(endpoint)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failures.push(error),
            }
        }
        let last = failures.pop().unwrap_or_else(|| self.no_host(capability));
        Err(RegistryError::of_hosts(failures, last))
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
        let answer = self.get(endpoint, ask).await?;
        let announced = answer.header("docker-content-digest").map(str::to_owned);
        let media_type = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = media_type.to_owned();
        let uri = answer.body.uri.clone();
        let bytes = answer.body.whole(MANIFEST_BYTES_MAX).await?;
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

    /// The hosts that have a capability, in their order, but those that sent wrong bytes.
    fn endpoints(&self, capability: &'static str) -> impl Iterator<Item = &Endpoint> {
        let endpoints = self.shared.endpoints.iter();
        endpoints.filter(move |endpoint| endpoint.can(capability))
    }

    /// The first host that may serve blobs, from a place in the list on.
    pub(super) fn puller(&self, from: usize) -> Option<(usize, &Endpoint)> {
        let mut endpoints = self.shared.endpoints.iter().enumerate().skip(from);
        endpoints.find(|(_, endpoint)| endpoint.can("pull"))
    }

    /// Remembers that one of these hosts sent wrong bytes; which one is not known if there are several. The last host
    /// of the list is the registry itself, after which there is nobody to ask.
    pub(super) fn distrust(&self, places: &[usize]) {
        for place in places {
            let has_next = self.puller(place + 1).is_some();
            if let Some(endpoint) = self.shared.endpoints.get(*place).filter(|_| has_next) {
                let authority = &endpoint.transport.host().authority;
                tracing::warn!(
                    host = authority,
                    "it sent other bytes than those of a digest: asking the next host"
                );
                endpoint.is_distrusted.store(true, Ordering::Relaxed);
                self.shared.has_turned_away.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether a host has been found to send wrong bytes since this was last asked, so that it is worth to fetch again
    /// what failed by them: another host will be asked.
    #[must_use]
    pub fn has_turned_away(&self) -> bool {
        self.shared.has_turned_away.swap(false, Ordering::Relaxed)
    }

    /// All hosts, in their order.
    pub(super) fn all(&self) -> &[Endpoint] {
        &self.shared.endpoints
    }

    /// Which file or folder says so, and what of it is ignored.
    pub(super) fn origin(&self) -> (Option<PathBuf>, Vec<String>) {
        (self.shared.rule.clone(), self.shared.ignored.clone())
    }

    /// The registry's name, as references have it.
    pub(super) fn registry(&self) -> &str {
        &self.shared.registry
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
        let pause = error
            .retry_after()
            .unwrap_or_else(|| back_off(config.pause, failures, random()));
        pause.min(config.pause_max)
    }

    /// Asks one host for one thing, answering its challenge if it has one. The answer is a success.
    pub(super) async fn get(&self, endpoint: &Endpoint, ask: Ask) -> Result<Answer, RegistryError> {
        let error = match self.ask(endpoint, ask).await {
            Ok(answer) if matches!(answer.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                return Ok(answer);
            }
            Ok(answer) => answer.refusal().await,
            Err(error) => error,
        };
        Err(match endpoint.identity.get() {
            // It has asked who we are, and was told.
            Some(identity) if error.kind() == ErrorKind::Unauthorized => RegistryError::Denied {
                identity: identity.as_ref().map(|identity| identity.source.clone()),
                source: Box::new(error),
            },
            _ => error,
        })
    }

    /// As [`Self::get`], whatever the answer is.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        mut ask: Ask,
    ) -> Result<Answer, RegistryError> {
        ask.authorization = endpoint.authorization();
        ask.headers = endpoint.transport.host().headers.clone();
        let origin = ask.uri.clone();
        let answer = endpoint.transport.ask(ask.clone()).await?;
        let is_own = answer.body.uri.authority() == origin.authority();
        if answer.status != StatusCode::UNAUTHORIZED || !is_own {
            return Ok(answer);
        }
        let identity = endpoint
            .identity
            .get_or_try_init(|| self.inquiry().identity(endpoint.transport.host()))
            .await?;
        let applicant = Applicant {
            transport: &endpoint.transport,
            proof: identity.as_ref().map(|identity| &identity.proof),
            repository: &self.shared.repository,
        };
        let authorization = applicant.authorization(&answer).await?;
        endpoint.remember(&authorization);
        ask.authorization = Some(authorization);
        endpoint.transport.ask(ask).await
    }

    pub(super) fn inquiry(&self) -> Inquiry<'_> {
        Inquiry {
            config: &self.shared.config,
            registry: &self.shared.registry,
            repository: &self.shared.repository,
            credentials: self.shared.credentials.as_ref(),
        }
    }

    /// The URL of something below the repository; `path` may have a query.
    pub(super) fn uri(&self, endpoint: &Endpoint, path: &str) -> Result<Uri, RegistryError> {
        let host = endpoint.transport.host();
        let mut url = format!("{}/{}/{path}", host.base(), self.shared.repository);
        if host.is_mirror {
            let joint = if path.contains('?') { '&' } else { '?' };
            url = format!("{url}{joint}ns={}", self.shared.registry);
        }
        url.parse().map_err(|_broken| RegistryError::BadUrl { url })
    }
}

impl Endpoint {
    /// Whether it may be asked for this.
    pub(super) fn can(&self, capability: &'static str) -> bool {
        let host = self.transport.host();
        let has_it = match capability {
            "resolve" => host.resolves,
            _ => host.pulls,
        };
        has_it && !self.is_distrusted.load(Ordering::Relaxed)
    }

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
