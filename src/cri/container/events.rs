//! GetContainerEvents: what happens to containers and sandboxes, for as long as the client listens.

use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::stream::Answers;
use crate::cri::to_cri;
use crate::cri::wire::runtime::ContainerEventResponse;
use crate::pod::PodEvents;

/// The events from now on. The stream ends with an error when the client is too slow, and when the daemon stops.
pub(in crate::cri) fn events<P: PodService>(
    pods: &P,
    stopping: CancellationToken,
) -> Result<Answers<ContainerEventResponse>, Status> {
    let events = pods.events().map_err(|error| status::of_pod(&error))?;
    let answers = stream::unfold(Some((events, stopping)), |listening| async {
        let (mut events, stopping) = listening?;
        let answer = next(&mut events, &stopping).await?;
        let listening = answer.is_ok().then_some((events, stopping));
        Some((answer, listening))
    });
    Ok(Box::pin(answers))
}

async fn next(
    events: &mut PodEvents,
    stopping: &CancellationToken,
) -> Option<Result<ContainerEventResponse, Status>> {
    tokio::select! {
        // What has happened is told before the end.
        biased;
        event = events.next() => Some(match event? {
            Ok(event) => Ok(to_cri::container_event(&event)),
            Err(error) => Err(status::of_pod(&error)),
        }),
        () = stopping.cancelled() => Some(Err(Status::unavailable("the daemon is stopping"))),
    }
}
