//! A shim that speaks the protocol and runs nothing: a thread that outlives the daemon's connections, as a shim does.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use carpel_shim_protocol::framing::{self, Packet, Unpacked};
use carpel_shim_protocol::message::container_state::Stage;
use carpel_shim_protocol::message::envelope::Body;
use carpel_shim_protocol::message::event::Body as EventBody;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response::Result as Answer;
use carpel_shim_protocol::message::{
    ContainerCreated, ContainerExited, ContainerStarted, ContainerState, Done, Event, ExecExited,
    ExecStarted, Failure, FailureKind, InfraExited, PodState, Request, ResolvedUser, Response,
    SandboxCreated,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};

use super::ledger::Ledger;

/// One fake shim. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FakeShim {
    sandbox_id: String,
    ledger: Ledger,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    infra_pid: i32,
    infra_exited: bool,
    containers: BTreeMap<String, ContainerState>,
    sequence: u64,
    connection: Option<Arc<OwnedFd>>,
    dead: bool,
    deaf: bool,
    directory: PathBuf,
}

impl FakeShim {
    /// A shim without a connection.
    pub(crate) fn new(sandbox_id: &str, ledger: &Ledger) -> Self {
        Self {
            sandbox_id: sandbox_id.to_owned(),
            ledger: ledger.clone(),
            state: Arc::default(),
        }
    }

    /// The daemon's end of a new connection.
    pub(crate) fn connect(&self) -> OwnedFd {
        let (daemon, shim) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let connection = Arc::new(shim);
        self.state.lock().unwrap().connection = Some(Arc::clone(&connection));
        let this = self.clone();
        std::thread::spawn(move || this.serve(&connection));
        rustix::io::ioctl_fionbio(&daemon, true).unwrap();
        daemon
    }

    /// Is there anybody to connect to?
    pub(crate) fn is_alive(&self) -> bool {
        !self.state.lock().unwrap().dead
    }

    /// Ends the shim at once, as SIGKILL does: nothing is told.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock().unwrap();
        state.dead = true;
        if let Some(connection) = state.connection.take() {
            rustix::net::shutdown(&connection, rustix::net::Shutdown::Both).unwrap();
        }
        drop(state);
        self.ledger
            .drop_prefix(&format!("shim {}", self.sandbox_id));
    }

    /// Answers nothing any more, as a stopped process.
    pub(crate) fn stop_answering(&self) {
        self.state.lock().unwrap().deaf = true;
    }

    /// Lets a container exit.
    pub(crate) fn exit(&self, container_id: &str, exit_code: i32, signal: i32) {
        let exited = ContainerExited {
            container_id: container_id.to_owned(),
            exit_code,
            signal,
            exited_at_nanoseconds: 2_000_000_000,
            ..ContainerExited::default()
        };
        let mut state = self.state.lock().unwrap();
        if let Some(container) = state.containers.get_mut(container_id) {
            container.set_stage(Stage::Exited);
            container.pid = 0;
            container.exit = Some(exited.clone());
        }
        let folder = state.directory.join("containers").join(container_id);
        write_exit(&folder, &exited);
        self.tell(&mut state, EventBody::ContainerExited(exited));
    }

    /// Lets the infra process die.
    pub(crate) fn lose_infra(&self) {
        let mut state = self.state.lock().unwrap();
        state.infra_exited = true;
        state.infra_pid = 0;
        let exited = InfraExited {
            exit_code: 137,
            signal: 9,
        };
        self.tell(&mut state, EventBody::InfraExited(exited));
    }

    fn tell(&self, state: &mut State, body: EventBody) {
        state.sequence += 1;
        let event = Event {
            sequence: state.sequence,
            body: Some(body),
        };
        if let Some(connection) = &state.connection {
            write(connection, Body::Event(event));
        }
    }

    fn serve(&self, connection: &OwnedFd) {
        while let Some((request, descriptors)) = read(connection) {
            if self.state.lock().unwrap().deaf {
                continue;
            }
            let last = matches!(request.operation, Some(Operation::Shutdown(_)));
            let answer = self.answer(request.operation.unwrap(), descriptors);
            let response = Response {
                id: request.id,
                result: Some(answer),
            };
            write(connection, Body::Response(response));
            if last {
                self.kill();
                return;
            }
        }
    }

    fn answer(&self, operation: Operation, _descriptors: Vec<OwnedFd>) -> Answer {
        match operation {
            Operation::Hello(_) => Answer::Hello(self.snapshot()),
            Operation::CreateSandbox(request) => self.taken("infra", || {
                let mut state = self.state.lock().unwrap();
                state.infra_pid = 4242;
                state.directory = request.directory.into();
                Answer::CreateSandbox(SandboxCreated {
                    infra_pid: 4242,
                    shim_pid: own_pid(),
                })
            }),
            Operation::CreateContainer(request) => {
                let id = request.container_id;
                self.taken(&format!("container {id}"), || {
                    let state = ContainerState {
                        container_id: id.clone(),
                        pid: 77,
                        user: Some(ResolvedUser::default()),
                        ..ContainerState::default()
                    };
                    self.state
                        .lock()
                        .unwrap()
                        .containers
                        .insert(id.clone(), state);
                    Answer::CreateContainer(ContainerCreated {
                        pid: 77,
                        user: Some(ResolvedUser::default()),
                    })
                })
            }
            Operation::StartContainer(request) => self.start(&request.container_id),
            Operation::SignalContainer(request) => {
                let running = self.stage(&request.container_id) != Some(Stage::Exited);
                if running {
                    self.exit(&request.container_id, 128 + request.signal, request.signal);
                }
                Answer::SignalContainer(Done {})
            }
            Operation::RemoveContainer(request) => {
                let id = request.container_id;
                self.state.lock().unwrap().containers.remove(&id);
                let what = format!("shim {} container {id}", self.sandbox_id);
                self.ledger.release(what).unwrap();
                Answer::RemoveContainer(Done {})
            }
            Operation::Exec(request) => {
                let mut state = self.state.lock().unwrap();
                let exited = ExecExited {
                    exec_id: request.exec_id,
                    container_id: request.container_id,
                    exit_code: 5,
                    ..ExecExited::default()
                };
                self.tell(&mut state, EventBody::ExecExited(exited));
                Answer::Exec(ExecStarted { pid: 99 })
            }
            Operation::ReopenLog(_) => Answer::ReopenLog(Done {}),
            // As a shim of the first release does.
            Operation::Attach(_) | Operation::CloseStdin(_) | Operation::KillExec(_) => failed(
                FailureKind::FailureInvalid,
                "this shim does not know the operation",
            ),
            Operation::Shutdown(_) => {
                self.end_all();
                Answer::Shutdown(Done {})
            }
        }
    }

    fn start(&self, id: &str) -> Answer {
        if let Err(error) = self
            .ledger
            .take(format!("shim {} start {id}", self.sandbox_id))
        {
            let mut state = self.state.lock().unwrap();
            if let Some(container) = state.containers.get_mut(id) {
                container.set_stage(Stage::Exited);
            }
            return failed(FailureKind::FailureExecute, &error.to_string());
        }
        let mut state = self.state.lock().unwrap();
        let container = state.containers.get_mut(id).unwrap();
        container.set_stage(Stage::Running);
        container.started_at_nanoseconds = 1_000_000_000;
        Answer::StartContainer(ContainerStarted {
            started_at_nanoseconds: 1_000_000_000,
        })
    }

    fn end_all(&self) {
        let alive: Vec<String> = {
            let state = self.state.lock().unwrap();
            state
                .containers
                .values()
                .filter(|container| container.stage() != Stage::Exited)
                .map(|container| container.container_id.clone())
                .collect()
        };
        for id in alive {
            self.exit(&id, 137, 9);
        }
    }

    fn taken(&self, what: &str, done: impl FnOnce() -> Answer) -> Answer {
        match self.ledger.take(format!("shim {} {what}", self.sandbox_id)) {
            Ok(()) => done(),
            Err(error) => failed(FailureKind::FailureSystem, &error.to_string()),
        }
    }

    fn stage(&self, id: &str) -> Option<Stage> {
        let state = self.state.lock().unwrap();
        state.containers.get(id).map(ContainerState::stage)
    }

    fn snapshot(&self) -> PodState {
        let state = self.state.lock().unwrap();
        PodState {
            version: carpel_shim_protocol::VERSION,
            shim_pid: own_pid(),
            infra_pid: state.infra_pid,
            infra_exited: state.infra_exited,
            containers: state.containers.values().cloned().collect(),
            event_sequence: state.sequence,
        }
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn failed(kind: FailureKind, step: &str) -> Answer {
    Answer::Failure(Failure {
        kind: kind.into(),
        step: step.to_owned(),
        errno: 0,
        detail: String::new(),
    })
}

fn write_exit(folder: &Path, exited: &ContainerExited) {
    if std::fs::create_dir_all(folder).is_err() {
        return;
    }
    let text = format!(
        "{{\"container_id\":\"{}\",\"exit_code\":{},\"signal\":{},\"exited_at_nanoseconds\":{}}}",
        exited.container_id, exited.exit_code, exited.signal, exited.exited_at_nanoseconds
    );
    carpel::persist::replace(
        &folder.join("exit.json"),
        text.as_bytes(),
        carpel::persist::Durability::Rename,
    )
    .unwrap();
}

/// The next request; `None` at the end of the connection.
fn read(connection: &OwnedFd) -> Option<(Request, Vec<OwnedFd>)> {
    let mut buffer = vec![0_u8; carpel_shim_protocol::MAXIMUM_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        connection,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .ok()?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return None;
    }
    let unpacked = framing::decode(&buffer[..received.bytes], descriptors.len()).unwrap();
    let Unpacked::Message(envelope) = unpacked else {
        panic!("the tests send no large messages");
    };
    let Some(Body::Request(request)) = envelope.body else {
        panic!("a shim takes requests only");
    };
    Some((request, descriptors))
}

fn write(connection: &OwnedFd, body: Body) {
    let Packet::Inline(bytes) = framing::encode(body, 0).unwrap() else {
        panic!("the tests send no large messages");
    };
    // The daemon may be gone: nothing is lost by that.
    let _sent = send(connection, &bytes, SendFlags::NOSIGNAL).is_ok();
}
