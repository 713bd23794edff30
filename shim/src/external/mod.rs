//! Containers that another OCI runtime makes (crun, runc): the shim runs its program for each step, `errand` by `errand`,
//! and is the parent of what that leaves, as it is of its own containers. Logs, exits, deadlines and streams are then the
//! same for both.
//!
//! ```text
//! shim ─► RUNTIME create … ends; its child is the shim's now, named in the pid file: the container's first process
//!      ─► RUNTIME start    ends
//!      ─► RUNTIME exec --detach … ends; its child is the shim's now: the exec's process
//!      ─► RUNTIME delete --force, when the first process has been reaped
//! ```
//!
//! The shim waits for none of them: each is a child whose end SIGCHLD tells.

mod complaint;
pub(crate) mod console;
pub(crate) mod errand;
pub(crate) mod exec;
mod life;

use carpel_shim_protocol::message::OciRuntime;
use console::Console;
use rustix::process::Pid;

/// What the shim remembers of a container that another runtime makes.
#[derive(Debug)]
pub(crate) struct External {
    /// How to run the program. What was for create alone is not kept.
    pub(crate) runtime: OciRuntime,
    /// Where the master of its terminal is awaited.
    pub(crate) console: Option<Console>,
    pub(crate) deletion: Deletion,
    /// RemoveContainer requests that wait for the deletion.
    pub(crate) removals: Vec<u64>,
}

/// Has the runtime forgotten the container?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    NotYet,
    /// It is due, but the runtime is still at something else with this container.
    Due,
    Running,
    Done,
}

impl External {
    pub(crate) fn new(runtime: &OciRuntime, console: Option<Console>) -> Self {
        let runtime = OciRuntime {
            configuration_head: String::new(),
            configuration_tail: String::new(),
            ..runtime.clone()
        };
        Self {
            runtime,
            console,
            deletion: Deletion::NotYet,
            removals: Vec::new(),
        }
    }
}

/// What the shim remembers of an exec that another runtime began.
#[derive(Debug)]
pub(crate) struct ExternalExec {
    /// The session of its process: that of the runtime at first, then whatever the runtime has made.
    pub(crate) session: Pid,
    /// The exec's own process is not known yet.
    pub(crate) is_beginning: bool,
    /// Where the master of its terminal is awaited.
    pub(crate) console: Option<Console>,
}

/// The process of a pid file; none if there is no such file, or the process has been reaped by another.
fn process_in(path: &str) -> Option<Pid> {
    let text = std::fs::read_to_string(path).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}
