//! ExplainImage: where an image would come from, and what its signatures would have to prove.

use std::path::{Path, PathBuf};

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::status;
use crate::cri::wire::carpel as wire;
use crate::image::{AppliedPolicy, Depth, ExplainedHost, Images, Rule, Trust};

pub(super) async fn explain_image(
    images: &Images,
    request: wire::ExplainImageRequest,
) -> Result<wire::ExplainImageResponse, Status> {
    let reference = from_cri::required_text(request.image, "image")?;
    let depth = match request.check {
        true => Depth::Answers,
        false => Depth::Rules,
    };
    let explanation = images.explain(&reference, depth).await;
    let explanation = explanation.map_err(|error| status::of_image(&error))?;
    let policy = images.policy_of(&reference);
    let policy = policy.map_err(|error| status::of_image(&error))?;
    Ok(wire::ExplainImageResponse {
        reference: explanation.reference,
        rule: explanation.rule.as_deref().map(text).unwrap_or_default(),
        ignored: explanation.ignored,
        hosts: explanation.hosts.into_iter().map(host).collect(),
        signatures: policy.map(signatures),
    })
}

fn signatures(applied: AppliedPolicy) -> wire::SignaturePolicy {
    let policy = wire::SignaturePolicy {
        file: text(&applied.file),
        scope: applied.scope,
        ..Default::default()
    };
    match applied.rule {
        Rule::Accept => wire::SignaturePolicy {
            policy: "accept".to_owned(),
            ..policy
        },
        Rule::Reject => wire::SignaturePolicy {
            policy: "reject".to_owned(),
            ..policy
        },
        Rule::Cosign {
            keys,
            identity,
            signed_as,
        } => wire::SignaturePolicy {
            policy: "cosign".to_owned(),
            identity: identity.name().to_owned(),
            keys: keys.into_iter().map(|key| key.source).collect(),
            signed_as: signed_as.unwrap_or_default(),
            ..policy
        },
    }
}

fn host(host: ExplainedHost) -> wire::ExplainedHost {
    let (trust, authorities) = match &host.trust {
        Trust::Plain => (wire::Trust::Plain, Vec::new()),
        Trust::Unchecked => (wire::Trust::Unchecked, Vec::new()),
        Trust::Authorities(files) => (wire::Trust::Authorities, texts(files)),
    };
    wire::ExplainedHost {
        url: host.url,
        mirror: host.is_mirror,
        capabilities: host.capabilities.iter().map(ToString::to_string).collect(),
        trust: trust.into(),
        authorities,
        client_certificates: texts(&host.client_certificates),
        headers: host.headers,
        proxy: host.proxy.unwrap_or_default(),
        credentials: host
            .credentials
            .map(|source| source.to_string())
            .unwrap_or_default(),
        takes_credentials: host.takes_credentials,
        manifest_url: host.manifest_url.unwrap_or_default(),
        problem: host.problem.unwrap_or_default(),
        answers: host.answers.map(|answers| wire::HostAnswers {
            api: answers.api,
            manifest: answers.manifest,
            has_manifest: answers.has_manifest,
        }),
    }
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| text(path)).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
