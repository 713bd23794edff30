//! The end of a container: what it leaves behind is killed, its log read to the end, its exit recorded, then told.

use crate::cleaner;
use crate::container::child::FAILED;
use crate::container::state::Container;
use crate::container::state::Record;
use crate::container::state::Stage;
use crate::exit_record;
use crate::oom::Limiting;
use crate::server::Server;
use crate::time;
use carpel_linux::process::EndedChild;
use carpel_shim_protocol::message::ContainerExited;
use carpel_shim_protocol::message::Done;
use carpel_shim_protocol::message::response::Result as Answer;

/// How long an exit waits for the rest of the output: a frozen file system must not delay it longer.
const DRAIN_NANOSECONDS: u64 = 1_000_000_000;
/// How long until an exit record that could not be written is tried again.
const RETRY_NANOSECONDS: u64 = 1_000_000_000;

impl Server {
    /// The first process of a container has been reaped.
    pub(crate) fn container_ended(&mut self, ended: EndedChild) {
        let pid = ended.pid;
        let mut containers = self.containers.iter_mut();
        let Some(container) = containers.find(|container| container.pid == Some(pid)) else {
            return;
        };
        container.pid = None;
        let id = container.id.clone();
        if matches!(container.stage, Stage::Undoing(_)) {
            return self.forget_undone(&id);
        }
        // Whatever it left behind must go before the exit is known: it may hold the log, volumes and the cgroup.
        if let Err(error) = container.kill_all() {
            let text = format!("container {id}: {}: {}", error.call(), error.errno());
            self.outbox.notice(text);
        }
        container.note_exit(ended);
        let until = time::monotonic_nanoseconds().saturating_add(DRAIN_NANOSECONDS);
        container.stage = Stage::Draining { until };
        self.kill_execs_of(&id);
        self.log.finish(&id);
        self.take_log_events();
    }

    /// Forgets a container that was undone and has no process any more, once its runtime has.
    pub(crate) fn forget_undone(&mut self, id: &str) {
        let Some(container) = self.container_mut(id) else {
            return;
        };
        if container.is_known_to_its_runtime() {
            return self.delete_externally(id);
        }
        let Stage::Undoing(failure) = &mut container.stage else {
            return;
        };
        let failure = failure.take();
        let mut waiting = std::mem::take(&mut container.waiting);
        match failure {
            Some(failure) => self.outbox.fail_all(&mut waiting, &failure),
            None => self
                .outbox
                .answer_all(&mut waiting, &Answer::RemoveContainer(Done {})),
        }
        self.log.remove(id);
        self.containers.retain(|container| container.id != id);
    }

    /// The log has all that there was of a container's output.
    pub(crate) fn log_finished(&mut self, container_id: &str, lost_lines: u64) {
        if let Some(container) = self.container_mut(container_id)
            && matches!(container.stage, Stage::Draining { .. })
        {
            container.exit.lost_log_lines = lost_lines;
            self.record_exit(container_id);
        }
    }

    /// Exits that waited long enough for their log, and records that could not be written before.
    pub(crate) fn settle_exits(&mut self, now: u64) {
        let due = |container: &&Container| container.deadline().is_some_and(|at| at <= now);
        let ids: Vec<String> = self
            .containers
            .iter()
            .filter(due)
            .map(|container| container.id.clone())
            .collect();
        for id in ids {
            self.record_exit(&id);
        }
    }

    /// Record first, then the event. If the disk is full, the exit is announced all the same, kept in memory, and written
    /// later.
    fn record_exit(&mut self, container_id: &str) {
        let mut containers = self.containers.iter_mut();
        let found = containers.find(|container| container.id == container_id);
        let (Some(container), Some(sandbox)) = (found, &self.sandbox) else {
            return;
        };
        let first = matches!(container.stage, Stage::Draining { .. });
        let record = match exit_record::write(sandbox.directory(), &container.exit) {
            Ok(()) => Record::Written,
            Err(errno) => {
                if first {
                    self.outbox.notice(format!(
                        "container {container_id}: its exit cannot be recorded yet: {errno}"
                    ));
                }
                let at = time::monotonic_nanoseconds().saturating_add(RETRY_NANOSECONDS);
                Record::Retry { at }
            }
        };
        container.stage = Stage::Exited { record };
        if first {
            container.release_all();
            let namespace = container.mount_namespace.take();
            self.outbox.container_exited(container.exit.clone());
            // The event first: what follows may take its time.
            self.flush();
            self.cleaners.extend(namespace.and_then(cleaner::release));
            self.delete_externally(container_id);
        }
    }

    /// memory.events of a container has changed.
    pub(crate) fn note_memory_event(&mut self, serial: u32) {
        if let Some(container) = self.by_serial(serial)
            && let Some(memory) = &mut container.memory
        {
            memory.update();
        }
    }
}

impl Container {
    fn note_exit(&mut self, ended: EndedChild) {
        // Another runtime's process does not say by its code that it became no program.
        let says_so = ended.exit_code == FAILED || self.external.is_some();
        let failed_to_start = self.started_at == 0 && says_so;
        let (counts, last, limiting) = match &mut self.memory {
            Some(memory) => {
                let counts = memory.update();
                let limiting = match counts.oom_kill {
                    0 => Limiting::default(),
                    _ => memory.limiting(),
                };
                (counts, memory.last_at, limiting)
            }
            None => Default::default(),
        };
        self.exit = ContainerExited {
            container_id: self.id.clone(),
            exit_code: if failed_to_start {
                FAILED
            } else {
                ended.exit_code
            },
            signal: ended.signal,
            exited_at_nanoseconds: time::wall_nanoseconds(),
            killed_on_request: self.killed_on_request,
            oom_kill: counts.oom_kill,
            oom_group_kill: counts.oom_group_kill,
            last_oom_at_nanoseconds: last,
            lost_log_lines: 0,
            oom_cgroup: limiting.cgroup,
            oom_levels_above: limiting.levels_above,
        };
    }

    /// Closes what only a running container needs.
    fn release_all(&mut self) {
        self.stdin = None;
        self.terminal = None;
        self.control = None;
        self.memory = None;
    }
}
