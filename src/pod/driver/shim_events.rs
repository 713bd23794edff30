//! What the shim tells without being asked, and its end.

use carpel_shim_protocol::message;
use carpel_shim_protocol::message::event::Body;

use super::super::admission::Job;
use super::super::container_state::{self, ContainerPhase};
use super::super::reconnect;
use super::super::sandbox_state::SandboxPhase;
use super::Driver;

impl Driver {
    pub(super) fn on_event(&mut self, event: message::Event) {
        let sandbox = self.pod.id.clone();
        match event.body {
            Some(Body::ContainerExited(exited)) => {
                let (id, lost_lines) = (&exited.container_id, exited.lost_log_lines);
                let change = self.context.slot.logs.tell(id, lost_lines, 0);
                self.index.add_lost_log_lines(change.lost_lines);
                self.record_container(&exited.container_id.clone(), |container| {
                    let started_at = container.phase.started_at();
                    if !container.phase.is_exited() {
                        container.phase =
                            ContainerPhase::Exited(container_state::exit_of(&exited, started_at));
                    }
                });
            }
            Some(Body::ExecExited(exited)) => self.context.slot.exec_exited(exited),
            Some(Body::InfraExited(exited)) => {
                if self.pod.phase == SandboxPhase::Ready {
                    tracing::warn!(%sandbox, signal = exited.signal, "the infra process has died: the sandbox is not ready");
                    self.record(|pod| {
                        pod.phase = SandboxPhase::InfraLost;
                        pod.infra_pid = 0;
                    });
                }
            }
            Some(Body::LogTrouble(trouble)) => self.on_log_trouble(&trouble),
            Some(Body::Notice(notice)) => tracing::info!(%sandbox, shim = %notice.text),
            None => tracing::debug!(%sandbox, "an event of a newer shim"),
        }
    }

    /// A log cannot be written, or can be again. Told once each way, however many lines are lost meanwhile.
    fn on_log_trouble(&self, trouble: &message::LogTrouble) {
        let message::LogTrouble {
            container_id,
            errno,
            lost_lines,
        } = trouble;
        let change = self
            .context
            .slot
            .logs
            .tell(container_id, *lost_lines, *errno);
        self.index.add_lost_log_lines(change.lost_lines);
        let sandbox = &self.pod.id;
        match errno {
            _ if !change.is_new => {}
            0 => {
                tracing::info!(%sandbox, container = %container_id, lost_lines, "the log is written again")
            }
            errno => tracing::warn!(
                %sandbox,
                container = %container_id,
                lost_lines,
                error = %std::io::Error::from_raw_os_error(*errno),
                "the log cannot be written, its lines are lost"
            ),
        }
    }

    /// The connection has ended: the shim died, or the daemon was too slow for it.
    pub(super) fn on_shim_closed(&mut self) {
        self.events = None;
        self.context.slot.set_shim(None);
        self.context.slot.drop_execs();
        match self.pod.phase {
            SandboxPhase::Ready | SandboxPhase::InfraLost => {
                self.waiting.insert(Job::Reconnect, Vec::new());
                self.spawn(Job::Reconnect, reconnect::run(self.context.clone()));
            }
            SandboxPhase::Creating
            | SandboxPhase::Stopping
            | SandboxPhase::Stopped { .. }
            | SandboxPhase::Removing => {}
        }
    }
}
