//! RunPodSandbox: takes what a sandbox holds of the host, step by step, and gives all of it back if a step fails.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use carpel_shim_protocol::message::{self, CreateSandbox, NamespaceSource, Sysctl};
use tokio::task::JoinHandle;

use super::create_container::oci_error;
use super::error::{PodError, PodErrorKind, Subject};
use super::files;
use super::host_ports;
use super::parts::{DefaultSysctls, NamespaceHandle, SandboxCgroups};
use super::procedure::{
    Change, Context, Failure, Outcome, ReadySandbox, persist_error, shim_error,
};
use super::record::{self, SandboxRecord, VERSION};
use super::resources::{Held, in_files, release_all};
use super::runtime_handler::{RuntimeHandler, RuntimeHandlers};
use super::selinux;
use super::sysctls;
use crate::oci::{
    IdMapping, NamespaceMode, SandboxConfig, check_user_namespace, refuse_sandbox_for_other_runtime,
};
use crate::shim_client::{Connected, ShimClient};

/// The whole procedure. The shim starts as soon as it has a cgroup, beside the pod's files and network, as neither needs
/// the other; no process of the pod itself is there before the network is.
pub(super) async fn run(context: Context) -> Outcome {
    let mut build = Build::new(context);
    for (position, step) in build.steps.iter().enumerate() {
        let slot = Arc::clone(&build.context.slot);
        let taken = slot.stages.run(step.taken_as(), build.take(*step)).await;
        if let Err(error) = taken {
            return Err(build.undo(position, error).await);
        }
    }
    build.ready().map(Change::SandboxReady)
}

/// A shim makes its infra process in a millisecond or two.
const CREATE_PATIENCE: Duration = Duration::from_secs(30);

/// In the order in which they are taken: the network before any process, the shim last.
const STEPS: [Held; 6] = [
    Held::Directories,
    Held::ShimCgroup,
    Held::Cgroups,
    Held::SharedMemory,
    Held::Network,
    Held::Processes,
];

/// With a user namespace the infra process makes the network namespace too, so that it is owned by that.
const STEPS_WITH_USER_NAMESPACE: [Held; 6] = [
    Held::Directories,
    Held::SharedMemory,
    Held::ShimCgroup,
    Held::Cgroups,
    Held::Processes,
    Held::Network,
];

struct Build {
    context: Context,
    steps: &'static [Held; 6],
    cgroups: Option<SandboxCgroups>,
    namespace: Option<NamespaceHandle>,
    addresses: Vec<IpAddr>,
    infra_pid: i32,
    /// The shim on its way, from the moment when it has a cgroup.
    starting: Option<JoinHandle<Result<Connected, PodError>>>,
    connected: Option<Connected>,
}

impl Build {
    fn new(context: Context) -> Self {
        let config = Arc::clone(&context.slot.pod().config);
        let steps = match config.security.namespaces.own_user() {
            Some(_) => &STEPS_WITH_USER_NAMESPACE,
            None => &STEPS,
        };
        Self {
            context,
            steps,
            cgroups: None,
            namespace: None,
            addresses: Vec::new(),
            infra_pid: 0,
            starting: None,
            connected: None,
        }
    }

    async fn take(&mut self, step: Held) -> Result<(), PodError> {
        match step {
            Held::Directories => self.write_identity().await,
            Held::SharedMemory => self.make_files().await,
            // Made with the pod's, by the next step.
            Held::ShimCgroup => Ok(()),
            Held::Cgroups => self.make_cgroups().await,
            Held::Network => self.attach_network().await,
            Held::Processes => self.start_processes().await,
        }
    }

    /// Gives back what the steps up to and with this one have taken, the failed one perhaps half.
    async fn undo(&mut self, position: usize, error: PodError) -> Failure {
        let mut taken: Vec<Held> = self
            .steps
            .iter()
            .take(position + 1)
            .rev()
            .copied()
            .collect();
        if self.starting.is_some() {
            // It has begun before its turn: let it arrive, so that it can be ended in order.
            if let Ok(connected) = self.started().await {
                self.context.slot.set_shim(Some(connected.client.clone()));
            }
            taken = self.steps.iter().rev().copied().collect();
        }
        match release_all(&self.context, &taken).await {
            Ok(()) => Failure::clean(error),
            Err(_logged) => Failure::leftovers(error),
        }
    }

    fn ready(self) -> Result<ReadySandbox, Failure> {
        let Some(connected) = self.connected else {
            let error = PodError::new(
                PodErrorKind::Internal,
                self.context.subject(),
                "the steps ended without a shim",
            );
            return Err(Failure::leftovers(error));
        };
        Ok(ReadySandbox {
            addresses: self.addresses,
            network_namespace: self
                .namespace
                .map_or_else(PathBuf::new, |namespace| namespace.path),
            infra_pid: self.infra_pid,
            events: connected.events,
        })
    }

    fn config(&self) -> Arc<SandboxConfig> {
        Arc::clone(&self.context.slot.pod().config)
    }

    /// Intent and identity come first: from here on recovery knows of the sandbox.
    async fn write_identity(&self) -> Result<(), PodError> {
        let pod = self.context.slot.pod();
        let directories = self.context.slot.directories.clone();
        let categories = self.context.parts.selinux.categories_of(&pod.id);
        let selinux_categories = categories.map_err(|error| {
            let step = "give it SELinux categories";
            PodError::new(
                PodErrorKind::ResourceExhausted,
                self.context.subject(),
                step,
            )
            .caused_by(error)
        })?;
        let identity = SandboxRecord {
            version: VERSION,
            id: pod.id.clone(),
            boot_id: self.context.parts.settings.boot_id.clone(),
            created_at: pod.created_at,
            runtime_handler: pod.runtime_handler.clone(),
            selinux_categories,
            config: (*pod.config).clone(),
        };
        let subject = self.context.subject();
        super::procedure::blocking(self.context.subject(), "record the sandbox", move || {
            let file_error = |error: files::FileError| {
                PodError::new(error.kind(), subject.clone(), "make the sandbox's folders")
                    .caused_by(error)
            };
            files::make_directory(&directories.container_records()).map_err(file_error)?;
            files::make_directory(&directories.live).map_err(file_error)?;
            // In this order: an identity without live state is a pod whose live state was lost, and is kept.
            record::write_live(&directories, &pod)
                .map_err(|error| persist_error(subject.clone(), "record the state", error))?;
            record::write_sandbox(&directories, &identity)
                .map_err(|error| persist_error(subject.clone(), "record the sandbox", error))?;
            Ok(())
        })
        .await
    }

    /// What containers get from the sandbox, /dev/shm last.
    async fn make_files(&self) -> Result<(), PodError> {
        let config = self.config();
        let directories = self.context.slot.directories.clone();
        let size_bytes = self.context.parts.settings.shm_size_bytes;
        let own_ipc = config.security.namespaces.ipc != NamespaceMode::Node;
        let label = selinux::of_sandbox(&self.context, &config)?.mount;
        in_files(&self.context, "make the sandbox's files", move || {
            files::write_pod_files(&directories, &config, &label)?;
            if !config.log_directory.is_empty() {
                files::make_log_directory(config.log_directory.as_ref())?;
            }
            match own_ipc {
                true => files::mount_shm(&directories, size_bytes, files::root_of(&config), &label),
                false => Ok(()),
            }
        })
        .await
    }

    async fn make_cgroups(&mut self) -> Result<(), PodError> {
        let parent = self.context.cgroup_parent();
        let cgroups = self
            .context
            .parts
            .cgroups
            .create_sandbox(&parent, self.context.id())?;
        self.start_shim(cgroups.shim.clone());
        self.cgroups = Some(cgroups);
        Ok(())
    }

    async fn attach_network(&mut self) -> Result<(), PodError> {
        let config = self.config();
        if config.security.namespaces.network == NamespaceMode::Node {
            return Ok(());
        }
        let wanted = network_sysctls(&config, self.context.parts.settings.default_sysctls);
        let networks = &self.context.parts.networks;
        let namespace = match config.security.namespaces.own_user() {
            Some(_) => {
                let made = self.network_of_infra()?;
                networks.adopt(self.context.id(), made, &wanted).await?
            }
            None => networks.create(self.context.id(), &wanted).await?,
        };
        self.addresses = networks
            .attach(self.context.id(), &namespace, &config)
            .await?;
        self.namespace = Some(namespace);
        Ok(())
    }

    /// The network namespace that the infra process was born with.
    fn network_of_infra(&self) -> Result<OwnedFd, PodError> {
        let path = format!("/proc/{}/ns/net", self.infra_pid);
        let opened = std::fs::File::open(path).map(OwnedFd::from);
        opened.map_err(|error| {
            let step = "open the network namespace of its infra process";
            PodError::new(PodErrorKind::Internal, self.context.subject(), step).caused_by(error)
        })
    }

    async fn start_processes(&mut self) -> Result<(), PodError> {
        let connected = self.started().await?;
        let shim = connected.client.clone();
        self.context.slot.set_shim(Some(shim.clone()));
        self.connected = Some(connected);
        self.infra_pid = self.create_infra(&shim).await?;
        let parent = self.context.cgroup_parent();
        let cgroups = &self.context.parts.cgroups;
        cgroups
            .settle_sandbox(&parent, self.context.id(), self.infra_pid)
            .await?;
        match self.context.slot.pod().limits() {
            Some(limits) => {
                let id = self.context.id();
                cgroups.limit_sandbox(&parent, id, &limits).await
            }
            None => Ok(()),
        }
    }

    /// Begins to start the shim, in the cgroup that it has now.
    fn start_shim(&mut self, cgroup: PathBuf) {
        let shims = Arc::clone(&self.context.parts.shims);
        let id = self.context.id().to_owned();
        self.starting = Some(tokio::spawn(async move { shims.spawn(&id, &cgroup).await }));
    }

    /// The shim, once it has started.
    async fn started(&mut self) -> Result<Connected, PodError> {
        let lost = || {
            PodError::new(
                PodErrorKind::Internal,
                self.context.subject(),
                "start its shim",
            )
        };
        match self.starting.take() {
            Some(starting) => starting.await.map_err(|error| lost().caused_by(error))?,
            None => Err(lost()),
        }
    }

    async fn create_infra(&self, shim: &ShimClient) -> Result<i32, PodError> {
        let (message, network) = self.create_message()?;
        let created = shim
            .create_sandbox(message, network, CREATE_PATIENCE)
            .await
            .map_err(|error| {
                shim_error(self.context.subject(), "start the infra process", error)
            })?;
        Ok(created.infra_pid)
    }

    fn create_message(&self) -> Result<(CreateSandbox, Option<OwnedFd>), PodError> {
        let config = self.config();
        let namespaces = &config.security.namespaces;
        let own = |mode: NamespaceMode| match mode {
            NamespaceMode::Node => NamespaceSource::Host,
            NamespaceMode::Pod | NamespaceMode::Container | NamespaceMode::Target => {
                NamespaceSource::New
            }
        };
        let network = match &self.namespace {
            Some(namespace) => Some(namespace.descriptor.try_clone().map_err(|error| {
                PodError::new(
                    PodErrorKind::ResourceExhausted,
                    self.context.subject(),
                    "duplicate the descriptor of the network namespace",
                )
                .caused_by(error)
            })?),
            None => None,
        };
        let (soft, hard) = self.context.parts.settings.open_files;
        let cgroups = self.cgroups.clone();
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let message = CreateSandbox {
            sandbox_id: self.context.id().to_owned(),
            directory: path(self.context.slot.directories.live.clone()),
            // It was started there.
            shim_cgroup: String::new(),
            infra_cgroup: cgroups.map_or_else(String::new, |groups| path(groups.infra)),
            nofile_soft: soft,
            nofile_hard: hard,
            network: match (&network, namespaces.own_user()) {
                (Some(_), _) => NamespaceSource::Descriptor.into(),
                (None, Some(_)) => NamespaceSource::New.into(),
                (None, None) => NamespaceSource::Host.into(),
            },
            uid_mappings: mappings(namespaces.own_user().map(|user| &user.uids)),
            gid_mappings: mappings(namespaces.own_user().map(|user| &user.gids)),
            ipc: own(namespaces.ipc).into(),
            // Host network implies the host's uts namespace (CRI NamespaceOption, as both peers).
            uts: own(namespaces.network).into(),
            pid: match namespaces.pid {
                NamespaceMode::Pod => NamespaceSource::New.into(),
                NamespaceMode::Container | NamespaceMode::Node | NamespaceMode::Target => {
                    NamespaceSource::Host.into()
                }
            },
            // Without a uts namespace of its own there is none to name.
            hostname: if namespaces.network == NamespaceMode::Node {
                String::new()
            } else {
                files::hostname(&config)
            },
            sysctls: config
                .sysctls
                .iter()
                .filter(|(name, _)| sysctls::scope(name) != Some(sysctls::Scope::Network))
                .map(|(name, value)| Sysctl {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
        };
        Ok((message, network))
    }
}

fn mappings(mappings: Option<&Vec<IdMapping>>) -> Vec<message::IdMapping> {
    let mappings = mappings.into_iter().flatten();
    let mappings = mappings.map(|mapping| message::IdMapping {
        container_id: mapping.container_id,
        host_id: mapping.host_id,
        length: mapping.length,
    });
    mappings.collect()
}

/// The sysctls of the network namespace: the pod's, over containerd's defaults.
fn network_sysctls(config: &SandboxConfig, defaults: DefaultSysctls) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    if defaults == DefaultSysctls::Set {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            wanted.insert(name.to_owned(), value.to_owned());
        }
    }
    for (name, value) in &config.sysctls {
        if sysctls::scope(name) == Some(sysctls::Scope::Network) {
            wanted.insert(name.clone(), value.clone());
        }
    }
    wanted
}

/// Refuses what cannot become a sandbox, before anything is done.
///
/// # Errors
/// `InvalidArgument`, also for an unknown handler; `Unimplemented` for what its runtime is not asked for.
pub(super) fn check(
    config: &SandboxConfig,
    runtime_handler: &str,
    handlers: &RuntimeHandlers,
) -> Result<(), PodError> {
    let invalid =
        |step: String| PodError::new(PodErrorKind::InvalidArgument, subject_of(config), step);
    match handlers.get(runtime_handler) {
        None => {
            let step = format!("runtime_handler: no handler {runtime_handler:?} is configured");
            return Err(invalid(step));
        }
        Some(RuntimeHandler::BuiltIn) => {}
        Some(RuntimeHandler::Oci(_)) => {
            refuse_sandbox_for_other_runtime(config)
                .map_err(|error| oci_error(subject_of(config), error))?;
        }
    }
    if config.metadata.name.is_empty() || config.metadata.uid.is_empty() {
        return Err(invalid("metadata: name and uid must not be empty".into()));
    }
    let security = &config.security;
    if security.run_as_group.is_some() && security.run_as_user.is_none() {
        return Err(invalid("run_as_group is given without run_as_user".into()));
    }
    check_user_namespace(config).map_err(|error| invalid(error.to_string()))?;
    host_ports::check(config).map_err(invalid)?;
    sysctls::check(config).map_err(invalid)
}

/// A sandbox that has no id yet, as the subject of an error: its name.
fn subject_of(config: &SandboxConfig) -> Subject {
    Subject::Sandbox(format!(
        "of pod {:?} in namespace {:?}",
        config.metadata.name, config.metadata.namespace
    ))
}
