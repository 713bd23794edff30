//! Execs in a container of another runtime: `exec --detach` leaves the process to the shim, which is then as any exec.

use crate::container::state::Exec;
use crate::external::ExternalExec;
use crate::external::console::Console;
use crate::external::errand;
use crate::external::errand::Job;
use crate::external::errand::Purpose;
use crate::external::life::is_a_child;
use crate::external::process_in;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::system;
use crate::server::Server;
use carpel_shim_protocol::message::Exec as ExecRequest;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// The files of an exec in the bundle.
struct Files {
    process: String,
    pid: String,
}

impl Files {
    fn new(bundle: &str, serial: u32) -> Self {
        Self {
            process: format!("{bundle}/exec-{serial}.json"),
            pid: format!("{bundle}/exec-{serial}.pid"),
        }
    }

    fn remove(&self) {
        for file in [&self.process, &self.pid] {
            ignore(
                rustix::fs::unlink(file.as_str()),
                "what is not there need not go",
            );
        }
    }
}

impl Server {
    /// Begins an exec by the container's runtime.
    pub(crate) fn exec_externally(
        &mut self,
        id: u64,
        request: &ExecRequest,
        standard: &[OwnedFd; 3],
    ) -> Outcome<()> {
        let step = || format!("execute in container {:?}", request.container_id);
        if request.oci_process.is_empty() {
            return Err(invalid(step(), "the runtime's process is missing"));
        }
        let serial = self.take_serial();
        let mut containers = self.containers.iter();
        let found = containers.find(|container| container.id == request.container_id);
        let external = found.and_then(|container| container.external.as_ref());
        let runtime = &external.ok_or_else(|| not_found(step()))?.runtime;
        let files = Files::new(&runtime.bundle, serial);
        errand::write(&files.process, request.oci_process.as_bytes()).step(step)?;
        let begin = ["exec", "--detach", "--process", &files.process];
        let mut command: Vec<String> = begin.map(str::to_owned).into();
        command.extend(["--pid-file".to_owned(), files.pid.clone()]);
        let has_terminal = request.process.as_ref().is_some_and(|it| it.terminal);
        let console = if has_terminal {
            let console = Console::listen(&runtime.bundle, format!("exec-{serial}.sock"))?;
            console.watch(&self.poller, serial)?;
            command.extend(["--console-socket".to_owned(), console.name.clone()]);
            Some(console)
        } else {
            None
        };
        command.push(request.container_id.clone());
        let [input, output, error] = standard;
        let (errand, _pidfd) = errand::begin(Job {
            runtime,
            container_id: &request.container_id,
            purpose: Purpose::Exec(request.exec_id.clone()),
            command,
            standard: [input.as_fd(), output.as_fd(), error.as_fd()],
            serial,
            preparation: None,
        })?;
        let runner = errand.pid;
        self.errands.push(errand);
        let mut exec = Exec::new(serial, request, runner);
        exec.external = Some(ExternalExec {
            session: runner,
            is_beginning: true,
            console,
        });
        exec.waiting.push(id);
        self.execs.push(exec);
        Ok(())
    }

    /// The runtime has begun an exec, or could not.
    pub(super) fn external_exec_began(&mut self, exec_id: &str, result: Outcome<()>) {
        let is_it = |exec: &Exec| exec.id == exec_id;
        if let Some(exec) = self.execs.iter().find(|exec| is_it(exec)) {
            let serial = exec.serial;
            self.hear_console(serial);
        }
        let Some(position) = self.execs.iter().position(is_it) else {
            return;
        };
        let Some(exec) = self.execs.get_mut(position) else {
            return;
        };
        let mut containers = self.containers.iter();
        let found = containers.find(|container| container.id == exec.container_id);
        let external = found.and_then(|container| container.external.as_ref());
        let files = external.map(|external| Files::new(&external.runtime.bundle, exec.serial));
        let left = files.as_ref().and_then(|files| process_in(&files.pid));
        if let Some(files) = files {
            files.remove();
        }
        // crun leaves the process before it ends itself: a short program has been reaped by now.
        let reaped = self
            .strangers
            .iter()
            .find(|it| Some(it.pid) == left)
            .copied();
        let began = match reaped {
            Some(reaped) => result.map(|()| reaped.pid),
            None => result.and_then(|()| child_of(left)),
        };
        match began {
            Ok(pid) => {
                exec.pid = pid;
                let serial = exec.serial;
                if let Some(external) = &mut exec.external {
                    external.is_beginning = false;
                    if let Ok(session) = rustix::process::getsid(Some(pid)) {
                        external.session = session;
                    }
                }
                if exec.killed {
                    exec.kill("");
                }
                self.answer_exec(serial);
                if let Some(reaped) = reaped {
                    self.exec_ended(reaped);
                }
            }
            Err(failure) => {
                let mut exec = self.execs.swap_remove(position);
                if let Some(console) = exec.external.and_then(|external| external.console) {
                    console.close(&self.poller);
                }
                let failure = if exec.timed_out {
                    let step = "execute in the container: its time was up before the program ran";
                    system(step, Errno::TIMEDOUT)
                } else {
                    failure
                };
                self.outbox.fail_all(&mut exec.waiting, &failure);
            }
        }
    }
}

fn child_of(pid: Option<Pid>) -> Outcome<Pid> {
    let step = || "find the process that the runtime has made".to_owned();
    let pid = pid.ok_or_else(|| invalid(step(), "it names none"))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).step(step)?;
    match is_a_child(&pidfd) {
        true => Ok(pid),
        false => Err(invalid(step(), "it is not the shim's")),
    }
}
