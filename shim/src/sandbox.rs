//! The pod itself: its directory, its socket, its infra process.

use crate::container::start;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::failure::wrong_state;
use crate::infra;
use crate::infra::Reaping;
use crate::poller::EventFlags;
use crate::poller::Token;
use crate::report;
use crate::report::Heard;
use crate::report::Report;
use crate::server::Server;
use crate::user_namespace;
use crate::user_namespace::UserNamespace;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use carpel_linux::signal;
use carpel_linux::socket;
use carpel_shim_protocol::message::CreateSandbox;
use carpel_shim_protocol::message::InfraExited;
use carpel_shim_protocol::message::NamespaceSource;
use carpel_shim_protocol::message::SandboxCreated;
use carpel_shim_protocol::message::event::Body;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// RLIMIT_NOFILE
const LIMIT_FILES: u32 = 7;
/// Where roots are mounted, each in the mount namespace of its own process; an empty directory of the pod's.
const ROOT_PLACE: &str = "root";

/// What there is of the pod besides its containers.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    /// Host path of the pod's directory.
    path: String,
    directory: OwnedFd,
    pub(crate) listener: Option<OwnedFd>,
    pub(crate) infra: Option<(Pid, OwnedFd)>,
    pub(crate) infra_exited: bool,
    /// Until the infra process has given up its rights, or is dead.
    infra_control: Option<OwnedFd>,
    /// StartContainer requests that came before that.
    pub(crate) held_starts: Vec<(u64, String)>,
    /// Why making it failed; it is forgotten when the infra process is reaped.
    failure: Option<Failure>,
    ready: bool,
    pub(crate) shares_pids: bool,
    /// The pod's user namespace, if it has one.
    pub(crate) user_namespace: Option<UserNamespace>,
    /// CreateSandbox requests.
    pub(crate) waiting: Vec<u64>,
}

impl Sandbox {
    /// The infra process by number; 0 when there is none.
    pub(crate) fn infra_number(&self) -> i32 {
        self.infra
            .as_ref()
            .map_or(0, |(pid, _)| pid.as_raw_nonzero().get())
    }

    /// Whether the infra process has rights that no container's program may meet.
    pub(crate) fn is_settling(&self) -> bool {
        self.infra_control.is_some()
    }

    /// The host directory where a child mounts its root.
    pub(crate) fn root_place(&self) -> String {
        format!("{}/{ROOT_PLACE}", self.path)
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Server {
    /// CreateSandbox: begins to make the infra process; the answer comes when it reports.
    pub(crate) fn create_sandbox(
        &mut self,
        id: u64,
        create: &CreateSandbox,
        descriptors: Vec<OwnedFd>,
    ) -> Outcome<()> {
        if let Some(sandbox) = &mut self.sandbox {
            if sandbox.id != create.sandbox_id || sandbox.infra_exited || sandbox.failure.is_some()
            {
                return Err(wrong_state("create the sandbox", "this shim has one"));
            }
            sandbox.waiting.push(id);
            self.answer_create_sandbox();
            return Ok(());
        }
        let namespaces = new_namespaces(create)?;
        let network = match (create.network(), descriptors.len()) {
            (NamespaceSource::Descriptor, 1) => descriptors.into_iter().next(),
            (NamespaceSource::Descriptor, _) | (_, 1..) => {
                return Err(invalid(
                    "read the sandbox",
                    "the network's descriptor is missing or not wanted",
                ));
            }
            _ => None,
        };
        if create.nofile_hard != 0 {
            process::set_limit(LIMIT_FILES, create.nofile_soft, create.nofile_hard)
                .step(|| "set the limit of open files".into())?;
        }
        if !create.shim_cgroup.is_empty() {
            process::write_file(&format!("{}/cgroup.procs", create.shim_cgroup), b"0")
                .step(|| format!("enter cgroup {:?}", create.shim_cgroup))?;
        }
        let mut sandbox = open(create)?;
        if let Err(failure) = self.clone_infra(&mut sandbox, create, namespaces, network.as_ref()) {
            if let Some((_, pidfd)) = &sandbox.infra {
                ignore(signal::send(pidfd.as_fd(), signal::KILL), "it is a zombie");
            }
            sandbox.tidy();
            return Err(failure);
        }
        sandbox.waiting.push(id);
        self.sandbox = Some(sandbox);
        Ok(())
    }

    fn clone_infra(
        &mut self,
        sandbox: &mut Sandbox,
        create: &CreateSandbox,
        namespaces: Namespaces,
        network: Option<&OwnedFd>,
    ) -> Outcome<()> {
        let cgroup = start::open_cgroup(&create.infra_cgroup)?;
        let null = start::open_null()?;
        let (control, child_control) = socket::pair().step(|| "make a control socket".into())?;
        let start = infra::Start {
            control: child_control.as_fd(),
            null: null.as_fd(),
            network: network.map(AsFd::as_fd),
            hostname: &create.hostname,
            sysctls: &create.sysctls,
            root_place: &sandbox.root_place(),
            reaping: if sandbox.shares_pids {
                Reaping::FirstProcess
            } else {
                Reaping::Nobody
            },
            mapped_ids: user_namespace::mapped_ids(create),
        };
        let request = CloneRequest {
            namespaces,
            cgroup: Some(cgroup.as_fd()),
            ..CloneRequest::default()
        };
        match clone_process(&request).step(|| "clone the infra process".into())? {
            Cloned::Child(child) => infra::run(&child, &start),
            Cloned::Parent { pid, pidfd } => {
                sandbox.infra = Some((pid, pidfd));
                sandbox.user_namespace = user_namespace::map(pid, create)?;
                if sandbox.user_namespace.is_some() {
                    socket::send(control.as_fd(), report::RELEASE, &[])
                        .step(|| "tell the infra process of its mappings".into())?;
                }
                socket::set_nonblocking(&control).step(|| "watch the infra process".into())?;
                self.poller
                    .add(control.as_fd(), Token::Infra, EventFlags::IN)
                    .step(|| "watch the infra process".into())?;
                sandbox.infra_control = Some(control);
                Ok(())
            }
        }
    }

    /// The infra process has something to say.
    pub(crate) fn hear_infra(&mut self) {
        let Some(sandbox) = &mut self.sandbox else {
            return;
        };
        let Some(control) = &sandbox.infra_control else {
            return;
        };
        match report::receive(control) {
            Heard::Nothing => return,
            Heard::Report(Report::Ready(_), _) => {
                sandbox.ready = true;
                match listen(sandbox.directory.as_fd(), &self.poller) {
                    Ok(listener) => sandbox.listener = Some(listener),
                    Err(failure) => sandbox.failure = Some(failure),
                }
            }
            // The request has its answer; the end of the process comes as an event.
            Heard::Report(Report::Failed(failure), _) if sandbox.ready => {
                let text = format!("infra process: {}: {}", failure.step, failure.detail);
                return self.outbox.notice(text);
            }
            Heard::Report(Report::Failed(failure), _) => sandbox.failure = Some(failure),
            Heard::Report(_, _) => return,
            Heard::End if sandbox.ready => return self.infra_settled(),
            Heard::End => sandbox.failure = Some(infra::ended_early()),
        }
        if sandbox.failure.is_none() {
            self.answer_create_sandbox();
            self.flush();
            process::trim_memory();
            return self.log.prepare();
        }
        if let Some((_, pidfd)) = &sandbox.infra {
            ignore(
                signal::send(pidfd.as_fd(), signal::KILL),
                "it is gone already",
            );
        }
        if let Some(control) = sandbox.infra_control.take() {
            self.poller.remove(control.as_fd());
        }
    }

    /// The infra process has nothing left to take, or is dead: programs may run.
    fn infra_settled(&mut self) {
        let Some(sandbox) = &mut self.sandbox else {
            return;
        };
        if let Some(control) = sandbox.infra_control.take() {
            self.poller.remove(control.as_fd());
        }
        for (id, container_id) in std::mem::take(&mut sandbox.held_starts) {
            if let Err(failure) = self.start_container(id, &container_id) {
                self.outbox.answer(id, Answer::Failure(failure));
            }
        }
    }

    fn answer_create_sandbox(&mut self) {
        let Some(sandbox) = &mut self.sandbox else {
            return;
        };
        if !sandbox.ready {
            return;
        }
        let created = SandboxCreated {
            infra_pid: sandbox.infra_number(),
            shim_pid: rustix::process::getpid().as_raw_nonzero().get(),
        };
        self.outbox
            .answer_all(&mut sandbox.waiting, &Answer::CreateSandbox(created));
    }

    /// The infra process has been reaped.
    pub(crate) fn infra_exited(&mut self, exit_code: i32, signal: i32) {
        self.hear_infra();
        let Some(sandbox) = &mut self.sandbox else {
            return;
        };
        sandbox.infra = None;
        sandbox.infra_exited = true;
        if !sandbox.ready || sandbox.failure.is_some() {
            let failure = sandbox.failure.take().unwrap_or_else(infra::ended_early);
            self.outbox.fail_all(&mut sandbox.waiting, &failure);
            if let Some(sandbox) = self.sandbox.take() {
                sandbox.tidy();
            }
            return;
        }
        if self.shutting_down.is_none() {
            let exited = InfraExited { exit_code, signal };
            self.outbox.announce(Body::InfraExited(exited));
        }
    }
}

impl Sandbox {
    /// Takes away what the shim had made in the pod's directory, but for the exit records.
    pub(crate) fn tidy(&self) {
        let removals = [
            ("shim.sock", rustix::fs::AtFlags::empty()),
            (ROOT_PLACE, rustix::fs::AtFlags::REMOVEDIR),
        ];
        for (name, flags) in removals {
            let removed = rustix::fs::unlinkat(&self.directory, name, flags);
            ignore(removed, "what is not there need not go");
        }
    }
}

fn open(create: &CreateSandbox) -> Outcome<Sandbox> {
    let step = || format!("open the pod's directory {:?}", create.directory);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(create.directory.as_str(), flags, Mode::empty()).step(step)?;
    match rustix::fs::mkdirat(&directory, ROOT_PLACE, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(crate::failure::system(step(), errno)),
    }
    Ok(Sandbox {
        id: create.sandbox_id.clone(),
        path: create.directory.clone(),
        directory,
        listener: None,
        infra: None,
        infra_exited: false,
        infra_control: None,
        held_starts: Vec::new(),
        failure: None,
        ready: false,
        shares_pids: create.pid() == NamespaceSource::New,
        user_namespace: None,
        waiting: Vec::new(),
    })
}

fn listen(directory: BorrowedFd<'_>, poller: &crate::poller::Poller) -> Outcome<OwnedFd> {
    let step = || "listen on shim.sock".to_owned();
    let listener = socket::listen_in(directory, "shim.sock").step(step)?;
    poller
        .add(listener.as_fd(), Token::Listener, EventFlags::IN)
        .step(step)?;
    Ok(listener)
}

fn new_namespaces(create: &CreateSandbox) -> Outcome<Namespaces> {
    let mut namespaces = Namespaces::MOUNT;
    if user_namespace::is_wanted(create)? {
        namespaces = namespaces | Namespaces::USER;
    }
    for (name, source, namespace) in [
        ("network", create.network(), Namespaces::NETWORK),
        ("ipc", create.ipc(), Namespaces::IPC),
        ("uts", create.uts(), Namespaces::UTS),
        ("pid", create.pid(), Namespaces::PID),
    ] {
        match source {
            NamespaceSource::New => namespaces = namespaces | namespace,
            NamespaceSource::Descriptor if name != "network" => {
                let detail = format!("the {name} namespace cannot be given");
                return Err(invalid("read the sandbox", detail));
            }
            NamespaceSource::Descriptor | NamespaceSource::Host => {}
        }
    }
    if !create.hostname.is_empty() && create.uts() != NamespaceSource::New {
        return Err(invalid(
            "read the sandbox",
            "a hostname without a uts namespace",
        ));
    }
    Ok(namespaces)
}
