//! From a request to the part that carries it out.

use crate::failure::Failure;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::wrong_state;
use crate::server::Server;
use carpel_shim_protocol::VERSION;
use carpel_shim_protocol::message::Done;
use carpel_shim_protocol::message::Hello;
use carpel_shim_protocol::message::PodState;
use carpel_shim_protocol::message::Request;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

impl Server {
    /// Carries out a request, or begins to: its answer comes now or later.
    pub(crate) fn dispatch(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        let id = request.id;
        let Some(operation) = request.operation else {
            let failure = invalid("read the request", "this shim does not know the operation");
            return self.outbox.answer(id, Answer::Failure(failure));
        };
        if self.shutting_down.is_some()
            && !matches!(operation, Operation::Hello(_) | Operation::Shutdown(_))
        {
            let failure = wrong_state("take the request", "the shim is shutting down");
            return self.outbox.answer(id, Answer::Failure(failure));
        }
        let result = match operation {
            Operation::Hello(hello) => {
                self.greet(id, hello);
                Ok(())
            }
            Operation::CreateSandbox(create) => self.create_sandbox(id, &create, descriptors),
            Operation::CreateContainer(create) => self.create_container(id, &create),
            Operation::StartContainer(start) => self.start_container(id, &start.container_id),
            Operation::SignalContainer(signal) => self.signal_container(id, &signal),
            Operation::RemoveContainer(remove) => self.remove_container(id, &remove.container_id),
            Operation::Exec(exec) => self.exec(id, &exec, descriptors),
            Operation::ReopenLog(reopen) => self.reopen_log(id, &reopen.container_id),
            Operation::Shutdown(_) => {
                self.shut_down(id);
                Ok(())
            }
            Operation::Attach(attach) => self.attach(id, &attach, descriptors),
            Operation::CloseStdin(close) => self
                .close_stdin(&close.container_id)
                .map(|()| self.outbox.answer(id, Answer::CloseStdin(Done {}))),
            Operation::KillExec(kill) => self
                .kill_exec(&kill.exec_id)
                .map(|()| self.outbox.answer(id, Answer::KillExec(Done {}))),
        };
        if let Err(failure) = result {
            self.outbox.answer(id, Answer::Failure(failure));
        }
    }

    fn greet(&mut self, id: u64, hello: Hello) {
        let (infra_pid, infra_exited) = match &self.sandbox {
            Some(sandbox) => (sandbox.infra_number(), sandbox.infra_exited),
            None => (0, false),
        };
        let containers = self.containers.iter();
        let state = PodState {
            version: VERSION,
            shim_pid: rustix::process::getpid().as_raw_nonzero().get(),
            infra_pid,
            infra_exited,
            containers: containers
                .filter_map(crate::container::state::Container::snapshot)
                .collect(),
            event_sequence: self.outbox.newest(),
        };
        self.outbox.answer(id, Answer::Hello(state));
        if let Some(connection) = &mut self.connection {
            connection.begin_events(hello.last_event_sequence);
        }
    }

    fn reopen_log(&mut self, id: u64, container_id: &str) -> Result<(), Failure> {
        let step = || format!("reopen the log of {container_id:?}");
        let found = self
            .containers
            .iter_mut()
            .find(|container| container.id == container_id);
        let container = found.ok_or_else(|| not_found(step()))?;
        self.log
            .reopen(container_id)
            .map_err(|errno| crate::failure::system(step(), errno))?;
        container.reopening.push(id);
        self.take_log_events();
        Ok(())
    }

    /// Takes what the log writer has to say.
    pub(crate) fn take_log_events(&mut self) {
        use crate::log::LogEvent;
        for event in self.log.events() {
            match event {
                LogEvent::Reopened {
                    container_id,
                    errno,
                } => self.log_reopened(&container_id, errno),
                LogEvent::Finished {
                    container_id,
                    lost_lines,
                } => {
                    self.log_finished(&container_id, lost_lines);
                }
                LogEvent::Trouble {
                    container_id,
                    errno,
                    lost_lines,
                } => {
                    let trouble = carpel_shim_protocol::message::LogTrouble {
                        container_id,
                        errno,
                        lost_lines,
                    };
                    let body = carpel_shim_protocol::message::event::Body::LogTrouble(trouble);
                    self.outbox.announce(body);
                }
                LogEvent::WriterDied => self.outbox.notice("the log writer died and is replaced"),
            }
        }
        self.watch_log();
    }

    fn log_reopened(&mut self, container_id: &str, errno: i32) {
        let mut found = self.containers.iter_mut();
        let Some(container) = found.find(|container| container.id == container_id) else {
            return;
        };
        let answer = if errno == 0 {
            Answer::ReopenLog(Done {})
        } else {
            let step = format!("reopen the log of {container_id:?}");
            Answer::Failure(crate::failure::system(
                step,
                Errno::from_raw_os_error(errno),
            ))
        };
        self.outbox.answer_all(&mut container.reopening, &answer);
    }
}
