//! Seccomp listeners: the program of the host that answers calls of SCMP_ACT_NOTIFY. It is connected to before the process
//! loads its filter, so that one that is not there fails the start, and is sent the listener with the container process state
//! of the OCI runtime specification (config-linux.md).

use crate::container::state::Container;
use crate::container::state::Exec;
use crate::container::state::Stage;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::server::Server;
use carpel_linux::socket;
use carpel_shim_protocol::message::SeccompListener;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// A connected listener.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    told: SeccompListener,
}

impl Listener {
    /// Connects to where the listener waits. Never waits itself.
    pub(crate) fn connect(told: &SeccompListener) -> Outcome<Self> {
        let socket = socket::connect_stream(&told.path)
            .step(|| format!("connect to the seccomp listener at {:?}", told.path))?;
        Ok(Self {
            socket,
            told: told.clone(),
        })
    }

    /// Hands a filter's listener on: of process `pid` in a container whose first process is `first`.
    pub(crate) fn hand_over(
        &self,
        listener: BorrowedFd<'_>,
        (pid, first): (i32, i32),
        status: &str,
    ) -> Outcome<()> {
        let state = state(&self.told, (pid, first), status);
        socket::send(self.socket.as_fd(), state.as_bytes(), &[listener])
            .step(|| format!("send the seccomp listener to {:?}", self.told.path))
    }
}

impl Server {
    /// Ends a container that was to be started, as one whose program cannot be executed: its child exits when its control
    /// socket ends.
    pub(crate) fn give_start_up(&mut self, id: u64, serial: u32, failure: Failure) {
        if let Some(container) = self.by_serial(serial) {
            container.stage = Stage::Starting;
            container.waiting.push(id);
        }
        self.child_failed(serial, failure);
        self.control_ended(serial);
    }
}

impl Container {
    /// Its process has loaded its filter.
    pub(crate) fn hand_listener_over(&mut self, filter: Option<OwnedFd>) -> Outcome<()> {
        let pid = self.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        match (self.listener.take(), filter) {
            (Some(listener), Some(filter)) => {
                listener.hand_over(filter.as_fd(), (pid, pid), "created")
            }
            _ => Ok(()),
        }
    }
}

impl Exec {
    /// Its process has loaded its filter, in a container whose first process is `first`.
    pub(crate) fn hand_listener_over(
        &mut self,
        filter: Option<OwnedFd>,
        first: Option<Pid>,
    ) -> Outcome<()> {
        let number = |pid: Pid| pid.as_raw_nonzero().get();
        let pids = (number(self.pid), first.map_or(0, number));
        match (self.listener.take(), filter) {
            (Some(listener), Some(filter)) => listener.hand_over(filter.as_fd(), pids, "running"),
            _ => Ok(()),
        }
    }
}

fn state(told: &SeccompListener, (pid, first): (i32, i32), status: &str) -> String {
    let (version, metadata, members) = (&told.oci_version, &told.metadata, &told.state);
    format!(
        r#"{{"ociVersion":{version},"fds":["seccompFd"],"pid":{pid},"metadata":{metadata},"state":{{"ociVersion":{version},"status":"{status}","pid":{first}{members}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_that_of_the_specification() {
        let told = SeccompListener {
            path: "/run/l.sock".into(),
            metadata: r#""m""#.into(),
            state: r#","id":"c1","bundle":"/b""#.into(),
            oci_version: r#""1.2.0""#.into(),
        };
        assert_eq!(
            state(&told, (7, 5), "running"),
            r#"{"ociVersion":"1.2.0","fds":["seccompFd"],"pid":7,"metadata":"m","state":{"ociVersion":"1.2.0","status":"running","pid":5,"id":"c1","bundle":"/b"}}"#
        );
    }
}
