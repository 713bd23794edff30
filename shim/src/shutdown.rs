//! The end of the pod: all that is left is killed and reaped, then the infra process, then the shim answers and exits.

use crate::container::state::Record;
use crate::container::state::Stage;
use crate::failure::Failure;
use crate::failure::ignore;
use crate::failure::wrong_state;
use crate::server::Server;
use carpel_linux::signal;
use carpel_shim_protocol::message::Done;
use carpel_shim_protocol::message::response::Result as Answer;
use std::os::fd::AsFd;

impl Server {
    /// Shutdown: begins; the answer comes when nothing is left.
    pub(crate) fn shut_down(&mut self, id: u64) {
        if let Some(waiting) = &mut self.shutting_down {
            waiting.push(id);
            return;
        }
        self.shutting_down = Some(vec![id]);
        for container in &mut self.containers {
            if container.pid.is_none() {
                continue;
            }
            container.killed_on_request = true;
            if matches!(container.stage, Stage::Creating | Stage::Created) {
                container.stage = Stage::Undoing(Some(gone()));
            }
            // A runtime that is at making it is not in its cgroup.
            if container.external.is_some() && container.is_creating() {
                ignore(
                    signal::send(container.pidfd.as_fd(), signal::KILL),
                    "it is a zombie",
                );
            }
            // Its cgroup may be left as it was killed: nothing is cloned into it any more.
            if let Err(error) = container.kill_all() {
                self.outbox
                    .notice(format!("{}: {}", error.call(), error.errno()));
                // The first process at least.
                ignore(
                    signal::send(container.pidfd.as_fd(), signal::KILL),
                    "it is a zombie",
                );
            }
        }
        self.go_on_shutting_down();
    }

    /// The next step of the end, if one is due.
    pub(crate) fn go_on_shutting_down(&mut self) {
        if self.shutting_down.is_none() {
            return;
        }
        let settled = |stage: &Stage| matches!(stage, Stage::Exited { .. });
        if !self
            .containers
            .iter()
            .all(|container| settled(&container.stage))
            || !self.execs.is_empty()
            || !self.errands.is_empty()
        {
            return;
        }
        if let Some(sandbox) = &self.sandbox
            && let Some((_, pidfd)) = &sandbox.infra
        {
            ignore(
                signal::send(pidfd.as_fd(), signal::KILL),
                "it is a zombie since the last time",
            );
            return;
        }
        // Their mounts must be gone before the daemon takes the directories away.
        if !self.cleaners.is_empty() {
            return;
        }
        self.last_records();
        self.log.stop();
        let waiting = self.shutting_down.as_mut();
        if let Some(waiting) = waiting {
            self.outbox.answer_all(waiting, &Answer::Shutdown(Done {}));
        }
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.tidy();
        }
        self.done = true;
    }

    /// Exit records that could not be written get a last try; their exits were announced.
    fn last_records(&mut self) {
        let Some(sandbox) = &self.sandbox else {
            return;
        };
        for container in &self.containers {
            if let Stage::Exited {
                record: Record::Retry { .. },
            } = container.stage
            {
                let written = crate::exit_record::write(sandbox.directory(), &container.exit);
                ignore(written, "the daemon has the event, or the snapshot");
            }
        }
    }
}

fn gone() -> Failure {
    wrong_state("create the container", "the shim is shutting down")
}
