//! VerifyImages: a verification of the store as a stream of what it finds.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::cri::status;
use crate::cri::wire::carpel as wire;
use crate::cri::wire::carpel::verify_images_response::Event;
use crate::cri::wire::carpel::{VerifyImagesRequest, VerifyImagesResponse};
use crate::image::{
    Finding, ImageError, Images, Outcome, Repair, Summary, VerifyEvent, VerifyRequest,
};

/// Messages on their way to the client; a verification waits for a client that is slower.
const EVENTS_IN_FLIGHT: usize = 16;

/// Files that are named of one layer.
const FILES_MAX: usize = 20;

/// The answer.
#[derive(Debug)]
pub(in crate::cri) struct Events {
    events: mpsc::Receiver<VerifyEvent>,
    /// Until it has come.
    outcome: Option<oneshot::Receiver<Result<Summary, ImageError>>>,
}

pub(super) fn verify_images(images: &Images, request: VerifyImagesRequest) -> Events {
    let request = VerifyRequest {
        references: request.references,
        repair: match request.repair {
            true => Repair::Yes,
            false => Repair::No,
        },
    };
    let (sender, events) = mpsc::channel(EVENTS_IN_FLIGHT);
    let (done, outcome) = oneshot::channel();
    let images = images.clone();
    // It ends soon after the client has left: nobody takes its events then.
    tokio::spawn(async move {
        let summary = images.verify(request, sender).await;
        if done.send(summary).is_err() {
            tracing::debug!("the client of a verification has left");
        }
    });
    Events {
        events,
        outcome: Some(outcome),
    }
}

impl Stream for Events {
    type Item = Result<VerifyImagesResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = std::task::ready!(self.events.poll_recv(context)) {
            return Poll::Ready(Some(Ok(response(of_event(event)))));
        }
        let Some(outcome) = &mut self.outcome else {
            return Poll::Ready(None);
        };
        let outcome = std::task::ready!(Pin::new(outcome).poll(context));
        self.outcome = None;
        Poll::Ready(Some(match outcome {
            Ok(Ok(summary)) => Ok(response(of_summary(&summary))),
            Ok(Err(error)) => Err(status::of_image(&error)),
            Err(gone) => Err(Status::internal(status::chain(&gone))),
        }))
    }
}

fn response(event: Event) -> VerifyImagesResponse {
    VerifyImagesResponse { event: Some(event) }
}

fn of_event(event: VerifyEvent) -> Event {
    match event {
        VerifyEvent::Progress(progress) => Event::Progress(wire::VerifyProgress {
            checked_bytes: progress.checked_bytes,
            total_bytes: progress.total_bytes,
            current: progress.current,
        }),
        VerifyEvent::Finding(finding) => Event::Finding(of_finding(&finding)),
    }
}

fn of_finding(finding: &Finding) -> wire::VerifyFinding {
    let problem = match finding.problem.source() {
        // `it cannot be used: read blob …` would say the same twice.
        Some(source) => status::chain(source),
        None => finding.problem.to_string(),
    };
    let differences = finding.problem.differences().iter().take(FILES_MAX);
    wire::VerifyFinding {
        subject: finding.subject.name().to_owned(),
        id: finding.id.clone(),
        image: finding.image.clone(),
        problem,
        files: differences
            .map(|found| format!("/{}: {}", found.path.display(), found.deviation))
            .collect(),
        repaired: matches!(finding.outcome, Outcome::Repaired),
        failure: match &finding.outcome {
            Outcome::Failed(error) => status::chain(error),
            Outcome::Broken | Outcome::Repaired => String::new(),
        },
    }
}

fn of_summary(summary: &Summary) -> Event {
    Event::Summary(wire::VerifySummary {
        images: summary.images,
        blobs: summary.blobs,
        layers: summary.layers,
        unchecked_layers: summary.unchecked_layers,
        broken: summary.broken,
        repaired: summary.repaired,
    })
}
