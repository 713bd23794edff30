//! A node of fakes: networks, cgroups, images, shims, and folders of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use carpel::oci::{
    ContainerConfig, ContainerMetadata, DeviceRules, ImageDefaults, ImageSpec, LinuxResources,
    NamespaceMode, SandboxConfig, SandboxMetadata,
};
use carpel::pod::{
    CgroupDetails, CgroupReading, ContainerImage, ContainerImages, DefaultSysctls, DeviceSettings,
    FilesystemFigures, InterfaceStatistics, NamespaceHandle, NetworkReport, Parts, PodCgroups,
    PodError, PodErrorKind, PodSettings, Pods, PreparedImages, RuntimeHandlers, SandboxCgroups,
    SandboxNetworks, Shims, Subject, WritableLayer,
};
use carpel::shim_client::{Connected, ShimClient};

use super::ledger::Ledger;
use super::shim::FakeShim;

const PATIENCE: Duration = Duration::from_secs(5);

/// The fakes and their folders. Dropping it removes the folders.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) ledger: Ledger,
    pub(crate) folder: tempfile::TempDir,
    boot_id: Mutex<String>,
    shims: Arc<FakeShims>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let ledger = Ledger::default();
        Self {
            shims: Arc::new(FakeShims {
                ledger: ledger.clone(),
                all: Mutex::default(),
            }),
            ledger,
            folder: tempfile::tempdir().unwrap(),
            boot_id: Mutex::new("first-boot".into()),
        }
    }

    /// A daemon on this node.
    pub(crate) async fn daemon(&self) -> Pods {
        Pods::open(self.parts()).await
    }

    /// What a daemon does before it is killed: all its tasks end with it at once.
    pub(crate) fn in_dying_daemon<T: Send>(&self, life: impl AsyncFnOnce(Pods) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let daemon = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let result = runtime.block_on(async { life(self.daemon().await).await });
                runtime.shutdown_background();
                result
            });
            daemon.join().unwrap()
        })
    }

    /// The shim of a sandbox.
    pub(crate) fn shim(&self, sandbox_id: &str) -> FakeShim {
        self.shims.all.lock().unwrap()[sandbox_id].clone()
    }

    /// Everything that runs is gone, /run is empty, and the boot has another id.
    pub(crate) fn reboot(&self) {
        for shim in self.shims.all.lock().unwrap().values() {
            shim.kill();
        }
        self.ledger.drop_prefix("shim");
        self.ledger.drop_prefix("cgroup");
        std::fs::remove_dir_all(self.run_directory()).unwrap();
        *self.boot_id.lock().unwrap() = "second-boot".into();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("lib")
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// The files and folders of pods that are left.
    pub(crate) fn pod_folders(&self) -> Vec<PathBuf> {
        [self.root(), self.run_directory()]
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder.join("pods")).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    fn parts(&self) -> Parts {
        let ledger = self.ledger.clone();
        Parts {
            networks: Arc::new(FakeNetworks(ledger.clone())),
            cgroups: Arc::new(FakeCgroups(ledger.clone())),
            images: Arc::new(FakeImages(ledger)),
            shims: Arc::clone(&self.shims) as Arc<dyn Shims>,
            filters: Arc::default(),
            apparmor: Arc::default(),
            selinux: Arc::default(),
            settings: Arc::new(PodSettings {
                root: self.root(),
                run_directory: self.run_directory(),
                shm_size_bytes: 64 << 20,
                default_sysctls: DefaultSysctls::Set,
                open_files: (1024, 4096),
                boot_id: self.boot_id.lock().unwrap().clone(),
                bounding_capabilities: u64::MAX,
                lowest_oom_score_adj: -1000,
                device_rules: DeviceRules::Enforced,
                devices: DeviceSettings::default(),
                handlers: RuntimeHandlers::default(),
                user_namespaces: true,
                config_json: String::new(),
                facts: BTreeMap::new(),
            }),
        }
    }
}

/// A sandbox that mounts nothing: the tests need no privileges.
pub(crate) fn sandbox(name: &str) -> SandboxConfig {
    let mut config = SandboxConfig {
        metadata: SandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        },
        ..SandboxConfig::default()
    };
    config.security.namespaces.ipc = NamespaceMode::Node;
    config
}

pub(crate) fn container(name: &str) -> ContainerConfig {
    ContainerConfig {
        metadata: ContainerMetadata {
            name: name.into(),
            attempt: 0,
        },
        image: ImageSpec {
            image: "busybox".into(),
            ..ImageSpec::default()
        },
        command: vec!["/bin/true".into()],
        ..ContainerConfig::default()
    }
}

/// Waits until it is so; fails after a time that is long for a fake.
pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Debug)]
struct FakeNetworks(Ledger);

#[async_trait]
impl SandboxNetworks for FakeNetworks {
    async fn create(
        &self,
        id: &str,
        _sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError> {
        self.0.take(format!("namespace {id}"))?;
        Ok(NamespaceHandle {
            path: format!("/run/netns/carpel-{id}").into(),
            descriptor: std::fs::File::open("/dev/null").unwrap().into(),
        })
    }

    async fn adopt(
        &self,
        id: &str,
        namespace: OwnedFd,
        _sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError> {
        self.0.take(format!("namespace {id}"))?;
        Ok(NamespaceHandle {
            path: format!("/run/netns/carpel-{id}").into(),
            descriptor: namespace,
        })
    }

    async fn attach(
        &self,
        id: &str,
        _namespace: &NamespaceHandle,
        _config: &SandboxConfig,
    ) -> Result<Vec<IpAddr>, PodError> {
        self.0.take(format!("address {id}"))?;
        Ok(vec!["10.1.2.3".parse().unwrap()])
    }

    async fn release(&self, id: &str) -> Result<(), PodError> {
        self.0.release(format!("address {id}"))?;
        self.0.release(format!("namespace {id}"))
    }

    async fn wait_released(&self, _id: &str) -> Result<(), PodError> {
        Ok(())
    }

    async fn statistics(&self, _id: &str) -> Vec<InterfaceStatistics> {
        Vec::new()
    }

    async fn set_pod_networks(&self, _networks: &str) -> Result<(), PodError> {
        Ok(())
    }

    async fn report(&self) -> NetworkReport {
        NetworkReport::default()
    }
}

#[derive(Debug)]
struct FakeCgroups(Ledger);

#[async_trait]
impl PodCgroups for FakeCgroups {
    fn check_parent(&self, _parent: &str) -> Result<(), PodError> {
        Ok(())
    }

    fn create_sandbox(&self, _parent: &str, id: &str) -> Result<SandboxCgroups, PodError> {
        self.0.take(format!("cgroup {id}"))?;
        Ok(SandboxCgroups {
            infra: PathBuf::from("/infra"),
            shim: PathBuf::from("/shim"),
        })
    }

    fn create_container(
        &self,
        _parent: &str,
        id: &str,
        container: &str,
        _resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<PathBuf, PodError> {
        self.0.take(format!("cgroup {id} {container}"))?;
        Ok(PathBuf::from("/leaf"))
    }

    async fn settle_sandbox(&self, _parent: &str, _id: &str, _pid: i32) -> Result<(), PodError> {
        Ok(())
    }
    fn keep_device_rules(
        &self,
        _parent: &str,
        _sandbox_id: &str,
        _container_id: &str,
        _resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<(), PodError> {
        Ok(())
    }
    async fn update_container(
        &self,
        _parent: &str,
        _id: &str,
        _container: &str,
        _resources: &LinuxResources,
    ) -> Result<(), PodError> {
        Ok(())
    }

    async fn limit_sandbox(
        &self,
        _parent: &str,
        _id: &str,
        resources: &LinuxResources,
    ) -> Result<(), PodError> {
        // Written, and not held.
        let step = format!("limit to {}", resources.memory_limit_bytes);
        let written = self.0.take(step.as_str());
        self.0.release(step)?;
        written
    }

    async fn kill_container(
        &self,
        _parent: &str,
        id: &str,
        container: &str,
        _deadline: Duration,
    ) -> Result<(), PodError> {
        self.0
            .drop_prefix(&format!("shim {id} container {container}"));
        Ok(())
    }

    async fn kill_sandbox(
        &self,
        _parent: &str,
        id: &str,
        _deadline: Duration,
    ) -> Result<(), PodError> {
        self.0.drop_prefix(&format!("shim {id} "));
        Ok(())
    }

    async fn kill_shim(
        &self,
        _parent: &str,
        id: &str,
        _deadline: Duration,
    ) -> Result<(), PodError> {
        self.0.drop_prefix(&format!("shim {id}"));
        Ok(())
    }

    async fn remove_container(
        &self,
        _parent: &str,
        id: &str,
        container: &str,
    ) -> Result<(), PodError> {
        self.0.release(format!("cgroup {id} {container}"))
    }

    async fn remove_sandbox(&self, _parent: &str, id: &str) -> Result<(), PodError> {
        self.0.release(format!("cgroup {id}"))?;
        self.0.drop_prefix(&format!("cgroup {id} "));
        Ok(())
    }

    async fn remove_shim(&self, _parent: &str, _id: &str) -> Result<(), PodError> {
        Ok(())
    }

    fn read(
        &self,
        _parent: &str,
        _id: &str,
        _container: Option<&str>,
    ) -> Result<CgroupReading, PodError> {
        Ok(CgroupReading::default())
    }

    fn details(
        &self,
        _parent: &str,
        _id: &str,
        _container: Option<&str>,
    ) -> Result<CgroupDetails, PodError> {
        Ok(CgroupDetails::default())
    }

    fn container_path(&self, _parent: &str, id: &str, container: &str) -> String {
        format!("/carpel/{id}/{container}")
    }
}

#[derive(Debug)]
struct FakeImages(Ledger);

#[async_trait]
impl ContainerImages for FakeImages {
    fn find(&self, reference: &str) -> Option<ContainerImage> {
        matches!(reference, "busybox" | "artifact").then(|| ContainerImage {
            is_artifact: reference == "artifact",
            id: "sha256:1".into(),
            name: "busybox:latest".into(),
            reference: "busybox@sha256:2".into(),
            defaults: ImageDefaults::default(),
        })
    }

    async fn prepare(
        &self,
        _image_id: &str,
        _volumes: &[String],
        container: &str,
    ) -> Result<PreparedImages, PodError> {
        self.0.take(format!("snapshot {container}"))?;
        Ok(PreparedImages::default())
    }

    async fn release(&self, container: &str) -> Result<(), PodError> {
        self.0.release(format!("snapshot {container}"))
    }

    async fn writable_layer(&self, _container: &str) -> Option<WritableLayer> {
        None
    }

    fn filesystem(&self, _path: &str) -> Option<FilesystemFigures> {
        None
    }
}

#[derive(Debug)]
struct FakeShims {
    ledger: Ledger,
    all: Mutex<BTreeMap<String, FakeShim>>,
}

#[async_trait]
impl Shims for FakeShims {
    async fn spawn(&self, id: &str, _cgroup: &Path) -> Result<Connected, PodError> {
        self.ledger.take(format!("shim {id}"))?;
        let shim = FakeShim::new(id, &self.ledger);
        self.all.lock().unwrap().insert(id.to_owned(), shim.clone());
        Ok(open(&shim).await)
    }

    async fn connect(&self, id: &str, _directory: &Path) -> Result<Option<Connected>, PodError> {
        let shim = self.all.lock().unwrap().get(id).cloned();
        match shim.filter(FakeShim::is_alive) {
            Some(shim) => ShimClient::open(shim.connect(), 0, Duration::from_millis(500))
                .await
                .map(Some)
                .map_err(|error| {
                    PodError::new(PodErrorKind::Unavailable, Subject::Runtime, "connect")
                        .caused_by(error)
                }),
            None => Ok(None),
        }
    }
}

async fn open(shim: &FakeShim) -> Connected {
    ShimClient::open(shim.connect(), 0, PATIENCE).await.unwrap()
}
