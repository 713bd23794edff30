//! Makes sure that a container's image is here, by its imagePullPolicy: kubelet, `image_manager.go`.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tonic::Code;

use super::backoff::BackOffs;
use super::node::Node;
use super::pull_secret;
use super::trouble::{Retry, Trouble};
use crate::runtime::wire::{AuthConfig, Image, PodSandboxConfig};
use crate::runtime::{ImageUser, RuntimeError};
use crate::status::{Kind, Subject};

/// An image that is here.
#[derive(Debug, Clone)]
pub(super) struct Present {
    /// Its id.
    pub(super) id: String,
    /// As whom it wants to run.
    pub(super) user: ImageUser,
}

/// What a pull needs to know.
pub(super) struct Wanted<'a> {
    /// Of which pod.
    pub(super) pod: &'a Pod,
    /// For which container.
    pub(super) container: &'a Container,
    /// What the image is called.
    pub(super) name: &'a str,
    /// `Always`, `IfNotPresent` or `Never`.
    pub(super) policy: &'a str,
    /// For runtimes that pull by sandbox.
    pub(super) sandbox: &'a PodSandboxConfig,
    /// Which images failed before, and what was said then.
    pub(super) failures: &'a BackOffs,
    /// What was said when it failed last.
    pub(super) last_failure: Option<&'a str>,
}

/// Gives the image, pulled if it has to be.
pub(super) async fn ensure(node: &Node, wanted: &Wanted<'_>) -> Result<Present, Trouble> {
    let name = wanted.name;
    let tell = |kind, reason: &str, message: &str| {
        let subject = Subject::container(wanted.pod, &wanted.container.name);
        node.events.record(&subject, kind, reason, message);
    };
    let here = match node.runtime.image(name).await {
        Ok(here) => here,
        Err(error) if error.code == Code::InvalidArgument => {
            let message = format!(
                "Failed to apply default image tag {name:?}: {}",
                error.message
            );
            tell(Kind::Warning, "InspectFailed", &message);
            return Err(Trouble::new("InvalidImageName", message, Retry::Soon));
        }
        Err(error) => return Err(Trouble::runtime("ImageInspectError", &error)),
    };
    match (here, wanted.policy) {
        (Some(image), "IfNotPresent" | "Never") => {
            let message = format!("Container image {name:?} already present on machine");
            tell(Kind::Normal, "Pulled", &message);
            Ok(present(image))
        }
        (None, "Never") => {
            let message =
                format!("Container image {name:?} is not present with pull policy of Never");
            tell(Kind::Warning, "ErrImageNeverPull", &message);
            Err(Trouble::new("ErrImageNeverPull", message, Retry::Soon))
        }
        _ => pull(node, wanted, name).await,
    }
}

async fn pull(node: &Node, wanted: &Wanted<'_>, name: &str) -> Result<Present, Trouble> {
    let tell = |kind, reason: &str, message: &str| {
        let subject = Subject::container(wanted.pod, &wanted.container.name);
        node.events.record(&subject, kind, reason, message);
    };
    let now = Timestamp::now();
    if let Some(until) = wanted.failures.until_since_failure(name, now) {
        let message = format!("Back-off pulling image {name:?}");
        tell(Kind::Normal, "BackOff", &message);
        let message = match wanted.last_failure {
            Some(last) => format!("{message}: ErrImagePull: {last}"),
            None => message,
        };
        return Err(Trouble::new("ImagePullBackOff", message, Retry::At(until)));
    }
    tell(Kind::Normal, "Pulling", &format!("Pulling image {name:?}"));
    let start = Instant::now();
    match try_all(node, wanted, name).await {
        Ok(image) => {
            let took = start.elapsed();
            let message = format!(
                "Successfully pulled image {name:?} in {took:.3?} ({took:.3?} including waiting). Image size: {} bytes.",
                image.size
            );
            tell(Kind::Normal, "Pulled", &message);
            Ok(present(image))
        }
        Err(error) => {
            let message = format!("Failed to pull image {name:?}: {}", error.message);
            tell(Kind::Warning, "Failed", &message);
            tell(Kind::Warning, "Failed", "Error: ErrImagePull");
            Err(Trouble::runtime("ErrImagePull", &error))
        }
    }
}

/// With each of the credentials that fit, or with none.
async fn try_all(node: &Node, wanted: &Wanted<'_>, name: &str) -> Result<Image, RuntimeError> {
    let mut auths: Vec<Option<AuthConfig>> = credentials(node, wanted.pod, name)
        .into_iter()
        .map(Some)
        .collect();
    if auths.is_empty() {
        auths.push(None);
    }
    let mut last = None;
    for auth in auths {
        let pulled = node.runtime.pull(name, auth, wanted.sandbox.clone()).await;
        let found = match pulled {
            // By its name: what the pull answers need not be what the image is known by.
            Ok(reference) => match node.runtime.image(name).await? {
                Some(image) => Some(image),
                None => node.runtime.image(&reference).await?,
            },
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        if let Some(image) = found {
            return Ok(image);
        }
    }
    Err(last.unwrap_or_else(|| RuntimeError {
        call: "PullImage",
        code: Code::NotFound,
        message: format!("image {name:?} is not here after its pull"),
    }))
}

/// Of the pod's imagePullSecrets, else of its service account's; a Secret that is not there gives none, and that is told.
fn credentials(node: &Node, pod: &Pod, image: &str) -> Vec<AuthConfig> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let own = spec.image_pull_secrets.unwrap_or_default();
    let references = match own.is_empty() {
        false => own,
        true => {
            let account = spec.service_account_name.as_deref().unwrap_or("default");
            let account = node
                .store
                .service_account(namespace, account)
                .ok()
                .flatten();
            account
                .and_then(|account| account.image_pull_secrets)
                .unwrap_or_default()
        }
    };
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for reference in &references {
        match node.store.secret(namespace, &reference.name) {
            Some(secret) => found.extend(pull_secret::credentials(&secret, image)),
            None => missing.push(&*reference.name),
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        let subject = Subject::pod(pod);
        node.events.record(
            &subject,
            Kind::Warning,
            "FailedToRetrieveImagePullSecret",
            &message,
        );
    }
    found
}

fn present(image: Image) -> Present {
    Present {
        id: image.id,
        user: ImageUser {
            uid: image.uid.map(|uid| uid.value),
            name: image.username,
        },
    }
}
