//! What a pull would do, told before it does: for `carpel image explain`. The same code decides as for a pull.

use std::path::PathBuf;

use hyper::StatusCode;
use oci_spec::distribution::Reference;

use super::error::chain;
use super::hosts::{Host, Verification};
use super::session::{Endpoint, MANIFEST_TYPES};
use super::transport::{Ask, Verb};
use super::{Credentials, Registry, RegistryError, Session, Source, proxy, tls};

/// How much is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What files and environment say.
    Rules,
    /// Also what the hosts say.
    Answers,
}

/// Where an image would come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The whole reference.
    pub reference: String,
    /// The file or folder of the rules, if there is one.
    pub rule: Option<PathBuf>,
    /// What is written there and has no meaning.
    pub ignored: Vec<String>,
    /// The hosts in the order in which they would be asked.
    pub hosts: Vec<ExplainedHost>,
}

/// How the certificate of a host is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// There is none: plain HTTP.
    Plain,
    /// Not at all.
    Unchecked,
    /// By the system's authorities and those of these files.
    Authorities(Vec<PathBuf>),
}

/// One host that would be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedHost {
    /// The URL of its API.
    pub url: String,
    /// Whether it is another host than the registry itself.
    pub is_mirror: bool,
    /// `pull`, `resolve`.
    pub capabilities: Vec<&'static str>,
    /// How its certificate is checked.
    pub trust: Trust,
    /// Files of certificates that we would show.
    pub client_certificates: Vec<PathBuf>,
    /// Names of the headers that each request would have.
    pub headers: Vec<String>,
    /// The proxy, without its password.
    pub proxy: Option<String>,
    /// Where credentials would come from, if the request has none.
    pub credentials: Option<Source>,
    /// Whether credentials of a request that name no server would be sent.
    pub takes_credentials: bool,
    /// What would be asked for first; `None` if the host has not the capability.
    pub manifest_url: Option<String>,
    /// Why it cannot be asked at all.
    pub problem: Option<String>,
    /// What it said, if it was asked.
    pub answers: Option<Answers>,
}

/// What a host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// To the question whether it is a registry.
    pub api: String,
    /// To the question for the manifest.
    pub manifest: String,
    /// Whether the manifest is there.
    pub has_manifest: bool,
}

impl Registry {
    /// Says where `reference` would be pulled from.
    ///
    /// # Errors
    /// As [`Registry::session`], and `AuthFile` or `Read` for a broken auth file. What goes wrong with one host is
    /// told with the host.
    pub async fn explain(
        &self,
        reference: &Reference,
        depth: Depth,
    ) -> Result<Explanation, RegistryError> {
        let session = self.session(reference, None)?;
        let (capability, name) = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ("pull", digest),
            (None, Some(tag)) => ("resolve", tag),
            (None, None) => ("resolve", "latest"),
        };
        let mut hosts = Vec::new();
        for endpoint in session.all() {
            let mut host = explained(&session, endpoint)?;
            let path = format!("manifests/{name}");
            if endpoint.can(capability) {
                host.manifest_url = Some(session.uri(endpoint, &path)?.to_string());
            }
            if depth == Depth::Answers && host.problem.is_none() {
                host.answers = Some(answers(&session, endpoint, &path).await);
            }
            hosts.push(host);
        }
        let (rule, ignored) = session.origin();
        Ok(Explanation {
            reference: reference.whole(),
            rule,
            ignored,
            hosts,
        })
    }
}

fn explained(session: &Session, endpoint: &Endpoint) -> Result<ExplainedHost, RegistryError> {
    let host = endpoint.transport.host();
    let capabilities = ["pull", "resolve"];
    let url = session.uri(endpoint, "")?;
    let problem = match host.scheme {
        "https" => tls::configuration(host).err(),
        _ => None,
    };
    let anyone = Credentials::default();
    Ok(ExplainedHost {
        url: host.base(),
        is_mirror: host.is_mirror,
        capabilities: capabilities
            .into_iter()
            .filter(|capability| endpoint.can(capability))
            .collect(),
        trust: trust(host),
        client_certificates: host
            .client_certificates
            .iter()
            .map(|client| client.certificate.clone())
            .collect(),
        headers: host.headers.keys().map(ToString::to_string).collect(),
        proxy: endpoint
            .transport
            .proxies()
            .intercept(&url)
            .as_ref()
            .map(proxy::shown),
        credentials: session.inquiry().first_source(host)?,
        takes_credentials: anyone.are_for(host, session.registry()),
        manifest_url: None,
        problem: problem.map(|error| chain(&error)),
        answers: None,
    })
}

fn trust(host: &Host) -> Trust {
    match (host.scheme, host.verification) {
        ("https", Verification::Full) => Trust::Authorities(host.authorities.clone()),
        ("https", Verification::Skipped) => Trust::Unchecked,
        _ => Trust::Plain,
    }
}

async fn answers(session: &Session, endpoint: &Endpoint, path: &str) -> Answers {
    let api = async {
        let url = format!("{}/", endpoint.transport.host().base());
        let uri = url
            .parse()
            .map_err(|_broken| RegistryError::BadUrl { url })?;
        let answer = session.ask(endpoint, Ask::get(uri, "*/*")).await?;
        Ok::<_, RegistryError>(answer.status.to_string())
    };
    let manifest = async {
        let uri = session.uri(endpoint, path)?;
        let ask = Ask {
            verb: Verb::Head,
            ..Ask::get(uri, MANIFEST_TYPES)
        };
        let answer = session.ask(endpoint, ask).await?;
        let digest = answer.header("docker-content-digest");
        let said = match digest {
            Some(digest) if answer.status == StatusCode::OK => {
                format!("{} {digest}", answer.status)
            }
            _ => answer.status.to_string(),
        };
        Ok::<_, RegistryError>((said, answer.status == StatusCode::OK))
    };
    let api = api.await.unwrap_or_else(|error| chain(&error));
    let manifest = manifest.await;
    let (manifest, has_manifest) = manifest.unwrap_or_else(|error| (chain(&error), false));
    Answers {
        api,
        manifest,
        has_manifest,
    }
}
