//! A domain that does what a test says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::cri::PodService;
use crate::cri::StreamUrls;
use crate::oci::{ContainerConfig, LinuxResources, PodResources, SandboxConfig};
use crate::pod::*;

/// What is there, and what was asked.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) sandboxes: Mutex<Vec<SandboxView>>,
    pub(super) containers: Mutex<Vec<ContainerView>>,
    pub(super) figures: Mutex<Vec<SandboxFigures>>,
    /// One line for each request.
    pub(super) asked: Mutex<Vec<String>>,
    pub(super) last_sandbox: Mutex<Option<SandboxConfig>>,
    /// What every request that can fail fails with.
    pub(super) failure: Mutex<Option<PodErrorKind>>,
    pub(super) network_trouble: Mutex<Option<(String, String)>>,
    /// ExecSync says that it has begun, then waits for a permit.
    pub(super) exec_begun: Notify,
    pub(super) exec_may_end: Semaphore,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
            figures: Mutex::default(),
            asked: Mutex::default(),
            last_sandbox: Mutex::default(),
            failure: Mutex::default(),
            network_trouble: Mutex::default(),
            exec_begun: Notify::new(),
            exec_may_end: Semaphore::new(0),
        }
    }
}

fn handler(name: &str) -> HandlerReport {
    HandlerReport {
        name: name.to_owned(),
        recursive_read_only: true,
        user_namespaces: true,
    }
}

pub(in crate::cri) fn sandbox_view(id: &str) -> SandboxView {
    SandboxView {
        id: id.to_owned(),
        config: Arc::new(SandboxConfig {
            labels: BTreeMap::from([("app".to_owned(), id.to_owned())]),
            ..SandboxConfig::default()
        }),
        runtime_handler: String::new(),
        state: SandboxState::Ready,
        created_at: 1,
        addresses: Vec::new(),
        infra_pid: 77,
        network_namespace: "/run/netns/x".to_owned(),
    }
}

pub(in crate::cri) fn container_view(id: &str) -> ContainerView {
    ContainerView {
        id: id.to_owned(),
        sandbox_id: "s".to_owned(),
        config: Arc::new(ContainerConfig::default()),
        state: ContainerState::Running,
        created_at: 1,
        started_at: 2,
        finished_at: 0,
        exit_code: 0,
        reason: String::new(),
        message: String::new(),
        image_id: "sha256:1".to_owned(),
        image_name: "busybox:1".to_owned(),
        image_reference: "busybox@sha256:2".to_owned(),
        image_volumes: BTreeMap::new(),
        log_path: "/log/0.log".to_owned(),
        resources: LinuxResources::default(),
        user: Some(UserView::default()),
        stop_signal: 15,
        pid: 78,
        log: LogState::default(),
        runtime_specification: "{\"ociVersion\":\"1.2.0\"}".into(),
    }
}

fn statistics(container: ContainerView) -> ContainerStatistics {
    ContainerStatistics {
        container,
        cpu: CpuStatistics {
            timestamp: 5,
            usage_nanoseconds: 6,
            usage_nano_cores: 0,
        },
        memory: None,
        process_count: None,
        pressures: Pressures::default(),
        writable_layer: None,
    }
}

impl Script {
    fn ask(&self, line: String) -> Result<(), PodError> {
        self.asked.lock().unwrap().push(line);
        match *self.failure.lock().unwrap() {
            None => Ok(()),
            Some(kind) => Err(PodError::new(kind, Subject::Runtime, "scripted")),
        }
    }

    fn sandbox(&self, id: &str) -> Result<SandboxView, PodError> {
        let sandboxes = self.sandboxes.lock().unwrap();
        let found = sandboxes.iter().find(|view| view.id == id).cloned();
        let subject = Subject::Sandbox(id.to_owned());
        found.ok_or_else(|| PodError::new(PodErrorKind::NotFound, subject, "look up"))
    }

    fn container(&self, id: &str) -> Result<ContainerView, PodError> {
        let containers = self.containers.lock().unwrap();
        let found = containers.iter().find(|view| view.id == id).cloned();
        let subject = Subject::Container(id.to_owned());
        found.ok_or_else(|| PodError::new(PodErrorKind::NotFound, subject, "look up"))
    }
}

impl PodService for Arc<Script> {
    async fn run_sandbox(&self, config: SandboxConfig, handler: &str) -> Result<String, PodError> {
        self.ask(format!("run {} {handler:?}", config.metadata.name))?;
        *self.last_sandbox.lock().unwrap() = Some(config);
        Ok("made".to_owned())
    }
    async fn stop_sandbox(&self, id: &str) -> Result<(), PodError> {
        self.ask(format!("stop sandbox {id}"))
    }
    async fn remove_sandbox(&self, id: &str) -> Result<(), PodError> {
        self.ask(format!("remove sandbox {id}"))
    }
    fn pod_snapshot(&self, id: &str) -> Result<PodSnapshot, PodError> {
        let containers = self.containers.lock().unwrap();
        Ok(PodSnapshot {
            timestamp: 9,
            sandbox: self.sandbox(id)?,
            containers: containers
                .iter()
                .filter(|view| view.sandbox_id == id)
                .cloned()
                .collect(),
        })
    }
    fn events(&self) -> Result<PodEvents, PodError> {
        Err(PodError::new(
            PodErrorKind::ResourceExhausted,
            Subject::Runtime,
            "too many",
        ))
    }
    fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<SandboxView> {
        self.ask(format!("list {filter:?}")).unwrap();
        self.sandboxes.lock().unwrap().clone()
    }
    async fn create_container(
        &self,
        id: &str,
        config: ContainerConfig,
    ) -> Result<String, PodError> {
        self.ask(format!("create {} in {id}", config.metadata.name))?;
        Ok("made".to_owned())
    }
    async fn start_container(&self, id: &str) -> Result<(), PodError> {
        self.ask(format!("start {id}"))
    }
    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), PodError> {
        self.ask(format!("stop {id} within {timeout:?}"))
    }
    async fn remove_container(&self, id: &str) -> Result<(), PodError> {
        self.ask(format!("remove {id}"))
    }
    fn container_status(&self, id: &str) -> Result<ContainerView, PodError> {
        self.container(id)
    }
    fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerView> {
        self.ask(format!("list {filter:?}")).unwrap();
        self.containers.lock().unwrap().clone()
    }
    async fn exec_sync(&self, id: &str, command: ExecCommand) -> Result<ExecOutput, PodError> {
        self.ask(format!(
            "exec {:?} in {id} within {:?}",
            command.arguments, command.timeout
        ))?;
        self.exec_begun.notify_one();
        // The procedure is a task of the domain's: it ends also when nobody waits for it.
        let script = Arc::clone(self);
        let procedure = tokio::spawn(async move {
            let permit = script.exec_may_end.acquire().await.unwrap();
            permit.forget();
            script.ask("exec ended".to_owned())
        });
        procedure.await.unwrap()?;
        Ok(ExecOutput {
            stdout: vec![b'x'; 100],
            stderr: vec![0xff],
            exit_code: 3,
        })
    }
    fn check_port_forward(&self, id: &str) -> Result<String, PodError> {
        self.sandbox(id).map(|sandbox| sandbox.id)
    }
    async fn reopen_log(&self, id: &str) -> Result<(), PodError> {
        self.ask(format!("reopen {id}"))
    }
    async fn update_resources(&self, id: &str, resources: LinuxResources) -> Result<(), PodError> {
        self.ask(format!("update {id} to {} shares", resources.cpu_shares))
    }
    async fn update_sandbox_resources(
        &self,
        id: &str,
        resources: PodResources,
    ) -> Result<(), PodError> {
        self.sandbox(id)?;
        let shares = |part: Option<LinuxResources>| part.unwrap_or_default().cpu_shares;
        let (overhead, resources) = (shares(resources.overhead), shares(resources.resources));
        self.ask(format!("update {id} to {resources}+{overhead} shares"))
    }
    async fn container_statistics(&self, id: &str) -> Result<ContainerStatistics, PodError> {
        self.container(id).map(statistics)
    }
    async fn list_container_statistics(&self, _: &ContainerFilter) -> Vec<ContainerStatistics> {
        let containers = self.containers.lock().unwrap().clone();
        containers.into_iter().map(statistics).collect()
    }
    async fn sandbox_statistics(&self, id: &str) -> Result<SandboxStatistics, PodError> {
        let sandbox = self.sandbox(id)?;
        Ok(SandboxStatistics {
            sandbox,
            cpu: CpuStatistics::default(),
            memory: None,
            process_count: Some(4),
            pressures: Pressures::default(),
            interfaces: Vec::new(),
            containers: Vec::new(),
        })
    }
    async fn list_sandbox_statistics(&self, _: &SandboxFilter) -> Vec<SandboxStatistics> {
        let sandboxes = self.sandboxes.lock().unwrap().clone();
        let mut all = Vec::new();
        for sandbox in sandboxes {
            all.push(self.sandbox_statistics(&sandbox.id).await.unwrap());
        }
        all
    }
    async fn list_sandbox_figures(&self) -> Vec<SandboxFigures> {
        self.figures.lock().unwrap().clone()
    }
    async fn set_pod_networks(&self, networks: &str) -> Result<(), PodError> {
        self.ask(format!("networks {networks}"))
    }
    async fn report(&self) -> RuntimeReport {
        RuntimeReport {
            network_trouble: self.network_trouble.lock().unwrap().clone(),
            runtime_trouble: None,
            handlers: ["", "carpel"].map(handler).into(),
            config_json: "{\"stateDir\":\"/run/carpel\"}".to_owned(),
            facts: BTreeMap::from([("kernel".to_owned(), "\"6.1\"".to_owned())]),
        }
    }
}

/// The URL names what it is for.
impl StreamUrls for Script {
    fn url_of(&self, request: StreamRequest) -> Result<String, PodError> {
        self.ask(format!("{request:?}"))?;
        Ok("http://127.0.0.1:1/token".to_owned())
    }
}
