//! Clients at the streams of a container's first process.

use crate::container::state::Stage;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use crate::failure::not_found;
use crate::failure::system;
use crate::failure::wrong_state;
use crate::log::Outputs;
use crate::server::Server;
use carpel_shim_protocol::message::Attach;
use carpel_shim_protocol::message::Attached;
use carpel_shim_protocol::message::response::Result as Answer;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

impl Server {
    /// Attach: has the log writer copy the output, and hands out a descriptor of the input.
    pub(crate) fn attach(
        &mut self,
        id: u64,
        request: &Attach,
        descriptors: Vec<OwnedFd>,
    ) -> Outcome<()> {
        let step = || format!("attach to container {:?}", request.container_id);
        let container = self
            .container_mut(&request.container_id)
            .ok_or_else(|| not_found(step()))?;
        if !matches!(container.stage, Stage::Running) {
            return Err(wrong_state(step(), "it does not run"));
        }
        let wanted = [request.stdout, request.stderr];
        if descriptors.len() != wanted.iter().filter(|wanted| **wanted).count() {
            return Err(invalid(
                step(),
                "it takes a descriptor for each output that is asked for",
            ));
        }
        let input = if request.terminal {
            container.terminal.as_ref()
        } else {
            container.stdin.as_ref().filter(|_| request.stdin)
        };
        let copy = input.map(|input| rustix::io::fcntl_dupfd_cloexec(input.as_fd(), 3));
        let given = copy.transpose().step(step)?;
        let outputs = Outputs::new(wanted);
        if !descriptors.is_empty() {
            self.log
                .attach(&request.container_id, outputs, descriptors)
                .map_err(|errno| system(step(), errno))?;
            self.watch_log();
        }
        let given = given.into_iter().collect();
        self.outbox
            .answer_with(id, Answer::Attach(Attached {}), given);
        Ok(())
    }

    /// CloseStdin: the container reads the end of its input when no client has it open any more.
    pub(crate) fn close_stdin(&mut self, container_id: &str) -> Outcome<()> {
        let container = self
            .container_mut(container_id)
            .ok_or_else(|| not_found(format!("close the input of container {container_id:?}")))?;
        container.stdin = None;
        Ok(())
    }
}
