//! ExportImage: an archive goes out as a stream, as fast as the client takes it.

use std::ops::ControlFlow;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::cri::status;
use crate::cri::stream::Answers;
use crate::cri::wire::carpel::export_image_response::Part;
use crate::cri::wire::carpel::{ExportImageRequest, ExportImageResponse, ExportedArchive};
use crate::image::Images;

/// Chunks between the disk and the connection. When it is full, the disk waits for the client.
const CHUNKS_IN_FLIGHT: usize = 4;

pub(super) async fn export_image(
    images: &Images,
    request: ExportImageRequest,
) -> Result<Answers<ExportImageResponse>, Status> {
    if request.references.is_empty() {
        return Err(Status::invalid_argument("references: missing"));
    }
    let export = images.export(request.references).await;
    let export = export.map_err(|error| status::of_image(&error))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let answer = |part| Ok(ExportImageResponse { part: Some(part) });
    // The task ends with the archive, or when the client has gone and nothing can be sent.
    drop(tokio::task::spawn_blocking(move || {
        let send = |message| match sender.blocking_send(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_gone) => ControlFlow::Break(()),
        };
        let length_bytes = export.length();
        if send(answer(Part::Archive(ExportedArchive { length_bytes }))).is_break() {
            return;
        }
        if let Err(error) = export.write(|chunk| send(answer(Part::Chunk(chunk)))) {
            // Nobody to tell if the client has gone.
            let _gone = send(Err(status::of_image(&error)));
        }
    }));
    Ok(Box::pin(ReceiverStream::new(receiver)))
}
