//! Asking the daemon where an image would come from.

use serde::Serialize;

use super::{Client, ClientError, call};
use crate::cri::wire::carpel as wire;
use crate::cri::wire::carpel::admin_client::AdminClient;

/// Where an image would come from. Its JSON is what `carpel image explain --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The whole reference.
    pub reference: String,
    /// The file or folder of the rules; empty if there is none.
    pub rule: String,
    /// What is written there and has no meaning.
    pub ignored: Vec<String>,
    /// The hosts in the order in which they would be asked.
    pub hosts: Vec<ExplainedSource>,
    /// What the signature policy asks; none if there is no policy, which accepts everything.
    pub signatures: Option<ExplainedPolicy>,
}

/// What the signature policy asks of images of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedPolicy {
    /// The policy file.
    pub file: String,
    /// The scope of it that holds.
    pub scope: String,
    /// `accept`, `reject` or `cosign`.
    pub policy: String,
    /// With `cosign`: the rule for the name in the signature: `repository`, `exact` or `any`.
    pub identity: String,
    /// With `cosign`: the files of the public keys, one of which must have signed; `inline` for one in the policy itself.
    pub keys: Vec<String>,
    /// With `cosign`: the beginning of the names that were signed, if that is another one than the scope.
    pub signed_as: String,
}

/// How the certificate of a host is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostTrust {
    /// There is none: plain HTTP.
    Plain,
    /// Not at all.
    Unchecked,
    /// By the system's authorities and those of files.
    Authorities,
}

/// One host that would be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedSource {
    /// The URL of its API.
    pub url: String,
    /// Whether it is another host than the registry itself.
    pub mirror: bool,
    /// `pull`, `resolve`.
    pub capabilities: Vec<String>,
    /// How its certificate is checked.
    pub trust: HostTrust,
    /// Files of authorities besides the system's.
    pub authorities: Vec<String>,
    /// Files of certificates that would be shown to it.
    pub client_certificates: Vec<String>,
    /// Names of the headers that each request would have.
    pub headers: Vec<String>,
    /// The proxy; empty for none.
    pub proxy: String,
    /// Where credentials would come from if the request has none; empty for nowhere.
    pub credentials: String,
    /// Whether credentials of a request that name no server would be sent.
    pub takes_credentials: bool,
    /// What would be asked for first; empty if the host has not the capability.
    pub manifest_url: String,
    /// Why it cannot be asked; empty if it can.
    pub problem: String,
    /// What it said, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<SourceAnswers>,
}

/// What a host said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceAnswers {
    /// To the question whether it is a registry.
    pub api: String,
    /// To the question for the manifest.
    pub manifest: String,
    /// Whether the manifest is there.
    pub has_manifest: bool,
}

impl Client {
    /// Where the daemon would pull an image from.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn explain_image(&self, request: ExplainRequest) -> Result<Explained, ClientError> {
        let request = wire::ExplainImageRequest {
            image: request.reference,
            check: request.depth == ExplainDepth::Answers,
        };
        let answer = AdminClient::new(self.channel.clone())
            .explain_image(request)
            .await;
        let answer = answer.map_err(call("ExplainImage"))?.into_inner();
        Ok(Explained {
            reference: answer.reference,
            rule: answer.rule,
            ignored: answer.ignored,
            hosts: answer.hosts.into_iter().map(source).collect(),
            signatures: answer.signatures.map(|policy| ExplainedPolicy {
                file: policy.file,
                scope: policy.scope,
                policy: policy.policy,
                identity: policy.identity,
                keys: policy.keys,
                signed_as: policy.signed_as,
            }),
        })
    }
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainRequest {
    /// The image.
    pub reference: String,
    /// How far.
    pub depth: ExplainDepth,
}

/// How far it is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainDepth {
    /// What files and environment of the daemon say.
    Rules,
    /// Also what the hosts say.
    Answers,
}

fn source(host: wire::ExplainedHost) -> ExplainedSource {
    let trust = match host.trust() {
        wire::Trust::Plain => HostTrust::Plain,
        wire::Trust::Unchecked => HostTrust::Unchecked,
        wire::Trust::Authorities | wire::Trust::Unspecified => HostTrust::Authorities,
    };
    ExplainedSource {
        url: host.url,
        mirror: host.mirror,
        capabilities: host.capabilities,
        trust,
        authorities: host.authorities,
        client_certificates: host.client_certificates,
        headers: host.headers,
        proxy: host.proxy,
        credentials: host.credentials,
        takes_credentials: host.takes_credentials,
        manifest_url: host.manifest_url,
        problem: host.problem,
        answers: host.answers.map(|answers| SourceAnswers {
            api: answers.api,
            manifest: answers.manifest,
            has_manifest: answers.has_manifest,
        }),
    }
}
