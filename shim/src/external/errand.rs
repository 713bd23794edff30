//! One run of a runtime's program: cloned from the shim, in the shim's cgroup and the host's namespaces, and waited for by
//! the reaper like any child.
//!
//! For create it first mounts the container's root and looks its user up, in a mount namespace of its own that the runtime
//! inherits: the host never sees that mount, and it goes with the container.

use crate::container::filesystem;
use crate::container::overlay;
use crate::container::user;
use crate::external::complaint;
use crate::failure;
use crate::failure::Failure;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use crate::failure::invalid;
use crate::report;
use crate::report::Heard;
use crate::report::Report;
use carpel_linux::clone::ChildProcess;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_linux::mount::Propagation;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process;
use carpel_linux::process::EndedChild;
use carpel_linux::signal;
use carpel_linux::socket;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::FailureKind;
use carpel_shim_protocol::message::OciRuntime;
use carpel_shim_protocol::message::ResolvedUser;
use carpel_shim_protocol::message::Root;
use carpel_shim_protocol::message::User;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Where a runtime looks for cgroup2.
const CGROUP_MOUNT: &str = "/sys/fs/cgroup";
/// What a runtime may need to find its own tools.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The exit code of a child that did not become the runtime.
const FAILED: i32 = 128;

/// What a run is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Create,
    Start,
    /// The SignalContainer request that waits for it; none: its daemon is gone.
    Signal(Option<u64>),
    Delete,
    /// The exec, by its id.
    Exec(String),
}

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) pid: Pid,
    pub(crate) container_id: String,
    pub(crate) purpose: Purpose,
    /// What is run, for messages: `/usr/sbin/runc create`.
    line: String,
    control: OwnedFd,
    log: String,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) runtime: &'a OciRuntime,
    pub(crate) container_id: &'a str,
    pub(crate) purpose: Purpose,
    /// The command and its options.
    pub(crate) command: Vec<String>,
    /// Standard input, output, error: what the runtime passes on to what it begins.
    pub(crate) standard: [BorrowedFd<'a>; 3],
    /// A name for its log, of this run alone.
    pub(crate) serial: u32,
    pub(crate) preparation: Option<Preparation<'a>>,
}

/// What comes before create.
#[derive(Debug)]
pub(crate) struct Preparation<'a> {
    pub(crate) root: &'a Root,
    /// An empty directory of the host, where the root is mounted.
    pub(crate) root_place: &'a str,
    pub(crate) user: &'a User,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Outcome<()>,
    /// Of create.
    pub(crate) user: Option<ResolvedUser>,
    pub(crate) notices: Vec<String>,
}

/// Begins a run; its pidfd too.
pub(crate) fn begin(job: Job<'_>) -> Outcome<(Errand, OwnedFd)> {
    let line = match job.command.first() {
        Some(command) => format!("{} {command}", job.runtime.program),
        None => job.runtime.program.clone(),
    };
    let log = format!("{}/runtime-{}.log", job.runtime.bundle, job.serial);
    let (control, child_control) = socket::pair().step(|| "make a control socket".into())?;
    let namespaces = match (&job.preparation, job.runtime.cgroup_mount.as_str()) {
        (None, "") => Namespaces::NONE,
        _ => Namespaces::MOUNT,
    };
    let request = CloneRequest {
        namespaces,
        ..CloneRequest::default()
    };
    match clone_process(&request).step(|| format!("clone a process for {line}"))? {
        Cloned::Child(child) => run(&child, &job, &log, child_control.as_fd()),
        Cloned::Parent { pid, pidfd } => {
            // It is heard at its end alone, which comes by SIGCHLD.
            socket::set_nonblocking(&control).step(|| "watch the runtime".into())?;
            let errand = Errand {
                pid,
                container_id: job.container_id.to_owned(),
                purpose: job.purpose,
                line,
                control,
                log,
            };
            Ok((errand, pidfd))
        }
    }
}

impl Errand {
    /// The run has ended so.
    pub(crate) fn done(&self, ended: EndedChild) -> Done {
        let mut done = Done {
            result: Ok(()),
            user: None,
            notices: Vec::new(),
        };
        while let Heard::Report(report, _) = report::receive(&self.control) {
            match report {
                Report::Ready(created) => done.user = created.user,
                Report::Failed(failure) => done.result = Err(failure),
                Report::Notice(notice) => done.notices.push(notice.text),
                Report::Terminal | Report::Born | Report::Listener => {}
            }
        }
        if done.result.is_ok() && ended.exit_code != 0 {
            done.result = Err(self.complaint(ended));
        }
        ignore(
            rustix::fs::unlink(self.log.as_str()),
            "it goes with the bundle",
        );
        done
    }

    fn complaint(&self, ended: EndedChild) -> Failure {
        let said = complaint::read(&self.log);
        let begins_a_program = matches!(
            self.purpose,
            Purpose::Create | Purpose::Start | Purpose::Exec(_)
        );
        let kind = match &said {
            Some(said) if begins_a_program && complaint::is_about_the_program(said) => {
                FailureKind::FailureExecute
            }
            _ => FailureKind::FailureSystem,
        };
        Failure {
            kind: kind.into(),
            step: self.line.clone(),
            errno: 0,
            detail: said.unwrap_or_else(|| match ended.signal {
                0 => format!("it ended with exit code {}", ended.exit_code),
                signal => format!("it was killed by signal {signal}"),
            }),
        }
    }
}

/// Runs the child; it becomes the runtime, or exits.
fn run(child: &ChildProcess, job: &Job<'_>, log: &str, control: BorrowedFd<'_>) -> ! {
    let [input, output, error] = job.standard;
    let Ok(mut kept) = child.keep_only(&[input, output, error, control]) else {
        process::exit_now(FAILED)
    };
    let Some(control) = kept.pop() else {
        process::exit_now(FAILED)
    };
    let failure = match go(job, log, &control) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    report::send(control.as_fd(), &Report::Failed(failure), None);
    process::exit_now(FAILED)
}

fn go(job: &Job<'_>, log: &str, control: &OwnedFd) -> Outcome<Infallible> {
    process::set_umask(0o022);
    process::new_session().step(|| "make a session".into())?;
    let runtime = job.runtime;
    if job.preparation.is_some() || !runtime.cgroup_mount.is_empty() {
        mount::set_propagation("/", Propagation::Slave, Depth::Recursive)
            .step(|| "leave the host's mounts".into())?;
    }
    if !runtime.cgroup_mount.is_empty() {
        show_cgroups(&runtime.cgroup_mount)?;
    }
    if let Some(preparation) = &job.preparation {
        let user = prepare(preparation, runtime)?;
        let created = ContainerCreated {
            pid: 0,
            user: Some(user),
        };
        report::send(control.as_fd(), &Report::Ready(created), None);
    }
    rustix::process::chdir(runtime.bundle.as_str())
        .step(|| format!("enter the bundle {:?}", runtime.bundle))?;
    let nul = |_error| invalid("read the runtime's command", "it holds a NUL");
    let own = [&runtime.program, "--root", &runtime.state_directory];
    let logging = ["--log", log, "--log-format", "json"];
    let options = runtime.options.iter().map(String::as_str);
    let command = job.command.iter().map(String::as_str);
    let arguments = own
        .into_iter()
        .chain(logging)
        .chain(options)
        .chain(command)
        .map(CString::new);
    let arguments = arguments.collect::<Result<Vec<_>, _>>().map_err(nul)?;
    let environment = [CString::new(PATH).map_err(nul)?];
    let program = CString::new(runtime.program.as_str()).map_err(nul)?;
    signal::block_only(&[]);
    let error = process::execute(&program, &arguments, &environment);
    // It is the node's fault, not that of the container's program.
    Err(failure::system(
        format!("execute {:?}", runtime.program),
        error.errno(),
    ))
}

/// cgroup2 alone at the usual place, where a hybrid host has the hierarchies of cgroup v1 too.
fn show_cgroups(from: &str) -> Outcome<()> {
    let step = || format!("show {from:?} at {CGROUP_MOUNT}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(CGROUP_MOUNT, flags, Mode::empty()).step(step)?;
    mount::bind(from, target.as_fd()).step(step)
}

/// Mounts the root, looks the user up in it, and writes config.json.
fn prepare(preparation: &Preparation<'_>, runtime: &OciRuntime) -> Outcome<ResolvedUser> {
    let options = overlay::options(preparation.root);
    let root =
        filesystem::mount_overlay(preparation.root, options.as_ref(), preparation.root_place)?;
    let user = user::resolve(root.as_fd(), preparation.user)?;
    let configuration = format!(
        "{}{}{}",
        runtime.configuration_head,
        user_object(&user),
        runtime.configuration_tail
    );
    let path = format!("{}/config.json", runtime.bundle);
    write(&path, configuration.as_bytes()).step(|| format!("write {path:?}"))?;
    Ok(user)
}

/// `process.user` of the specification.
fn user_object(user: &ResolvedUser) -> String {
    let groups: Vec<String> = user.additional_gids.iter().map(u32::to_string).collect();
    format!(
        "{{\"uid\":{},\"gid\":{},\"additionalGids\":[{}]}}",
        user.uid,
        user.gid,
        groups.join(",")
    )
}

/// Writes a file of root's alone.
pub(super) fn write(path: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_as_the_specification_has_it() {
        let user = ResolvedUser {
            uid: 1000,
            gid: 5,
            additional_gids: vec![5, 7],
            home: "/home/a".into(),
        };
        let expected = r#"{"uid":1000,"gid":5,"additionalGids":[5,7]}"#;
        assert_eq!(user_object(&user), expected);
        let expected = r#"{"uid":0,"gid":0,"additionalGids":[]}"#;
        assert_eq!(user_object(&ResolvedUser::default()), expected);
    }
}
