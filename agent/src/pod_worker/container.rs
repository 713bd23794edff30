//! Starts one container: its image, its environment, its mounts, the runtime's calls, its postStart hook. kubelet,
//! `startContainer`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, FileKeySelector, Pod};

use super::backoff::BackOffs;
use super::end;
use super::files;
use super::image::{self, Present, Wanted};
use super::node::Node;
use super::observed::Sandbox;
use super::sandbox;
use super::trouble::{CONFIG_ERROR, Retry, Trouble};
use crate::environment;
use crate::probe::{Action, Place, run_hook};
use crate::runtime::wire::{ContainerConfig, ImageSpec, Mount, MountPropagation, PodSandboxConfig};
use crate::runtime::{ContainerInputs, container_config, verify_non_root, without_id};
use crate::status::{Kind, Subject};
use crate::volume::{MountSource, Propagation, RecursiveReadOnly, VolumeMountPlan};

/// A hook has no time limit of its own.
const HOOK_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A container to be started.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Of this pod.
    pub(super) pod: Arc<Pod>,
    /// The manifest's.
    pub(super) container: Container,
    /// In this sandbox.
    pub(super) sandbox: Sandbox,
    /// How often it was restarted.
    pub(super) attempt: u32,
    /// One that was made and never started, to be removed first.
    pub(super) unfinished: Option<String>,
    /// Pulls that failed.
    pub(super) pulls: BackOffs,
    /// What was said when its image's pull failed last.
    pub(super) last_failure: Option<String>,
}

impl Start {
    fn tell(&self, node: &Node, kind: Kind, reason: &str, message: &str) {
        let subject = Subject::container(&self.pod, &self.container.name);
        node.events.record(&subject, kind, reason, message);
    }

    /// Starts it.
    pub(super) async fn run(self, node: Arc<Node>) -> Result<(), Trouble> {
        let name = self.container.name.clone();
        let config = sandbox::config(&node, &self.pod, self.sandbox.attempt)?;
        let image = self.container.image.as_deref().unwrap_or_default();
        let policy = self.container.image_pull_policy.as_deref();
        let policy = policy.unwrap_or("IfNotPresent");
        let image = self.image(&node, &config, (image, policy)).await?;
        if let Some(id) = &self.unfinished {
            end::remove(&node, id).await;
        }
        let made = match self.config(&node, &image, &config).await {
            Ok(made) => made,
            Err(trouble) => {
                let message = format!("Error: {}", trouble.message);
                self.tell(&node, Kind::Warning, "Failed", &message);
                return Err(trouble);
            }
        };
        let id = self.create(&node, made, config).await?;
        self.tell(
            &node,
            Kind::Normal,
            "Created",
            &format!("Created container: {name}"),
        );
        if let Err(error) = node.runtime.start_container(&id).await {
            let message = format!("Error: {}", without_id(&error.message));
            self.tell(&node, Kind::Warning, "Failed", &message);
            return Err(Trouble::runtime("RunContainerError", &error));
        }
        self.tell(
            &node,
            Kind::Normal,
            "Started",
            &format!("Started container {name}"),
        );
        self.post_start(&node, id).await
    }

    async fn create(
        &self,
        node: &Arc<Node>,
        config: ContainerConfig,
        sandbox: PodSandboxConfig,
    ) -> Result<String, Trouble> {
        let created = node
            .runtime
            .create_container(&self.sandbox.id, config, sandbox);
        created.await.map_err(|error| {
            let message = format!("Error: {}", without_id(&error.message));
            self.tell(node, Kind::Warning, "Failed", &message);
            Trouble::runtime("CreateContainerError", &error)
        })
    }

    async fn image(
        &self,
        node: &Node,
        sandbox: &PodSandboxConfig,
        (name, policy): (&str, &str),
    ) -> Result<Present, Trouble> {
        let wanted = Wanted {
            pod: &self.pod,
            container: &self.container,
            name,
            policy,
            sandbox,
            failures: &self.pulls,
            last_failure: self.last_failure.as_deref(),
        };
        image::ensure(node, &wanted).await
    }

    async fn config(
        &self,
        node: &Arc<Node>,
        image: &Present,
        sandbox: &PodSandboxConfig,
    ) -> Result<ContainerConfig, Trouble> {
        let (pod, container) = (&self.pod, &self.container);
        verify_non_root(pod, container, &image.user)
            .map_err(|error| Trouble::config(error.to_string()))?;
        let facts = node.facts(&self.pod_ips(node));
        let prepared = sandbox::volumes(node, pod)
            .await
            .map_err(|trouble| Trouble {
                reason: CONFIG_ERROR,
                ..trouble
            })?;
        let file_value = |selector: &FileKeySelector| prepared.file_value(selector);
        let environment =
            environment::of_container(pod, container, &facts, &node.store, &file_value)
                .map_err(|error| Trouble::config(error.to_string()))?;
        let plans = prepared
            .mounts_for(container, &environment)
            .map_err(|error| Trouble::config(sandbox::said(&error)))?;
        let mut mounts = self.mounts(node, plans, sandbox).await?;
        let own = files::mounts(node, pod, container, (self.attempt, &self.pod_ips(node)))
            .map_err(|error| Trouble::config(error.to_string()))?;
        mounts.extend(own);
        let (command, args) = environment::command_line(container, &environment);
        let inputs = ContainerInputs {
            attempt: self.attempt,
            image: &image.id,
            image_user: &image.user,
            command,
            args,
            mounts,
            user_range: sandbox::user_range(node, pod),
            memory: i64::try_from(node.memory).unwrap_or(i64::MAX),
            environment,
        };
        Ok(container_config(pod, container, inputs))
    }

    /// Images among the volumes are pulled, and what the runtime cannot do is refused.
    async fn mounts(
        &self,
        node: &Node,
        plans: Vec<VolumeMountPlan>,
        sandbox: &PodSandboxConfig,
    ) -> Result<Vec<Mount>, Trouble> {
        let asks = |plan: &VolumeMountPlan| plan.recursive_read_only != RecursiveReadOnly::Disabled;
        let handler = self.pod.spec.as_ref();
        let handler = handler.and_then(|spec| spec.runtime_class_name.clone());
        let can_be_read_only = match plans.iter().any(asks) {
            true => node
                .runtime
                .has_recursive_read_only(&handler.unwrap_or_default())
                .await
                .map_err(|error| Trouble::runtime(CONFIG_ERROR, &error))?,
            false => false,
        };
        let mut mounts = Vec::new();
        for plan in plans {
            if plan.recursive_read_only == RecursiveReadOnly::Enabled && !can_be_read_only {
                return Err(Trouble::config(format!(
                    "recursive read-only mount {:?} is not supported by the runtime",
                    plan.container_path
                )));
            }
            if let MountSource::Image {
                reference,
                pull_policy,
                ..
            } = &plan.source
            {
                self.image(node, sandbox, (reference, pull_policy)).await?;
            }
            mounts.push(mount(plan, can_be_read_only));
        }
        Ok(mounts)
    }

    fn pod_ips(&self, node: &Node) -> Vec<String> {
        let is_host_network = self
            .pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.host_network == Some(true));
        match is_host_network {
            true => node.host_ip_texts(),
            false => self.sandbox.ips.clone(),
        }
    }

    /// Until it has ended, the container does not count as running; if it fails, the container is killed.
    async fn post_start(&self, node: &Arc<Node>, id: String) -> Result<(), Trouble> {
        let lifecycle = self.container.lifecycle.as_ref();
        let hook = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref());
        let Some(action) = hook.and_then(Action::of_hook) else {
            return Ok(());
        };
        let place = Place {
            runtime: node.runtime.clone(),
            container_id: id.clone(),
            container: self.container.clone(),
            pod_ip: self.pod_ips(node).into_iter().next().unwrap_or_default(),
        };
        let Err(message) = run_hook(&place, &action, HOOK_MAX).await else {
            return Ok(());
        };
        self.tell(
            node,
            Kind::Warning,
            "FailedPostStartHook",
            "PostStartHook failed",
        );
        self.tell(node, Kind::Normal, "Killing", "FailedPostStartHook");
        let spec = self.pod.spec.as_ref();
        let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
        let grace = Duration::from_secs(grace.and_then(|it| u64::try_from(it).ok()).unwrap_or(30));
        if let Err(error) = node.runtime.stop_container(&id, grace).await {
            tracing::warn!(container = id, %error, "stop a container whose postStart hook failed");
        }
        Err(Trouble::new("PostStartHookError", message, Retry::AsPolicy))
    }
}

fn mount(plan: VolumeMountPlan, can_be_read_only: bool) -> Mount {
    let asks = plan.recursive_read_only != RecursiveReadOnly::Disabled;
    let mut mount = Mount {
        container_path: plan.container_path,
        readonly: plan.is_read_only,
        recursive_read_only: plan.is_read_only && asks && can_be_read_only,
        propagation: match plan.propagation {
            Propagation::HostToContainer => MountPropagation::PropagationHostToContainer,
            Propagation::Bidirectional => MountPropagation::PropagationBidirectional,
            Propagation::None => MountPropagation::PropagationPrivate,
        }
        .into(),
        ..Mount::default()
    };
    match plan.source {
        MountSource::Path(path) => mount.host_path = path.display().to_string(),
        MountSource::Image {
            reference,
            sub_path,
            ..
        } => {
            mount.image_sub_path = sub_path;
            mount.image = Some(ImageSpec {
                image: reference,
                ..ImageSpec::default()
            });
        }
    }
    mount
}
