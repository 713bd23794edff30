//! A container's life in the shim: create, start, signal, exit, remove.

use crate::cleaner;
use crate::container::child::Ending;
use crate::container::child::Start;
use crate::container::child::ended_early;
use crate::container::entry::Entry;
use crate::container::listener::Listener;
use crate::container::plan;
use crate::container::start;
use crate::container::start::Birth;
use crate::container::start::Stdin;
use crate::container::start::Streams;
use crate::container::state::Container;
use crate::container::state::Stage;
use crate::exit_record;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::system;
use crate::failure::wrong_state;
use crate::oom::MemoryWatch;
use crate::poller::EventFlags;
use crate::poller::Token;
use crate::report;
use crate::report::Heard;
use crate::report::Report;
use crate::sandbox::Sandbox;
use crate::server::Server;
use crate::time;
use crate::user_namespace::UserNamespace;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use carpel_linux::signal;
use carpel_linux::socket;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::ContainerNamespace;
use carpel_shim_protocol::message::ContainerStarted;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::Done;
use carpel_shim_protocol::message::SignalContainer;
use carpel_shim_protocol::message::SignalScope;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

impl Server {
    pub(crate) fn container_mut(&mut self, id: &str) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|container| container.id == id)
    }

    pub(crate) fn by_serial(&mut self, serial: u32) -> Option<&mut Container> {
        self.containers
            .iter_mut()
            .find(|container| container.serial == serial)
    }

    /// CreateContainer: begins; the answer comes when the child reports.
    pub(crate) fn create_container(&mut self, id: u64, create: &CreateContainer) -> Outcome<()> {
        if let Some(container) = self.container_mut(&create.container_id) {
            match container.stage {
                Stage::Creating => container.waiting.push(id),
                Stage::Undoing(_) => {
                    return Err(wrong_state("create the container", "it is being removed"));
                }
                _ => {
                    let answer = created(container);
                    self.outbox.answer(id, answer);
                }
            }
            return Ok(());
        }
        check_id(&create.container_id)?;
        let mut container = match &create.oci_runtime {
            Some(runtime) => self.create_externally(create, runtime)?,
            None => self.clone_container(create, &plan::plan(create)?)?,
        };
        container.waiting.push(id);
        self.containers.push(container);
        self.watch_log();
        Ok(())
    }

    /// The sandbox, if it can have a container, with a directory for this one.
    pub(crate) fn make_place(&self, container_id: &str) -> Outcome<&Sandbox> {
        let sandbox = self
            .sandbox
            .as_ref()
            .filter(|sandbox| sandbox.infra.is_some());
        let sandbox = sandbox
            .ok_or_else(|| wrong_state("create the container", "the sandbox is not ready"))?;
        exit_record::make_directory(sandbox.directory(), container_id)
            .step(|| "make the container's directory".into())?;
        Ok(sandbox)
    }

    fn clone_container(
        &mut self,
        create: &CreateContainer,
        steps: &[plan::Step],
    ) -> Outcome<Container> {
        let process = create.process.as_ref();
        let process = process.ok_or_else(|| invalid("read the process", "it is missing"))?;
        let sandbox = self.make_place(&create.container_id)?;
        let cgroup = start::open_cgroup(&create.cgroup)?;
        let streams = if process.terminal {
            start::null_streams()?
        } else {
            start::streams(if create.stdin {
                Stdin::Pipe
            } else {
                Stdin::Null
            })?
        };
        let (control, child_control) = socket::pair().step(|| "make a control socket".into())?;
        let infra = sandbox.infra.as_ref().map(|(_, pidfd)| pidfd.as_fd());
        let (namespaces, pid_namespace_of) = self.pid_namespace(create, infra)?;
        let user_namespace = user_namespace(sandbox, create)?;
        let Streams {
            child,
            stdin,
            outputs,
        } = streams;
        let [input, output, error] = &child;
        let start = Start {
            steps,
            process,
            standard: [input.as_fd(), output.as_fd(), error.as_fd()],
            control: child_control.as_fd(),
            joined: infra,
            root_place: &sandbox.root_place(),
            pid_namespace_of,
            entry: user_namespace.map(|user_namespace| Entry {
                user_namespace: user_namespace.descriptor.as_fd(),
                root: user_namespace.root,
                namespaces,
            }),
            ending: Ending::WaitForRelease,
        };
        let birth = Birth {
            cgroup: cgroup.as_fd(),
            // With a user namespace the child is outside of it at first, with a mount namespace to gather things in.
            namespaces: match user_namespace {
                Some(_) => Namespaces::MOUNT,
                None => namespaces,
            },
        };
        let memory = MemoryWatch::new(&create.cgroup);
        let (pid, pidfd) =
            start::clone_child(&birth, &start).step(|| "clone the container".into())?;
        let mut container = Container::new(create, (pid, pidfd), Some(control));
        container.memory = memory;
        // The child's ends are the child's alone now: the log writer may be cloned next, and must not hold them open.
        drop((child_control, child));
        container.stdin = stdin;
        if let Err(failure) = self.take_in(&mut container, outputs) {
            container.undo(failure);
        }
        Ok(container)
    }

    /// Watches the child and hands its output to the log.
    pub(crate) fn take_in(
        &mut self,
        container: &mut Container,
        outputs: Option<(OwnedFd, OwnedFd)>,
    ) -> Outcome<()> {
        container.serial = self.take_serial();
        if let Some(control) = &container.control {
            let step = || "watch the container".to_owned();
            socket::set_nonblocking(control).step(step)?;
            let token = Token::Container(container.serial);
            self.poller
                .add(control.as_fd(), token, EventFlags::IN)
                .step(step)?;
        }
        if let Some(memory) = &container.memory {
            let token = Token::Memory(container.serial);
            let added = self.poller.add(memory.descriptor(), token, EventFlags::PRI);
            ignore(added, "the counters are read at the exit all the same");
        }
        if let Some((stdout, stderr)) = outputs {
            self.log
                .add(
                    &container.id,
                    container.log_path.as_bytes(),
                    stdout,
                    Some(stderr),
                )
                .step(|| format!("open the log {:?}", container.log_path))?;
        }
        Ok(())
    }

    fn pid_namespace<'a>(
        &'a self,
        create: &CreateContainer,
        infra: Option<BorrowedFd<'a>>,
    ) -> Outcome<(Namespaces, Option<BorrowedFd<'a>>)> {
        let step = "choose the pid namespace";
        match create.pid() {
            ContainerNamespace::NamespaceNew => Ok((Namespaces::MOUNT | Namespaces::PID, None)),
            ContainerNamespace::NamespaceHost => Ok((Namespaces::MOUNT, None)),
            ContainerNamespace::NamespacePod => {
                let shared = self
                    .sandbox
                    .as_ref()
                    .is_some_and(|sandbox| sandbox.shares_pids);
                match infra {
                    Some(infra) if shared => Ok((Namespaces::MOUNT, Some(infra))),
                    _ => Err(invalid(step, "the pod shares no pid namespace")),
                }
            }
            ContainerNamespace::NamespaceTarget => {
                let mut containers = self.containers.iter();
                let target = containers.find(|container| {
                    container.id == create.pid_target && matches!(container.stage, Stage::Running)
                });
                match target {
                    Some(target) => Ok((Namespaces::MOUNT, Some(target.pidfd.as_fd()))),
                    None => {
                        let detail =
                            format!("target container {:?} does not run", create.pid_target);
                        Err(invalid(step, detail))
                    }
                }
            }
        }
    }

    /// A container's child has something to say.
    pub(crate) fn hear_container(&mut self, serial: u32) {
        loop {
            let Some(container) = self.by_serial(serial) else {
                return;
            };
            let Some(control) = &container.control else {
                return;
            };
            match report::receive(control) {
                Heard::Nothing => return,
                Heard::Report(Report::Ready(report), _) => {
                    container.user = report.user.unwrap_or_default();
                    let id = container.id.clone();
                    return self.container_is_created(&id);
                }
                Heard::Report(Report::Born, pidfd) => container.goes_on_as(pidfd),
                Heard::Report(Report::Listener, listener) => {
                    if let Err(failure) = container.hand_listener_over(listener) {
                        let killed = signal::send(container.pidfd.as_fd(), signal::KILL);
                        ignore(killed, "it is dead already");
                        self.child_failed(serial, failure);
                    }
                }
                Heard::Report(Report::Terminal, Some(master)) => self.take_terminal(serial, master),
                Heard::Report(Report::Terminal, None) => {}
                Heard::Report(Report::Notice(notice), _) => {
                    let text = format!("container {}: {}", container.id, notice.text);
                    self.outbox.notice(text);
                }
                Heard::Report(Report::Failed(failure), _) => self.child_failed(serial, failure),
                Heard::End => return self.control_ended(serial),
            }
        }
    }

    /// A container waits to be started: answers who wait for that.
    pub(crate) fn container_is_created(&mut self, id: &str) {
        let Some(container) = self.container_mut(id) else {
            return;
        };
        container.stage = Stage::Created;
        container.mount_namespace = container.pid.and_then(cleaner::mount_namespace_of);
        let answer = created(container);
        let mut waiting = std::mem::take(&mut container.waiting);
        self.outbox.answer_all(&mut waiting, &answer);
        self.flush();
        // The request with its mounts and its environment was large.
        self.untidy = true;
    }

    pub(crate) fn take_terminal(&mut self, serial: u32, master: OwnedFd) {
        let Some(container) = self
            .containers
            .iter_mut()
            .find(|container| container.serial == serial)
        else {
            return;
        };
        let added = rustix::io::fcntl_dupfd_cloexec(&master, 3).and_then(|copy| {
            self.log
                .add(&container.id, container.log_path.as_bytes(), copy, None)
        });
        container.terminal = Some(master);
        if let Err(errno) = added {
            let failure = system(format!("open the log {:?}", container.log_path), errno);
            container.undo(failure);
        }
        self.watch_log();
    }

    pub(crate) fn child_failed(&mut self, serial: u32, failure: Failure) {
        let Some(container) = self.by_serial(serial) else {
            return;
        };
        if matches!(container.stage, Stage::Starting) {
            // Its end comes as an exit with the child's own code, 128.
            let mut waiting = std::mem::take(&mut container.waiting);
            container.started_at = 0;
            self.outbox.fail_all(&mut waiting, &failure);
        } else {
            container.undo(failure);
        }
    }

    /// The control socket is closed: the program runs, or the child is dead and about to be reaped.
    pub(crate) fn control_ended(&mut self, serial: u32) {
        let Some(container) = self.by_serial(serial) else {
            return;
        };
        let control = container.control.take();
        match container.stage {
            // Answered already if the child had failed.
            Stage::Starting => {
                container.stage = Stage::Running;
                let answer = container.started();
                let mut waiting = std::mem::take(&mut container.waiting);
                self.outbox.answer_all(&mut waiting, &answer);
                self.untidy = true;
            }
            Stage::Creating => container.undo(ended_early("create the container")),
            _ => {}
        }
        if let Some(control) = control {
            self.poller.remove(control.as_fd());
        }
    }

    /// StartContainer: releases the child; the answer comes when it has executed its program.
    pub(crate) fn start_container(&mut self, id: u64, container_id: &str) -> Outcome<()> {
        let step = || format!("start container {container_id:?}");
        if let Some(sandbox) = &mut self.sandbox
            && sandbox.is_settling()
        {
            sandbox.held_starts.push((id, container_id.to_owned()));
            return Ok(());
        }
        let container = self
            .container_mut(container_id)
            .ok_or_else(|| not_found(step()))?;
        match (&container.stage, &container.control) {
            (Stage::Created, None) if container.external.is_some() => {
                self.start_externally(id, container_id)
            }
            (Stage::Created, Some(control)) => {
                match container.listens.as_ref().map(Listener::connect) {
                    Some(Err(failure)) => {
                        let serial = container.serial;
                        self.give_start_up(id, serial, failure);
                        return Ok(());
                    }
                    connected => container.listener = connected.and_then(Result::ok),
                }
                socket::send(control.as_fd(), report::RELEASE, &[]).step(step)?;
                container.stage = Stage::Starting;
                container.started_at = time::wall_nanoseconds();
                container.waiting.push(id);
                Ok(())
            }
            (Stage::Starting, _) => {
                container.waiting.push(id);
                Ok(())
            }
            (Stage::Running, _) => {
                let answer = container.started();
                self.outbox.answer(id, answer);
                Ok(())
            }
            _ => Err(wrong_state(step(), "it was not created, or has exited")),
        }
    }

    /// SignalContainer.
    pub(crate) fn signal_container(&mut self, id: u64, request: &SignalContainer) -> Outcome<()> {
        let step = || {
            format!(
                "send signal {} to container {:?}",
                request.signal, request.container_id
            )
        };
        if !(1..=signal::LARGEST).contains(&request.signal) {
            return Err(invalid(step(), "no such signal"));
        }
        let container = self
            .container_mut(&request.container_id)
            .ok_or_else(|| not_found(step()))?;
        if container.pid.is_none() {
            return Err(wrong_state(step(), "it has exited"));
        }
        if request.signal == signal::KILL {
            container.killed_on_request = true;
        }
        match request.scope() {
            SignalScope::FirstProcess
                if container.external.is_some() && request.signal != signal::KILL =>
            {
                return self.signal_externally(id, &request.container_id, request.signal);
            }
            SignalScope::FirstProcess => {
                signal::send(container.pidfd.as_fd(), request.signal).step(step)?;
            }
            SignalScope::All if request.signal == signal::KILL => {
                container.kill_all().step(step)?;
            }
            SignalScope::All => {
                for pid in processes_of(&container.cgroup) {
                    if let Some(signal) = rustix::process::Signal::from_named_raw(request.signal) {
                        let sent = rustix::process::kill_process(pid, signal);
                        ignore(sent, "it has ended meanwhile");
                    }
                }
            }
        }
        self.outbox.answer(id, Answer::SignalContainer(Done {}));
        Ok(())
    }

    /// RemoveContainer: forgets an exited container; one that never ran is killed first.
    pub(crate) fn remove_container(&mut self, id: u64, container_id: &str) -> Outcome<()> {
        let step = || format!("remove container {container_id:?}");
        let container = self
            .container_mut(container_id)
            .ok_or_else(|| not_found(step()))?;
        match container.stage {
            Stage::Exited { .. } => {
                self.forget_exited(id, container_id);
                Ok(())
            }
            Stage::Created => {
                container.stage = Stage::Undoing(None);
                container.waiting.push(id);
                signal::send(container.pidfd.as_fd(), signal::KILL).step(step)
            }
            Stage::Undoing(None) => {
                container.waiting.push(id);
                Ok(())
            }
            _ => Err(wrong_state(step(), "it has not exited")),
        }
    }

    /// Forgets an exited container, once its runtime has.
    pub(crate) fn forget_exited(&mut self, id: u64, container_id: &str) {
        if let Some(container) = self.container_mut(container_id)
            && container.is_known_to_its_runtime()
            && let Some(external) = &mut container.external
        {
            external.removals.push(id);
            return;
        }
        self.containers
            .retain(|container| container.id != container_id);
        // A log that could not be finished in time, on a frozen file system, is given up now.
        self.log.remove(container_id);
        self.outbox.answer(id, Answer::RemoveContainer(Done {}));
        self.untidy = true;
    }

    /// Follows the log's descriptor, which it may have only once there is output.
    pub(crate) fn watch_log(&mut self) {
        let now = self.log.descriptor();
        let number = now.map(|descriptor| std::os::fd::AsRawFd::as_raw_fd(&descriptor));
        if number == self.log_watched {
            return;
        }
        if let Some(descriptor) = now {
            let added = self.poller.add(descriptor, Token::Log, EventFlags::IN);
            ignore(
                added,
                "it is in the set already if the number was used again",
            );
        }
        self.log_watched = number;
    }
}

impl Container {
    /// The child has made another process, which is the container from here on. Said later it comes from that one, which
    /// somebody in the pod may have taken over: no other process becomes the container.
    pub(crate) fn goes_on_as(&mut self, pidfd: Option<OwnedFd>) {
        if !self.is_creating() {
            return;
        }
        let found = pidfd.and_then(|pidfd| Some((process::number_of(pidfd.as_fd())?, pidfd)));
        // It has died, and is not reaped yet or has no number any more: the end of the control socket tells.
        let Some((pid, pidfd)) = found else {
            return;
        };
        self.pid = Some(pid);
        self.pidfd = pidfd;
        if matches!(self.stage, Stage::Undoing(_)) {
            let killed = signal::send(self.pidfd.as_fd(), signal::KILL);
            ignore(killed, "the child is dead already");
        }
    }

    /// Gives up a container that does not run yet: its requests get `failure` when the child has been reaped.
    pub(crate) fn undo(&mut self, failure: Failure) {
        if !matches!(self.stage, Stage::Undoing(Some(_))) {
            self.stage = Stage::Undoing(Some(failure));
        }
        let killed = signal::send(self.pidfd.as_fd(), signal::KILL);
        ignore(killed, "the child is dead already");
    }

    /// The answer to StartContainer.
    pub(crate) fn started(&self) -> Answer {
        Answer::StartContainer(ContainerStarted {
            started_at_nanoseconds: self.started_at,
        })
    }

    /// Kills every process of the cgroup and of those below it: cgroup.kill, Linux 5.14.
    ///
    /// Not for a child that never ran a program: it has no processes besides itself, and Linux 6.18 kills whatever is
    /// cloned later into a cgroup that was killed once (the count of kills is compared with that of the cloner's own
    /// cgroup), so that a second try with the same cgroup would fail.
    pub(crate) fn kill_all(&self) -> carpel_linux::Result<()> {
        process::write_file(&format!("{}/cgroup.kill", self.cgroup), b"1")
    }
}

/// The pod's user namespace, if the container is to be in it.
fn user_namespace<'a>(
    sandbox: &'a Sandbox,
    create: &CreateContainer,
) -> Outcome<Option<&'a UserNamespace>> {
    let namespace = sandbox.user_namespace.as_ref();
    if namespace.is_some() == create.user_namespace {
        return Ok(namespace);
    }
    Err(invalid(
        "choose the user namespace",
        "a container is where its pod is",
    ))
}

fn created(container: &Container) -> Answer {
    Answer::CreateContainer(ContainerCreated {
        pid: container.pid.map_or(0, |pid| pid.as_raw_nonzero().get()),
        user: Some(container.user.clone()),
    })
}

/// The processes of a cgroup, without those of cgroups below it.
pub(crate) fn processes_of(cgroup: &str) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("{cgroup}/cgroup.procs")).unwrap_or_default();
    let numbers = list.lines().filter_map(|line| line.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// An id is a name of a directory.
fn check_id(id: &str) -> Outcome<()> {
    let bad = id.is_empty() || id.len() > 200 || id.starts_with('.') || id.contains(['/', '\0']);
    if bad {
        return Err(invalid(
            "read the container's id",
            format!("{id:?} is no name"),
        ));
    }
    Ok(())
}
