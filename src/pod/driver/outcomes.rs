//! What procedures give back: the state that follows, and the answers to those who wait.

use std::sync::Arc;

use super::super::admission::Job;
use super::super::clock;
use super::super::container_state::{self, ContainerPhase};
use super::super::ends::{end, end_all, started};
use super::super::error::{PodError, chain};
use super::super::procedure::{Change, Failure, Left, Outcome};
use super::super::reconnect;
use super::super::sandbox_state::SandboxPhase;
use super::super::slot::{Reply, answer};
use super::Driver;

impl Driver {
    pub(super) fn finish(&mut self, job: &Job, outcome: Outcome) {
        let result = match outcome {
            Ok(change) => self.apply(job, change),
            Err(failure) => Err(self.apply_failure(job, failure)),
        };
        if let Job::StopContainer(id) = job {
            self.deadlines.remove(id);
        }
        let waiting = self.waiting.remove(job).unwrap_or_default();
        // An exit that came before the end of the start.
        self.tell();
        self.end_recovery();
        for waiting in waiting {
            answer(waiting, result.clone());
        }
        for command in std::mem::take(&mut self.deferred) {
            self.take(command);
        }
    }

    fn apply(&mut self, job: &Job, change: Change) -> Result<Reply, PodError> {
        match change {
            Change::SandboxReady(ready) => {
                self.events = Some(ready.events);
                self.record(|pod| {
                    pod.phase = SandboxPhase::Ready;
                    pod.addresses = ready.addresses;
                    pod.network_namespace = ready.network_namespace;
                    pod.infra_pid = ready.infra_pid;
                });
            }
            Change::SandboxStopped(left) => self.record(|pod| {
                end_all(pod, "killed with its sandbox");
                pod.phase = SandboxPhase::Stopped {
                    leftovers: left == Left::Leftovers,
                };
                pod.infra_pid = 0;
            }),
            Change::SandboxGone => self.leave(),
            Change::ContainerCreated(created) => {
                let Job::Create(id) = job else {
                    return Ok(Reply::Done);
                };
                let id = id.clone();
                self.record_container(&id, |container| {
                    container.phase = ContainerPhase::Created { pid: created.pid };
                    container.user = Some(created.user);
                    container.image = created.image;
                    container.log_path = created.log_path;
                    container.stop_signal = created.stop_signal;
                });
                return Ok(Reply::Container(id));
            }
            Change::ContainerStarted { started_at } => {
                if let Job::Start(id) = job {
                    self.record_container(id, |container| started(container, started_at));
                }
            }
            Change::ContainerStopped => {
                if let Job::StopContainer(id) = job {
                    self.record_container(id, |container| {
                        end(container, "killed; its shim did not report the exit");
                    });
                }
            }
            Change::ContainerGone => {
                if let Job::RemoveContainer(id) = job {
                    self.forget_container(id);
                }
            }
            Change::ContainerUpdated(resources) => {
                if let Job::Update(id) = job {
                    self.record_container(id, |container| container.resources = resources);
                }
            }
            Change::SandboxUpdated(resources) => self.record(|pod| pod.resources = resources),
            Change::Reconnected(connected) => {
                self.events = Some(connected.events);
                self.record(|pod| reconnect::take_facts(pod, &connected.state));
            }
            Change::ShimLost(exits) => {
                self.record(|pod| {
                    reconnect::take_exits(pod, &exits);
                    pod.phase = SandboxPhase::Stopping;
                });
                self.begin(Job::Stop, None);
            }
        }
        Ok(Reply::Done)
    }

    fn apply_failure(&mut self, job: &Job, failure: Failure) -> PodError {
        match (job, failure.left) {
            (Job::Run, Left::Nothing) => self.leave(),
            (Job::Run | Job::Stop | Job::Remove | Job::Reconnect, _) => {
                self.record(|pod| {
                    end_all(pod, "killed with its sandbox");
                    pod.phase = SandboxPhase::Stopped { leftovers: true };
                    pod.infra_pid = 0;
                });
            }
            (Job::Create(id), Left::Nothing) => self.forget_container(id),
            (Job::Create(id), Left::Leftovers) => {
                let message = chain(&failure.error);
                self.record_container(id, |container| {
                    container.phase = ContainerPhase::Exited(container_state::start_error(
                        &message,
                        clock::now(),
                    ));
                });
            }
            (Job::Start(id), _) => {
                let message = chain(&failure.error);
                self.record_container(id, |container| {
                    container.phase = ContainerPhase::Exited(container_state::start_error(
                        &message,
                        clock::now(),
                    ));
                });
            }
            (Job::RemoveContainer(id), _) => {
                self.record_container(id, |container| container.removing = false);
            }
            (Job::StopContainer(_) | Job::Update(_) | Job::UpdateSandbox, _) => {}
        }
        failure.error
    }

    fn forget_container(&mut self, id: &str) {
        self.record(|pod| {
            pod.containers.remove(id);
        });
        self.index.remove_container(id);
        self.context.slot.logs.forget(id);
    }

    /// The sandbox is no more.
    fn leave(&mut self) {
        self.index.remove_sandbox(&self.pod);
        self.context.slot.set_shim(None);
        self.context.slot.drop_execs();
        let pod = Arc::make_mut(&mut self.pod);
        if pod.phase != SandboxPhase::Creating {
            end_all(pod, "killed with its sandbox");
            pod.phase = SandboxPhase::Stopped { leftovers: false };
            self.tell();
            Arc::make_mut(&mut self.pod).containers.clear();
            self.tell();
        }
        let news = self.told.sandbox_gone(&self.pod);
        self.listeners.publish(&self.pod, news, self.origin);
        self.gone = true;
    }
}
