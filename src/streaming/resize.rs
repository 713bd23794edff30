//! The sizes of a client's terminal: JSON objects, one after the other, cut anywhere.

use serde::Deserialize;

use super::stream::Inlet;
use crate::pod::TerminalSize;

/// An object that is longer is none.
const MAXIMUM_OBJECT: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Reads sizes.
#[derive(Debug)]
pub(super) struct Sizes {
    inlet: Inlet,
    buffer: Vec<u8>,
}

impl Sizes {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            buffer: Vec::new(),
        }
    }

    /// The newest size; none when there will be no more.
    pub(super) async fn next(&mut self) -> Option<TerminalSize> {
        loop {
            match take(&mut self.buffer) {
                Ok(Some(size)) => return Some(size),
                Ok(None) if self.buffer.len() <= MAXIMUM_OBJECT => {}
                _ => return None,
            }
            let piece = self.inlet.next().await?;
            self.buffer.extend_from_slice(&piece);
        }
    }
}

/// Takes the last whole object, and all before it. A terminal of no size is none.
fn take(buffer: &mut Vec<u8>) -> Result<Option<TerminalSize>, serde_json::Error> {
    let mut objects = serde_json::Deserializer::from_slice(buffer).into_iter::<Size>();
    let (mut newest, mut end) = (None, 0);
    while let Some(object) = objects.next() {
        match object {
            Ok(Size { width, height }) => {
                end = objects.byte_offset();
                if width > 0 && height > 0 {
                    newest = Some(TerminalSize { width, height });
                }
            }
            Err(error) if error.is_eof() => break,
            Err(error) => return Err(error),
        }
    }
    buffer.drain(..end);
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    async fn sizes(pieces: &'static [&'static str]) -> Vec<(u16, u16)> {
        let (feed, inlet) = Inlet::new(None);
        let mut sizes = Sizes::new(inlet);
        let mut all = Vec::new();
        let feeding = async move {
            for piece in pieces {
                feed.send(Bytes::from_static(piece.as_bytes())).await.ok();
            }
        };
        let reading = async {
            while let Some(size) = sizes.next().await {
                all.push((size.width, size.height));
            }
        };
        tokio::join!(feeding, reading);
        all
    }

    #[tokio::test]
    async fn sizes_are_read_however_they_are_cut() {
        assert_eq!(sizes(&["{\"Width\":80,\"Height\":24}\n"]).await, [(80, 24)]);
        let cut = &[
            "{\"Wid",
            "th\":80,\"Height\":24}\n{\"Width\":1,\"Hei",
            "ght\":2}\n",
        ];
        assert_eq!(sizes(cut).await, [(80, 24), (1, 2)]);
        let zero = &["{\"Width\":0,\"Height\":0}", "{\"Width\":3,\"Height\":4}"];
        assert_eq!(sizes(zero).await, [(3, 4)]);
        assert_eq!(sizes(&["nonsense", "{\"Width\":3,\"Height\":4}"]).await, []);
    }
}
