//! A container's life by another runtime: create, start, kill, delete.

use crate::container::start;
use crate::container::start::Stdin;
use crate::container::start::Streams;
use crate::container::state::Container;
use crate::container::state::Stage;
use crate::external::Deletion;
use crate::external::External;
use crate::external::console::Console;
use crate::external::errand;
use crate::external::errand::Done;
use crate::external::errand::Errand;
use crate::external::errand::Job;
use crate::external::errand::Preparation;
use crate::external::errand::Purpose;
use crate::external::process_in;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::wrong_state;
use crate::oom::MemoryWatch;
use crate::server::Server;
use crate::time;
use carpel_linux::process::EndedChild;
use carpel_linux::signal;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::Done as Nothing;
use carpel_shim_protocol::message::OciRuntime;
use carpel_shim_protocol::message::User;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::process::PidfdFlags;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use rustix::process::WaitIdStatus;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// Name of the file in the bundle where a runtime writes the number of a container's first process.
const PID_FILE: &str = "runtime.pid";

impl Server {
    /// Begins to make a container by its runtime.
    pub(crate) fn create_externally(
        &mut self,
        create: &CreateContainer,
        runtime: &OciRuntime,
    ) -> Outcome<Container> {
        let process = create.process.as_ref();
        let process = process.ok_or_else(|| invalid("read the process", "it is missing"))?;
        let root = create.root.as_ref();
        let root = root.ok_or_else(|| invalid("read the root", "it is missing"))?;
        let root_place = self.make_place(&create.container_id)?.root_place();
        let pid_file = format!("{}/{PID_FILE}", runtime.bundle);
        ignore(
            rustix::fs::unlink(pid_file.as_str()),
            "there is none, but for a try that was undone",
        );
        let mut command = vec!["create".to_owned(), "--bundle".to_owned()];
        command.extend([runtime.bundle.clone(), "--pid-file".to_owned(), pid_file]);
        let (console, streams) = if process.terminal {
            let console = Console::listen(&runtime.bundle, "console.sock".to_owned())?;
            command.extend(["--console-socket".to_owned(), console.name.clone()]);
            (Some(console), start::null_streams()?)
        } else {
            let stdin = if create.stdin {
                Stdin::Pipe
            } else {
                Stdin::Null
            };
            (None, start::streams(stdin)?)
        };
        command.push(create.container_id.clone());
        let Streams {
            child,
            stdin,
            outputs,
        } = streams;
        let [input, output, error] = &child;
        let memory = MemoryWatch::new(&create.cgroup);
        let serial = self.take_serial();
        let nobody = User::default();
        let (errand, pidfd) = errand::begin(Job {
            runtime,
            container_id: &create.container_id,
            purpose: Purpose::Create,
            command,
            standard: [input.as_fd(), output.as_fd(), error.as_fd()],
            serial,
            preparation: Some(Preparation {
                root,
                root_place: &root_place,
                user: process.user.as_ref().unwrap_or(&nobody),
            }),
        })?;
        drop(child);
        let pid = errand.pid;
        self.errands.push(errand);
        let mut container = Container::new(create, (pid, pidfd), None);
        container.memory = memory;
        container.stdin = stdin;
        container.external = Some(Box::new(External::new(runtime, console)));
        let taken = self.take_in(&mut container, outputs);
        let taken = taken.and_then(|()| self.watch_console(&container));
        if let Err(failure) = taken {
            container.undo(failure);
        }
        Ok(container)
    }

    fn watch_console(&self, container: &Container) -> Outcome<()> {
        let external = container.external.as_ref();
        match external.and_then(|external| external.console.as_ref()) {
            Some(console) => console.watch(&self.poller, container.serial),
            None => Ok(()),
        }
    }

    /// Begins to run the program that waits in a created container.
    pub(crate) fn start_externally(&mut self, id: u64, container_id: &str) -> Outcome<()> {
        let command = vec!["start".to_owned(), container_id.to_owned()];
        self.run_for(container_id, Purpose::Start, command)?;
        if let Some(container) = self.container_mut(container_id) {
            container.stage = Stage::Starting;
            container.started_at = time::wall_nanoseconds();
            container.waiting.push(id);
        }
        Ok(())
    }

    /// Has the runtime send a signal to the first process.
    pub(crate) fn signal_externally(
        &mut self,
        id: u64,
        container_id: &str,
        signal: i32,
    ) -> Outcome<()> {
        let command = vec![
            "kill".to_owned(),
            container_id.to_owned(),
            signal.to_string(),
        ];
        self.run_for(container_id, Purpose::Signal(Some(id)), command)
    }

    /// Has the runtime forget a container whose processes have ended.
    pub(crate) fn delete_externally(&mut self, container_id: &str) {
        let mut errands = self.errands.iter();
        let is_busy = errands.any(|errand| errand.container_id == container_id);
        let Some(container) = self.container_mut(container_id) else {
            return;
        };
        let Some(external) = &mut container.external else {
            return;
        };
        if !matches!(external.deletion, Deletion::NotYet | Deletion::Due) {
            return;
        }
        // A start that has begun a short program may not have tidied up behind itself.
        external.deletion = if is_busy {
            Deletion::Due
        } else {
            Deletion::Running
        };
        if is_busy {
            return;
        }
        let command = ["delete", "--force", container_id].map(str::to_owned);
        if let Err(failure) = self.run_for(container_id, Purpose::Delete, command.to_vec()) {
            self.external_deleted(container_id, Err(failure));
        }
    }

    /// Runs the container's runtime, with streams that lead nowhere.
    fn run_for(
        &mut self,
        container_id: &str,
        purpose: Purpose,
        command: Vec<String>,
    ) -> Outcome<()> {
        let serial = self.take_serial();
        let null = start::open_null()?;
        let mut containers = self.containers.iter();
        let found = containers.find(|container| container.id == container_id);
        let external = found.and_then(|container| container.external.as_ref());
        let external = external.ok_or_else(|| not_found(format!("container {container_id:?}")))?;
        let (errand, _pidfd) = errand::begin(Job {
            runtime: &external.runtime,
            container_id,
            purpose,
            command,
            standard: [null.as_fd(); 3],
            serial,
            preparation: None,
        })?;
        self.errands.push(errand);
        Ok(())
    }

    /// Reaps runs that have ended: what they leave behind is known only by them.
    pub(crate) fn reap_errands(&mut self) {
        let pids: Vec<_> = self.errands.iter().map(|errand| errand.pid).collect();
        for pid in pids {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if let Ok(Some(status)) = rustix::process::waitid(WaitId::Pid(pid), options) {
                self.errand_ended(ended(pid, &status));
            }
        }
    }

    /// A child has been reaped. Was it a run of a runtime?
    pub(crate) fn errand_ended(&mut self, ended: EndedChild) -> bool {
        let position = self.errands.iter().position(|run| run.pid == ended.pid);
        let Some(position) = position else {
            return false;
        };
        let errand = self.errands.swap_remove(position);
        let done = errand.done(ended);
        for notice in &done.notices {
            let text = format!("container {}: {notice}", errand.container_id);
            self.outbox.notice(text);
        }
        let id = &errand.container_id;
        match &errand.purpose {
            Purpose::Create => self.external_created(id, done),
            Purpose::Start => self.external_started(id, done.result),
            Purpose::Signal(request) => self.external_signalled(*request, id, done.result),
            Purpose::Delete => self.external_deleted(id, done.result),
            Purpose::Exec(exec) => self.external_exec_began(exec, done.result),
        }
        let container = self.container_mut(id);
        let external = container.and_then(|container| container.external.as_ref());
        if external.is_some_and(|external| external.deletion == Deletion::Due) {
            self.delete_externally(id);
        }
        if !self.errands.iter().any(Errand::leaves_a_process) {
            self.strangers.clear();
        }
        true
    }

    fn external_created(&mut self, container_id: &str, done: Done) {
        if let Some(container) = self.container_mut(container_id) {
            let serial = container.serial;
            self.hear_console(serial);
        }
        let Some(container) = self.container_mut(container_id) else {
            return;
        };
        container.pid = None;
        let made = done.result.and_then(|()| container.take_over());
        match made {
            // If it is being undone, taking it over has killed it.
            Ok(()) if matches!(container.stage, Stage::Undoing(_)) => {}
            Ok(()) => {
                container.user = done.user.unwrap_or_default();
                self.container_is_created(container_id);
            }
            Err(failure) => {
                if !matches!(container.stage, Stage::Undoing(_)) {
                    container.stage = Stage::Undoing(Some(failure));
                }
                self.forget_undone(container_id);
            }
        }
    }

    fn external_started(&mut self, container_id: &str, result: Outcome<()>) {
        let Some(container) = self.container_mut(container_id) else {
            return;
        };
        let mut waiting = std::mem::take(&mut container.waiting);
        match result {
            // A short program has ended by now.
            Ok(()) => {
                if matches!(container.stage, Stage::Starting) {
                    container.stage = Stage::Running;
                }
                let answer = container.started();
                self.outbox.answer_all(&mut waiting, &answer);
            }
            Err(failure) => {
                container.started_at = 0;
                let killed = signal::send(container.pidfd.as_fd(), signal::KILL);
                ignore(killed, "it is dead already");
                self.outbox.fail_all(&mut waiting, &failure);
            }
        }
    }

    fn external_signalled(
        &mut self,
        request: Option<u64>,
        container_id: &str,
        result: Outcome<()>,
    ) {
        let Some(request) = request else {
            return;
        };
        let has_ended = self
            .container_mut(container_id)
            .is_none_or(|container| container.pid.is_none());
        let answer = match result {
            Ok(()) => Answer::SignalContainer(Nothing {}),
            Err(failure) if has_ended => {
                Answer::Failure(wrong_state(failure.step, "it has exited"))
            }
            Err(failure) => Answer::Failure(failure),
        };
        self.outbox.answer(request, answer);
    }

    fn external_deleted(&mut self, container_id: &str, result: Outcome<()>) {
        if let Err(Failure { step, detail, .. }) = result {
            // Its processes are dead, and what it kept goes with the pod's directory.
            let text = format!("container {container_id}: {step}: {detail}");
            self.outbox.notice(text);
        }
        let Some(container) = self.container_mut(container_id) else {
            return;
        };
        let Some(external) = &mut container.external else {
            return;
        };
        external.deletion = Deletion::Done;
        let removals = std::mem::take(&mut external.removals);
        match container.stage {
            Stage::Undoing(_) => self.forget_undone(container_id),
            Stage::Exited { .. } => {
                for request in removals {
                    self.forget_exited(request, container_id);
                }
            }
            _ => {}
        }
    }
}

impl Container {
    /// The process that the runtime has left is this container's first one.
    fn take_over(&mut self) -> Outcome<()> {
        let step = || "find the process that the runtime has made".to_owned();
        let Some(external) = &self.external else {
            return Err(invalid(step(), "there is no runtime"));
        };
        let path = format!("{}/{PID_FILE}", external.runtime.bundle);
        let pid = process_in(&path).ok_or_else(|| invalid(step(), format!("none in {path:?}")))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).step(step)?;
        if !is_a_child(&pidfd) {
            let detail = format!("process {} is not the shim's", pid.as_raw_nonzero());
            return Err(invalid(step(), detail));
        }
        self.goes_on_as(Some(pidfd));
        Ok(())
    }

    /// Does its runtime still know of it?
    pub(crate) fn is_known_to_its_runtime(&self) -> bool {
        let external = self.external.as_ref();
        external.is_some_and(|external| external.deletion != Deletion::Done)
    }
}

fn ended(pid: rustix::process::Pid, status: &WaitIdStatus) -> EndedChild {
    let signal = status.terminating_signal().unwrap_or(0);
    EndedChild {
        pid,
        exit_code: match status.exit_status() {
            Some(code) => code,
            None => signal.saturating_add(128),
        },
        signal,
    }
}

/// Whether the process is a child of this one: waitid(2) fails for one that is not.
pub(super) fn is_a_child(pidfd: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options).is_ok()
}

impl Errand {
    /// Whether it is to leave a process behind.
    pub(crate) fn leaves_a_process(&self) -> bool {
        matches!(self.purpose, Purpose::Create | Purpose::Exec(_))
    }

    /// Its daemon is gone: nobody waits for an answer.
    pub(crate) fn forget_request(&mut self) {
        if let Purpose::Signal(request) = &mut self.purpose {
            *request = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_no_child() {
        let first = rustix::process::Pid::INIT;
        let Ok(pidfd) = rustix::process::pidfd_open(first, PidfdFlags::empty()) else {
            return;
        };
        assert!(!is_a_child(&pidfd));
        let mut child = std::process::Command::new("sleep")
            .arg("10")
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(is_a_child(&pidfd));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_a_child(&pidfd));
    }
}
