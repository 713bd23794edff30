//! The files of a projected volume: those of its sources, one over the other, and tokens.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, Pod, ProjectedVolumeSource, ServiceAccountTokenProjection,
};
use k8s_openapi::jiff::Timestamp;

use super::Reason;
use super::atomic::{Content, Payload};
use super::payload::{Need, Selection, Sources, clean, mode_or};
use super::tokens::Tokens;
use crate::store::DEFAULT_ACCOUNT;
use crate::token::{BoundPod, Issuer, Request};

/// Of files whose volume says nothing else.
const MODE: u32 = 0o644;
/// Of tokens that have an owner or a group.
const TOKEN_MODE: u32 = 0o600;
/// How long a token is valid whose source says nothing else.
const TOKEN_SECONDS: i64 = 3600;

/// Where tokens come from, and when it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenSource<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) tokens: &'a Tokens,
    pub(super) now: Timestamp,
}

/// The files of a projected volume, and when a token in it is due.
pub(super) fn payload(
    sources: Sources<'_>,
    tokens: TokenSource<'_>,
    projected: &ProjectedVolumeSource,
) -> Result<(Payload, Option<Timestamp>), Reason> {
    let mode = mode_or(projected.default_mode, MODE);
    let mut payload = Payload::new();
    let mut next = None;
    for source in projected.sources.iter().flatten() {
        if let Some(secret) = &source.secret {
            let selection = Selection {
                items: secret.items.as_deref(),
                mode,
                need: Need::from(secret.optional),
            };
            payload.extend(sources.secret(&secret.name, selection)?);
        }
        if let Some(map) = &source.config_map {
            let selection = Selection {
                items: map.items.as_deref(),
                mode,
                need: Need::from(map.optional),
            };
            payload.extend(sources.config_map(&map.name, selection)?);
        }
        if let Some(downward) = &source.downward_api {
            payload.extend(sources.downward(downward.items.as_deref(), mode)?);
        }
        if let Some(projection) = &source.service_account_token {
            let (content, due) = token(sources, tokens, projection, mode)?;
            payload.insert(clean(&projection.path), content);
            next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
        }
    }
    Ok((payload, next))
}

fn token(
    sources: Sources<'_>,
    tokens: TokenSource<'_>,
    projection: &ServiceAccountTokenProjection,
    mode: u32,
) -> Result<(Content, Timestamp), Reason> {
    let pod = sources.pod;
    let spec = pod.spec.as_ref();
    let account_name = spec.and_then(|spec| spec.service_account_name.as_deref());
    let account_name = account_name.unwrap_or(DEFAULT_ACCOUNT);
    let account = sources
        .store
        .service_account(sources.namespace(), account_name)?
        .ok_or_else(|| Reason::NoServiceAccount(account_name.to_owned()))?;
    let audience = projection.audience.iter();
    let request = Request {
        namespace: sources.namespace().to_owned(),
        account: account_name.to_owned(),
        account_uid: account.metadata.uid.unwrap_or_default(),
        pod: Some(BoundPod {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }),
        audiences: audience.filter(|text| !text.is_empty()).cloned().collect(),
        expiration_seconds: projection.expiration_seconds.unwrap_or(TOKEN_SECONDS),
    };
    let node_name = &sources.facts.node_name;
    let (token, due) = tokens
        .tokens
        .get(tokens.issuer, request, node_name, tokens.now)?;
    let owner = only_user(pod);
    let has_group = spec
        .and_then(|spec| spec.security_context.as_ref())
        .is_some_and(|context| context.fs_group.is_some());
    let content = Content {
        bytes: token.into_bytes(),
        // With a group, walking the volume makes it 0640.
        mode: match owner.is_some() || has_group {
            true => TOKEN_MODE,
            false => mode,
        },
        owner,
    };
    Ok((content, due))
}

/// The user that all containers of a pod run as, if they say so and it is one (kubelet, `FsUserFrom`).
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|it| it.run_as_user);
    let user = |container: &Container| {
        let own = container.security_context.as_ref();
        own.and_then(|context| context.run_as_user).or(of_pod)
    };
    let containers = spec.containers.iter();
    let users: BTreeSet<Option<i64>> = containers
        .chain(spec.init_containers.iter().flatten())
        .map(user)
        .collect();
    match users.iter().next() {
        Some(Some(user)) if users.len() == 1 => u32::try_from(*user).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    fn user(pod: &str, one: &str, other: &str) -> Option<u32> {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  securityContext: {{{pod}}}\n  containers:\n  - {{name: a, image: x, securityContext: {{{one}}}}}\n  - {{name: b, image: x, securityContext: {{{other}}}}}\n"
        );
        let objects = manifest::parse(&text, "x").unwrap_or_else(|error| panic!("{error}"));
        only_user(objects[0].as_pod().unwrap())
    }

    #[test]
    fn a_token_belongs_to_the_one_user_of_all_containers() {
        assert_eq!(user("runAsUser: 1000", "", ""), Some(1000));
        assert_eq!(user("", "runAsUser: 7", "runAsUser: 7"), Some(7));
        assert_eq!(user("runAsUser: 1000", "runAsUser: 7", ""), None);
        assert_eq!(user("", "runAsUser: 7", ""), None);
        assert_eq!(user("", "", ""), None);
    }
}
