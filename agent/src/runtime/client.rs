//! The calls of the CRI that the agent makes, each with a deadline.
//!
//! The connection is made when it is needed and made anew when it broke: a runtime that restarts is found again.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Response, Status};

use super::labels::{LABEL_MANAGED, LABEL_UID, MANAGED};
use super::wire::image_service_client::ImageServiceClient;
use super::wire::runtime_service_client::RuntimeServiceClient;
use super::wire::{self, ContainerConfig, PodSandboxConfig};

/// Longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Calls that only ask.
const ASKING: Duration = Duration::from_secs(30);

/// Calls that do something: the kubelet's runtimeRequestTimeout and its factor for sandboxes.
const DOING: Duration = Duration::from_secs(240);

/// A pull may take its time; the runtime gives up by itself when nothing comes.
const PULLING: Duration = Duration::from_secs(60 * 60);

/// A call without the answer that was wanted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {message}")]
pub(crate) struct RuntimeError {
    /// The call.
    pub(crate) call: &'static str,
    /// Its gRPC code.
    pub(crate) code: Code,
    /// What the runtime said.
    pub(crate) message: String,
}

impl RuntimeError {
    /// The object of the call is not there (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }

    /// The runtime refuses what was asked, and would again.
    pub(crate) fn is_unimplemented(&self) -> bool {
        self.code == Code::Unimplemented
    }
}

/// What a runtime says of a container or a sandbox, without its id before it: an id is another one at each try, and the same failure
/// would be told anew each time.
pub(crate) fn without_id(message: &str) -> &str {
    let told = |kind: &str| {
        let (id, rest) = message.strip_prefix(kind)?.split_once(": ")?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(rest)
    };
    told("container ")
        .or_else(|| told("sandbox "))
        .unwrap_or(message)
}

/// A command that ExecSync runs.
#[derive(Debug, Clone)]
pub(crate) struct Command<'a> {
    /// Where.
    pub(crate) container_id: &'a str,
    /// What.
    pub(crate) command: &'a [String],
    /// Killed after it; zero: never.
    pub(crate) timeout: Duration,
}

/// What a command has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its exit code.
    pub(crate) exit_code: i32,
    /// Both streams, one after the other.
    pub(crate) text: String,
}

/// A runtime.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Runtime {
    /// The one that answers at a unix socket.
    pub(crate) fn at(socket: &Path) -> Self {
        let path = socket.to_owned();
        // The address is not used: the connector goes to the socket.
        let channel = Endpoint::from_static("http://runtime")
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| connect(path.clone())));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
            images: ImageServiceClient::new(channel)
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX),
        }
    }

    /// Who answers.
    pub(crate) async fn version(&self) -> Result<wire::VersionResponse, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::VersionRequest::default();
        within("Version", ASKING, client.version(request)).await
    }

    /// All sandboxes of agents, or those of one pod.
    pub(crate) async fn sandboxes(
        &self,
        uid: Option<&str>,
    ) -> Result<Vec<wire::PodSandbox>, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::ListPodSandboxRequest {
            filter: Some(wire::PodSandboxFilter {
                label_selector: selector(uid),
                ..Default::default()
            }),
        };
        let answer = within("ListPodSandbox", ASKING, client.list_pod_sandbox(request)).await?;
        Ok(answer.items)
    }

    /// All containers of agents, or those of one pod.
    pub(crate) async fn containers(
        &self,
        uid: Option<&str>,
    ) -> Result<Vec<wire::Container>, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::ListContainersRequest {
            filter: Some(wire::ContainerFilter {
                label_selector: selector(uid),
                ..Default::default()
            }),
        };
        let answer = within("ListContainers", ASKING, client.list_containers(request)).await?;
        Ok(answer.containers)
    }

    /// What a sandbox is; `None` if it is not there.
    pub(crate) async fn sandbox(
        &self,
        id: &str,
    ) -> Result<Option<wire::PodSandboxStatus>, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let call = client.pod_sandbox_status(request);
        let answer = there(within("PodSandboxStatus", ASKING, call).await)?;
        Ok(answer.and_then(|answer| answer.status))
    }

    /// What a container is; `None` if it is not there.
    pub(crate) async fn container(
        &self,
        id: &str,
    ) -> Result<Option<wire::ContainerStatus>, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let call = client.container_status(request);
        let answer = there(within("ContainerStatus", ASKING, call).await)?;
        Ok(answer.and_then(|answer| answer.status))
    }

    /// Makes a sandbox; its id.
    pub(crate) async fn run_sandbox(
        &self,
        config: PodSandboxConfig,
        runtime_handler: &str,
    ) -> Result<String, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: runtime_handler.to_owned(),
        };
        let answer = within("RunPodSandbox", DOING, client.run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    /// Stops a sandbox; one that is not there is stopped.
    pub(crate) async fn stop_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let call = client.stop_pod_sandbox(request);
        there(within("StopPodSandbox", DOING, call).await).map(drop)
    }

    /// Removes a sandbox with its containers; one that is not there is removed.
    pub(crate) async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let call = client.remove_pod_sandbox(request);
        there(within("RemovePodSandbox", DOING, call).await).map(drop)
    }

    /// Makes a container; its id.
    pub(crate) async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
        sandbox: PodSandboxConfig,
    ) -> Result<String, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        let answer = within("CreateContainer", DOING, client.create_container(request)).await?;
        Ok(answer.container_id)
    }

    /// Starts a container.
    pub(crate) async fn start_container(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::StartContainerRequest {
            container_id: id.to_owned(),
        };
        let call = client.start_container(request);
        within("StartContainer", DOING, call).await.map(drop)
    }

    /// Stops a container within a grace period; one that is not there is stopped.
    pub(crate) async fn stop_container(
        &self,
        id: &str,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let call = client.stop_container(request);
        there(within("StopContainer", DOING + grace, call).await).map(drop)
    }

    /// Removes a container; one that is not there is removed.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        let call = client.remove_container(request);
        there(within("RemoveContainer", DOING, call).await).map(drop)
    }

    /// Runs a command to its end.
    pub(crate) async fn exec(&self, command: Command<'_>) -> Result<Output, RuntimeError> {
        let mut client = self.runtime.clone();
        // A fraction of a second is not sent: the runtime would take 0 for no limit.
        let seconds = match command.timeout.as_secs() {
            0 if !command.timeout.is_zero() => 1,
            seconds => seconds,
        };
        let request = wire::ExecSyncRequest {
            container_id: command.container_id.to_owned(),
            cmd: command.command.to_vec(),
            timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
        };
        let deadline = match command.timeout.is_zero() {
            true => PULLING,
            false => command.timeout + ASKING,
        };
        let answer = within("ExecSync", deadline, client.exec_sync(request)).await?;
        let mut text = String::from_utf8_lossy(&answer.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&answer.stderr));
        Ok(Output {
            exit_code: answer.exit_code,
            text,
        })
    }

    /// The image of a name, if it is here.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<wire::Image>, RuntimeError> {
        let mut client = self.images.clone();
        let request = wire::ImageStatusRequest {
            image: Some(wire::ImageSpec {
                image: name.to_owned(),
                ..Default::default()
            }),
            verbose: false,
        };
        let answer = within("ImageStatus", ASKING, client.image_status(request)).await?;
        Ok(answer.image)
    }

    /// Pulls an image; its reference.
    pub(crate) async fn pull(
        &self,
        name: &str,
        auth: Option<wire::AuthConfig>,
        sandbox: PodSandboxConfig,
    ) -> Result<String, RuntimeError> {
        let mut client = self.images.clone();
        let request = wire::PullImageRequest {
            image: Some(wire::ImageSpec {
                image: name.to_owned(),
                user_specified_image: name.to_owned(),
                ..Default::default()
            }),
            auth,
            sandbox_config: Some(sandbox),
        };
        let answer = within("PullImage", PULLING, client.pull_image(request)).await?;
        Ok(answer.image_ref)
    }

    /// Can a handler make mounts read-only with everything below them?
    pub(crate) async fn has_recursive_read_only(
        &self,
        handler: &str,
    ) -> Result<bool, RuntimeError> {
        let mut client = self.runtime.clone();
        let call = client.status(wire::StatusRequest { verbose: false });
        let status = within("Status", ASKING, call).await?;
        let mut handlers = status.runtime_handlers.into_iter();
        let found = handlers.find(|found| found.name == handler);
        let features = found.and_then(|found| found.features);
        Ok(features.is_some_and(|features| features.recursive_read_only_mounts))
    }

    /// What happens to containers, as it happens.
    pub(crate) async fn events(
        &self,
    ) -> Result<tonic::Streaming<wire::ContainerEventResponse>, RuntimeError> {
        let mut client = self.runtime.clone();
        let call = client.get_container_events(wire::GetEventsRequest {});
        within("GetContainerEvents", ASKING, call).await
    }

    /// What the agents' containers use.
    pub(crate) async fn usage(&self) -> Result<Vec<wire::ContainerStats>, RuntimeError> {
        let mut client = self.runtime.clone();
        let request = wire::ListContainerStatsRequest {
            filter: Some(wire::ContainerStatsFilter {
                label_selector: selector(None),
                ..Default::default()
            }),
        };
        let call = client.list_container_stats(request);
        Ok(within("ListContainerStats", ASKING, call).await?.stats)
    }
}

async fn connect(path: PathBuf) -> std::io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(path).await.map(TokioIo::new)
}

fn selector(uid: Option<&str>) -> BTreeMap<String, String> {
    let mut selector = BTreeMap::from([(LABEL_MANAGED.to_owned(), MANAGED.to_owned())]);
    if let Some(uid) = uid {
        selector.insert(LABEL_UID.to_owned(), uid.to_owned());
    }
    selector
}

async fn within<T>(
    call: &'static str,
    deadline: Duration,
    future: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RuntimeError> {
    match tokio::time::timeout(deadline, future).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(RuntimeError {
            call,
            code: status.code(),
            message: status.message().to_owned(),
        }),
        Err(_) => Err(RuntimeError {
            call,
            code: Code::DeadlineExceeded,
            message: format!("no answer within {} s", deadline.as_secs()),
        }),
    }
}

/// Not found is an answer.
fn there<T>(answer: Result<T, RuntimeError>) -> Result<Option<T>, RuntimeError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_before_a_message_is_left_out() {
        let id = "4f".repeat(32);
        for kind in ["container", "sandbox"] {
            let said = format!("{kind} {id}: start its program: no such file");
            assert_eq!(without_id(&said), "start its program: no such file");
        }
        let other = format!("image {id}: gone");
        for said in [&*other, "container web: gone", "container gone", ""] {
            assert_eq!(without_id(said), said);
        }
    }
}
