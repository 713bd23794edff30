//! Processes that are added to a running container.

use crate::container::child::Ending;
use crate::container::child::Start;
use crate::container::child::ended_early;
use crate::container::lifecycle::processes_of;
use crate::container::listener::Listener;
use crate::container::plan;
use crate::container::plan::Step;
use crate::container::start;
use crate::container::start::Birth;
use crate::container::state::Exec;
use crate::container::state::Stage;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::system;
use crate::failure::wrong_state;
use crate::poller::EventFlags;
use crate::poller::Token;
use crate::report;
use crate::report::Heard;
use crate::report::Report;
use crate::server::Server;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use carpel_linux::process::EndedChild;
use carpel_linux::signal;
use carpel_linux::socket;
use carpel_shim_protocol::message::Exec as ExecRequest;
use carpel_shim_protocol::message::ExecExited;
use carpel_shim_protocol::message::ExecStarted;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::event::Body;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

impl Server {
    /// Exec: begins; the answer comes when the program runs.
    pub(crate) fn exec(
        &mut self,
        id: u64,
        request: &ExecRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Outcome<()> {
        let step = || format!("execute in container {:?}", request.container_id);
        if let Some(exec) = self
            .execs
            .iter_mut()
            .find(|exec| exec.id == request.exec_id)
        {
            if exec.is_beginning() {
                exec.waiting.push(id);
            } else {
                let answer = exec_started(exec.pid);
                self.outbox.answer(id, answer);
            }
            return Ok(());
        }
        let mut containers = self.containers.iter();
        let container = containers
            .find(|container| container.id == request.container_id)
            .ok_or_else(|| not_found(step()))?;
        if !matches!(container.stage, Stage::Running) {
            return Err(wrong_state(step(), "it does not run"));
        }
        let process = request.process.as_ref();
        let process = process.ok_or_else(|| invalid(step(), "the process is missing"))?;
        let standard = streams(process, descriptors)?;
        if container.external.is_some() {
            return self.exec_externally(id, request, &standard);
        }
        let listens = process.seccomp_listener.as_ref();
        let listener = listens.map(Listener::connect).transpose()?;
        let steps = plan_exec(process, container.in_user_namespace)?;
        let [input, output, error] = &standard;
        let (control, child_control) = socket::pair().step(|| "make a control socket".into())?;
        let start = Start {
            steps: &steps,
            process,
            standard: [input.as_fd(), output.as_fd(), error.as_fd()],
            control: child_control.as_fd(),
            joined: Some(container.pidfd.as_fd()),
            root_place: "",
            pid_namespace_of: None,
            entry: None,
            ending: Ending::ExecuteAtOnce,
        };
        let first = container.pid;
        let (pid, _pidfd) = clone_into(&container.cgroup, first, &start).step(step)?;
        drop(child_control);
        let serial = self.take_serial();
        let watched = socket::set_nonblocking(&control).and_then(|()| {
            self.poller
                .add(control.as_fd(), Token::Exec(serial), EventFlags::IN)
        });
        let mut exec = Exec::new(serial, request, pid);
        exec.control = Some(control);
        exec.listener = listener;
        exec.waiting.push(id);
        if let Err(failure) = watched.step(|| "watch the exec".into()) {
            exec.failure = Some(failure);
            exec.kill("");
        }
        self.execs.push(exec);
        Ok(())
    }

    /// An exec's child has something to say.
    pub(crate) fn hear_exec(&mut self, serial: u32) {
        loop {
            let mut execs = self.execs.iter_mut();
            let Some(exec) = execs.find(|exec| exec.serial == serial) else {
                return;
            };
            let Some(control) = &exec.control else {
                return;
            };
            match report::receive(control) {
                Heard::Nothing => return,
                Heard::Report(Report::Terminal, master) => exec.terminal = master,
                Heard::Report(Report::Failed(failure), _) => exec.failure = Some(failure),
                Heard::Report(Report::Notice(notice), _) => {
                    let text = format!("exec {}: {}", exec.id, notice.text);
                    self.outbox.notice(text);
                }
                Heard::Report(Report::Born, pidfd) => exec.goes_on_as(pidfd),
                Heard::Report(Report::Listener, listener) => {
                    let mut containers = self.containers.iter();
                    let found = containers.find(|container| container.id == exec.container_id);
                    let first = found.and_then(|container| container.pid);
                    if let Err(failure) = exec.hand_listener_over(listener, first) {
                        exec.failure = Some(failure);
                        exec.kill("");
                    }
                }
                Heard::Report(Report::Ready(_), _) => {}
                Heard::End => {
                    if let Some(control) = exec.control.take() {
                        self.poller.remove(control.as_fd());
                    }
                    return self.answer_exec(serial);
                }
            }
        }
    }

    pub(crate) fn answer_exec(&mut self, serial: u32) {
        let mut execs = self.execs.iter_mut();
        let Some(exec) = execs.find(|exec| exec.serial == serial) else {
            return;
        };
        // A failed one is answered when it has been reaped: nothing of it is left then.
        if exec.failure.is_some() {
            return;
        }
        let answer = exec_started(exec.pid);
        for id in std::mem::take(&mut exec.waiting) {
            let descriptors = exec.terminal.take().into_iter().collect();
            self.outbox.answer_with(id, answer.clone(), descriptors);
        }
    }

    /// An exec's process has been reaped.
    pub(crate) fn exec_ended(&mut self, ended: EndedChild) {
        let pid = ended.pid;
        let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) else {
            return;
        };
        let mut exec = self.execs.swap_remove(index);
        if exec.control.is_some() && exec.failure.is_none() {
            let step = "execute in the container";
            exec.failure = Some(if exec.timed_out {
                system(
                    format!("{step}: its time was up before the program ran"),
                    Errno::TIMEDOUT,
                )
            } else {
                ended_early(step)
            });
        }
        if let Some(failure) = &exec.failure {
            self.outbox.fail_all(&mut exec.waiting, failure);
            return;
        }
        self.outbox.announce(Body::ExecExited(ExecExited {
            exec_id: exec.id,
            container_id: exec.container_id,
            exit_code: ended.exit_code,
            signal: ended.signal,
            timed_out: exec.timed_out,
        }));
        self.flush();
        // Probes come for ever: what one has taken is not kept until the next.
        self.untidy = true;
    }

    /// KillExec: kills an exec with all of its session. Its end is told by an event, as any other.
    pub(crate) fn kill_exec(&mut self, exec_id: &str) -> Outcome<()> {
        self.hear_beginning_execs();
        let mut execs = self.execs.iter_mut();
        let found = execs.find(|exec| exec.id == exec_id);
        let exec = found.ok_or_else(|| not_found(format!("kill exec {exec_id:?}")))?;
        let mut containers = self.containers.iter();
        let container = containers.find(|container| container.id == exec.container_id);
        exec.kill(container.map_or("", |container| &container.cgroup));
        Ok(())
    }

    /// Reads what execs have said whose program does not run yet: another process may go on in a child's place.
    pub(crate) fn hear_beginning_execs(&mut self) {
        let beginning = self.execs.iter().filter(|exec| exec.control.is_some());
        let serials: Vec<u32> = beginning.map(|exec| exec.serial).collect();
        for serial in serials {
            self.hear_exec(serial);
        }
    }

    /// Kills execs whose time is up, with all of their session.
    pub(crate) fn end_late_execs(&mut self, now: u64) {
        let is_late = |exec: &Exec| exec.deadline.is_some_and(|deadline| deadline <= now);
        if self.execs.iter().any(is_late) {
            self.hear_beginning_execs();
        }
        for exec in &mut self.execs {
            if exec.deadline.is_some_and(|deadline| deadline <= now) {
                exec.deadline = None;
                exec.timed_out = true;
                let mut containers = self.containers.iter();
                let found = containers.find(|container| container.id == exec.container_id);
                exec.kill(found.map_or("", |container| &container.cgroup));
            }
        }
    }

    /// Kills the execs of a container that has ended. Those in its cgroup are dying already; one that moved is not.
    pub(crate) fn kill_execs_of(&mut self, container_id: &str) {
        for exec in self
            .execs
            .iter_mut()
            .filter(|exec| exec.container_id == container_id)
        {
            exec.kill("");
        }
    }
}

impl Exec {
    /// The child has made another process, which becomes the program. Once: that one may have been taken over by somebody
    /// in the container.
    fn goes_on_as(&mut self, pidfd: Option<OwnedFd>) {
        if std::mem::replace(&mut self.has_gone_on, true) {
            return;
        }
        let pid = pidfd.and_then(|pidfd| process::number_of(pidfd.as_fd()));
        // None: it has been reaped, and the end of the control socket tells the rest.
        if let Some(pid) = pid {
            self.pid = pid;
            if self.killed {
                self.kill("");
            }
        }
    }

    /// Kills the process group, and every process of the cgroup that is in this session.
    pub(crate) fn kill(&mut self, cgroup: &str) {
        self.killed = true;
        ignore(
            signal::kill_group(self.pid),
            "the leader is a zombie at least until it is reaped",
        );
        // By itself too: it leads a group only after its first steps.
        let killed = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
        ignore(killed, "it is a zombie");
        if cgroup.is_empty() {
            return;
        }
        let external = self.external.as_ref();
        let own = external.map_or(self.pid, |external| external.session);
        for pid in processes_of(cgroup) {
            let session = rustix::process::getsid(Some(pid));
            if session.is_ok_and(|session| session == self.pid || session == own) {
                let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                ignore(killed, "it has ended meanwhile");
            }
        }
    }
}

fn exec_started(pid: Pid) -> Answer {
    Answer::Exec(ExecStarted {
        pid: pid.as_raw_nonzero().get(),
    })
}

fn plan_exec(process: &Process, in_user_namespace: bool) -> Outcome<Vec<Step>> {
    plan::check_process(process)?;
    let mut steps = Vec::new();
    plan::plan_process_attributes(process, &mut steps);
    let all = Namespaces::NETWORK
        | Namespaces::IPC
        | Namespaces::UTS
        | Namespaces::CGROUP
        | Namespaces::MOUNT
        | Namespaces::PID;
    if in_user_namespace {
        steps.extend(process.rlimits.iter().copied().map(Step::Limit));
        steps.push(Step::JoinPod(all | Namespaces::USER));
        steps.push(Step::BecomeRoot);
    } else {
        steps.push(Step::JoinPod(all));
    }
    steps.push(Step::ResolveUser(process.user.clone().unwrap_or_default()));
    let directory = match process.working_directory.as_str() {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => {
            return Err(invalid(
                "read the process",
                format!("{path:?} is not absolute"),
            ));
        }
    };
    steps.push(Step::ExistingDirectory(directory));
    if !in_user_namespace {
        steps.extend(process.rlimits.iter().copied().map(Step::Limit));
    }
    Ok(steps)
}

fn streams(process: &Process, descriptors: Vec<OwnedFd>) -> Outcome<[OwnedFd; 3]> {
    if process.terminal && descriptors.is_empty() {
        return start::null_streams().map(|streams| streams.child);
    }
    descriptors.try_into().map_err(|_wrong| {
        invalid(
            "read the exec",
            "it takes three descriptors, or none with a terminal",
        )
    })
}

/// Clones into the container's cgroup. EBUSY: the container has delegated it to cgroups of its own, so go where its first
/// process is.
fn clone_into(
    cgroup: &str,
    first: Option<Pid>,
    start: &Start<'_>,
) -> carpel_linux::Result<(Pid, OwnedFd)> {
    let attempt = |path: &str| {
        let flags =
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|errno| carpel_linux::Error::new(format!("open({path:?})"), errno))?;
        let birth = Birth {
            cgroup: directory.as_fd(),
            namespaces: Namespaces::NONE,
        };
        start::clone_child(&birth, start)
    };
    match attempt(cgroup) {
        Err(error) if error.errno() == Errno::BUSY => {
            match first.and_then(|first| cgroup_of(first, cgroup)) {
                Some(path) => attempt(&path),
                None => Err(error),
            }
        }
        result => result,
    }
}

/// The host directory of a process's cgroup, which is below that of its container.
fn cgroup_of(process: Pid, container: &str) -> Option<String> {
    let path = format!("/proc/{}/cgroup", process.as_raw_nonzero());
    let text = std::fs::read_to_string(path).ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    below(container, own)
}

/// `container` is a host directory, `own` a path in the cgroup hierarchy: what they share tells where it is mounted.
fn below(container: &str, own: &str) -> Option<String> {
    let slashes = container.match_indices('/').map(|(index, _)| index);
    for index in slashes {
        let (mount, inside) = container.split_at_checked(index)?;
        let rest = own.strip_prefix(inside);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Some(format!("{mount}{own}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn the_cgroup_of_a_process_is_found_below_that_of_its_container() {
        let container = "/sys/fs/cgroup/unified/carpel/pod/a";
        let found = below(container, "/carpel/pod/a/init.scope");
        assert_eq!(
            found.unwrap(),
            "/sys/fs/cgroup/unified/carpel/pod/a/init.scope"
        );
        assert_eq!(below(container, "/carpel/pod/ab"), None);
        assert_eq!(below(container, "/other"), None);
    }
}
