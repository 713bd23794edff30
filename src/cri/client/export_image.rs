//! Taking an archive of images from the daemon.

use std::io::Write;

use super::{Client, ClientError, call};
use crate::cri::wire::carpel::ExportImageRequest;
use crate::cri::wire::carpel::admin_client::AdminClient;
use crate::cri::wire::carpel::export_image_response::Part;

/// How far an archive has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Bytes that the archive has.
    pub length_bytes: u64,
}

impl Client {
    /// Writes an archive of images to `sink`, which may block: nothing else is done meanwhile. `progress` is told how far
    /// it has come.
    ///
    /// # Errors
    /// `Call` if the daemon refuses or breaks off, `Write` if the sink does not take the archive, `Short` if the
    /// stream ends before the archive does.
    pub async fn export_image(
        &self,
        references: Vec<String>,
        sink: &mut (impl Write + Send),
        mut progress: impl FnMut(Exported) + Send,
    ) -> Result<Exported, ClientError> {
        let mut client = AdminClient::new(self.channel.clone());
        let answer = client.export_image(ExportImageRequest { references }).await;
        let mut stream = answer.map_err(call("ExportImage"))?.into_inner();
        let mut exported = Exported {
            written_bytes: 0,
            length_bytes: 0,
        };
        while let Some(message) = stream.message().await.map_err(call("ExportImage"))? {
            match message.part {
                Some(Part::Archive(archive)) => exported.length_bytes = archive.length_bytes,
                Some(Part::Chunk(chunk)) => {
                    sink.write_all(&chunk)
                        .map_err(|source| ClientError::Write { source })?;
                    exported.written_bytes += u64::try_from(chunk.len()).unwrap_or_default();
                }
                None => {}
            }
            progress(exported);
        }
        if exported.written_bytes != exported.length_bytes {
            return Err(ClientError::Short {
                length_bytes: exported.length_bytes,
                written_bytes: exported.written_bytes,
            });
        }
        Ok(exported)
    }
}
