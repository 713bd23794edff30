//! PullImage: the CRI's pull, with news of how far it is.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::cri::from_cri;
use crate::cri::status;
use crate::cri::stream::Answers;
use crate::cri::wire::carpel::pull_image_event::Event;
use crate::cri::wire::carpel::{
    LayerProgress, LayerState, PullImageEvent, PullImageRequest, PullProgress, PulledImage,
};
use crate::image::{self, Image, Images, Pulling, RegistryAuth};

/// How often a client is told: as often as an eye can follow.
const PERIOD: Duration = Duration::from_millis(100);

/// Events on their way to a client; one that does not read delays only its own news.
const EVENTS_IN_FLIGHT: usize = 4;

/// Begins or joins a pull. It goes on if the client leaves.
pub(super) fn pull_image(
    images: &Images,
    request: PullImageRequest,
) -> Result<Answers<PullImageEvent>, Status> {
    let reference = from_cri::required_text(request.reference, "reference")?;
    let auth = (!request.username.is_empty()).then(|| RegistryAuth {
        username: request.username,
        password: request.password,
        ..RegistryAuth::default()
    });
    let pulling = images
        .begin_pull(&reference, auth)
        .map_err(|error| status::of_image(&error))?;
    let (sender, receiver) = mpsc::channel(EVENTS_IN_FLIGHT);
    // It ends with the pull, which has deadlines of its own, or when the client leaves.
    tokio::spawn(tell(pulling, sender));
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

async fn tell(pulling: Pulling, sender: mpsc::Sender<Result<PullImageEvent, Status>>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        let outcome = tokio::select! {
            outcome = pulling.finished() => Some(outcome),
            _ = ticks.tick() => None,
        };
        let layers = pulling.progress();
        if layers != told {
            let progress = Event::Progress(PullProgress {
                layers: layers.iter().map(layer_progress).collect(),
            });
            if sender.send(Ok(event(progress))).await.is_err() {
                return;
            }
            told = layers;
        }
        let last = match outcome {
            None => continue,
            Some(Ok(image)) => Ok(event(Event::Image(pulled(&image)))),
            Some(Err(error)) => Err(status::of_image(&error)),
        };
        // A client that has left does not want to know.
        sender.send(last).await.unwrap_or_default();
        return;
    }
}

fn event(event: Event) -> PullImageEvent {
    PullImageEvent { event: Some(event) }
}

fn layer_progress(layer: &image::LayerProgress) -> LayerProgress {
    let state = match layer.state {
        image::LayerState::Waiting => LayerState::Waiting,
        image::LayerState::Downloading => LayerState::Downloading,
        image::LayerState::Unpacking => LayerState::Unpacking,
        image::LayerState::Done => LayerState::Done,
    };
    LayerProgress {
        digest: layer.digest.to_string(),
        state: state.into(),
        received_bytes: layer.received_bytes,
        size_bytes: layer.size_bytes,
    }
}

fn pulled(image: &Image) -> PulledImage {
    PulledImage {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size_bytes: image.size,
    }
}
