//! One question to a container: a command, an HTTP request, a TCP connection, a call of gRPC's health service. Hooks ask
//! in the same way.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::runtime::{Command, Runtime};

/// A probe that could not be asked is asked again: kubelet, `maxProbeRetries`.
const TRIES: usize = 3;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Well.
    Success,
    /// Not well.
    Failure,
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// What it means.
    pub(super) outcome: Outcome,
    /// What was said.
    pub(super) text: String,
}

impl Answer {
    pub(super) fn success(text: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Success,
            text: text.into(),
        }
    }

    pub(super) fn failure(text: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failure,
            text: text.into(),
        }
    }
}

/// The question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Exit code 0 is well.
    Exec(ExecAction),
    /// A status from 200 to 399 is well.
    Http(HTTPGetAction),
    /// A connection is well.
    Tcp(TCPSocketAction),
    /// SERVING is well.
    Grpc(GRPCAction),
    /// Always well, later.
    Sleep(SleepAction),
}

impl Action {
    /// Of a probe. Which one it has was checked when the manifest was read.
    pub(crate) fn of_probe(probe: &Probe) -> Option<Self> {
        None.or(probe.exec.clone().map(Self::Exec))
            .or(probe.http_get.clone().map(Self::Http))
            .or(probe.tcp_socket.clone().map(Self::Tcp))
            .or(probe.grpc.clone().map(Self::Grpc))
    }

    /// Of a hook.
    pub(crate) fn of_hook(hook: &LifecycleHandler) -> Option<Self> {
        None.or(hook.exec.clone().map(Self::Exec))
            .or(hook.http_get.clone().map(Self::Http))
            .or(hook.sleep.clone().map(Self::Sleep))
    }
}

/// Where the container is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The runtime that it is in.
    pub(crate) runtime: Runtime,
    /// Its id.
    pub(crate) container_id: String,
    /// What the manifest says: ports have names.
    pub(crate) container: Container,
    /// The pod's address; empty if it has none.
    pub(crate) pod_ip: String,
}

impl Place {
    /// The host and the port of an action.
    pub(super) fn address(
        &self,
        host: Option<&str>,
        port: &IntOrString,
    ) -> Result<(String, u16), String> {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(&self.pod_ip);
        if host.is_empty() {
            return Err("the pod has no address".to_owned());
        }
        let number = match port {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => self.named_port(name).or_else(|| name.parse().ok()),
        };
        match number {
            Some(number) => Ok((host.to_owned(), number)),
            None => Err(format!("couldn't find port: {port:?}")),
        }
    }

    fn named_port(&self, name: &str) -> Option<u16> {
        let mut ports = self.container.ports.iter().flatten();
        let is_it = |port: &&ContainerPort| port.name.as_deref() == Some(name);
        let port = ports.find(is_it)?;
        u16::try_from(port.container_port).ok()
    }
}

/// Asks, as a probe does: what cannot be asked is tried again, then it is a failure.
pub(crate) async fn act(place: &Place, action: &Action, timeout: Duration) -> (bool, String) {
    let mut last = Answer::failure(String::new());
    for _ in 0..TRIES {
        match once(place, action, timeout).await {
            Ok(answer) => return (answer.outcome == Outcome::Success, answer.text),
            Err(error) => last = Answer::failure(error),
        }
    }
    (false, last.text)
}

/// Runs a hook: once, and what goes wrong is an error.
///
/// # Errors
/// What the container, or the runtime, said.
pub(crate) async fn run_hook(
    place: &Place,
    action: &Action,
    timeout: Duration,
) -> Result<(), String> {
    let answer = match action {
        // As the kubelet: the hook's own request is not limited by a probe's second.
        Action::Sleep(sleep) => {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            tokio::time::sleep(Duration::from_secs(seconds).min(timeout)).await;
            return Ok(());
        }
        _ => once(place, action, timeout).await?,
    };
    match answer.outcome {
        Outcome::Success => Ok(()),
        Outcome::Failure => Err(answer.text),
    }
}

async fn once(place: &Place, action: &Action, timeout: Duration) -> Result<Answer, String> {
    match action {
        Action::Exec(exec) => command(place, exec, timeout).await,
        Action::Http(get) => http::get(place, get, timeout).await,
        Action::Tcp(tcp) => {
            let (host, port) = place.address(tcp.host.as_deref(), &tcp.port)?;
            Ok(connect(&host, port, timeout).await)
        }
        Action::Grpc(call) => grpc::check(place, call, timeout).await,
        Action::Sleep(_) => Ok(Answer::success("")),
    }
}

async fn command(place: &Place, exec: &ExecAction, timeout: Duration) -> Result<Answer, String> {
    let command = exec.command.clone().unwrap_or_default();
    let call = place.runtime.exec(Command {
        container_id: &place.container_id,
        command: &command,
        timeout,
    });
    match call.await {
        Ok(output) if output.exit_code == 0 => Ok(Answer::success(output.text)),
        Ok(output) if output.text.trim().is_empty() => Ok(Answer::failure(format!(
            "command {} exited with {}",
            shown(&command),
            output.exit_code
        ))),
        Ok(output) => Ok(Answer::failure(output.text.trim_end())),
        Err(error) if error.code == tonic::Code::DeadlineExceeded => Ok(Answer::failure(format!(
            "command timed out: {} timed out after {}s",
            shown(&command),
            timeout.as_secs()
        ))),
        Err(error) => Err(error.to_string()),
    }
}

fn shown(command: &[String]) -> String {
    format!("{:?}", command.join(" "))
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Answer {
    let text = match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => return Answer::success(""),
        Ok(Err(error)) => format!("dial tcp {host}:{port}: connect: {}", plain(&error)),
        Err(_) => format!("dial tcp {host}:{port}: i/o timeout"),
    };
    Answer::failure(text)
}

/// `connection refused`, without the number that Rust adds.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(pod_ip: &str) -> Place {
        Place {
            runtime: Runtime::at(std::path::Path::new("/nowhere")),
            container_id: String::new(),
            container: serde_json::from_value(json!({
                "name": "c", "ports": [{ "name": "web", "containerPort": 8080 }],
            }))
            .unwrap(),
            pod_ip: pod_ip.to_owned(),
        }
    }

    #[tokio::test]
    async fn ports_have_numbers_and_names_and_hosts_are_the_pods_unless_said() {
        let place = place("192.0.2.7");
        let named = IntOrString::String("web".to_owned());
        assert_eq!(
            place.address(None, &named),
            Ok(("192.0.2.7".to_owned(), 8080))
        );
        let number = IntOrString::Int(9);
        assert_eq!(place.address(Some("h"), &number), Ok(("h".to_owned(), 9)));
        assert!(
            place
                .address(None, &IntOrString::String("none".to_owned()))
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_connection_is_well_and_a_refusal_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let action = Action::Tcp(TCPSocketAction {
            host: None,
            port: IntOrString::Int(port.into()),
        });
        let place = place("127.0.0.1");
        let second = Duration::from_secs(1);
        assert!(act(&place, &action, second).await.0);
        drop(listener);
        let (is_well, text) = act(&place, &action, second).await;
        assert!(!is_well);
        assert_eq!(
            text,
            format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
        );
    }
}
