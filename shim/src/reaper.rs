//! Reaping: every child that ends, known or orphaned below the pod (the shim is its subreaper).

use crate::external::errand::Errand;
use crate::server::Server;
use carpel_linux::process;
use carpel_linux::process::EndedChild;
use rustix::process::Pid;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

impl Server {
    /// Reaps all that have ended.
    pub(crate) fn reap(&mut self) {
        loop {
            // First look, then reap: a zombie's number is still its own while its last words are read.
            let Some(ended) = process::next_ended_child() else {
                return;
            };
            let pid = ended.pid;
            self.before_reaping(pid);
            let take = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if rustix::process::waitid(WaitId::Pid(pid), take).is_err() {
                return;
            }
            self.child_ended(ended);
        }
    }

    /// What a child said before it ended comes before its end.
    fn before_reaping(&mut self, pid: Pid) {
        if let Some(serial) = self
            .containers
            .iter()
            .find(|container| container.pid == Some(pid))
            .map(|container| container.serial)
        {
            self.hear_container(serial);
        } else if let Some(serial) = self
            .execs
            .iter()
            .find(|exec| exec.pid == pid)
            .map(|exec| exec.serial)
        {
            self.hear_exec(serial);
        } else {
            // It may be one that another runtime has left.
            self.reap_errands();
            // It may be one that goes on in another's place, of which nobody has read yet.
            let creating = self
                .containers
                .iter()
                .filter(|container| container.is_creating());
            let creating: Vec<u32> = creating.map(|container| container.serial).collect();
            for serial in creating {
                self.hear_container(serial);
            }
            self.hear_beginning_execs();
        }
    }

    fn child_ended(&mut self, ended: EndedChild) {
        let pid = ended.pid;
        // First: it stands for the container or exec that it was to begin.
        if self.errand_ended(ended) {
            return;
        }
        if self
            .containers
            .iter()
            .any(|container| container.pid == Some(pid))
        {
            self.container_ended(ended);
        } else if self.execs.iter().any(|exec| exec.pid == pid) {
            self.exec_ended(ended);
        } else if self.sandbox.as_ref().is_some_and(|sandbox| {
            sandbox
                .infra
                .as_ref()
                .is_some_and(|(infra, _)| *infra == pid)
        }) {
            self.infra_exited(ended.exit_code, ended.signal);
        } else if self.log.writer_pid() == Some(pid) {
            self.log.writer_exited();
            self.take_log_events();
        } else if self.errands.iter().any(Errand::leaves_a_process) {
            self.strangers.push(ended);
        }
        self.cleaners.retain(|cleaner| *cleaner != pid);
        // Else an orphan of some container: reaping it was all.
    }
}
