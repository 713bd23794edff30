//! Bytes to frames, however they are cut.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{End, Frame, FrameError, StreamId};
use super::headers::Inflater;

/// The longest control frame. Nothing that Kubernetes sends comes near.
const MAXIMUM_CONTROL: usize = 16 << 10;

/// Every frame begins with so many bytes.
const HEAD: usize = 8;

const FLAG_FIN: u8 = 1;
/// The highest bit of a number is reserved.
const NUMBER: u32 = 0x7fff_ffff;

/// The data frame whose bytes are coming.
#[derive(Debug, Clone, Copy)]
struct Pending {
    stream: StreamId,
    end: End,
    left: usize,
}

/// Decodes the frames of one connection, in their order. It holds at most one control frame, and no data.
#[derive(Debug)]
pub(crate) struct Decoder {
    inflater: Inflater,
    buffer: BytesMut,
    pending: Option<Pending>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            inflater: Inflater::new(),
            buffer: BytesMut::new(),
            pending: None,
        }
    }

    /// Where bytes that came are put, for [`Decoder::next`] to take.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame; none until more bytes have come.
    ///
    /// # Errors
    /// When the bytes are no frame: then nothing after them is one either.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(pending) = self.pending {
            return Ok(self.data(pending));
        }
        let Some((head, _)) = self.buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [a, b, c, d, flags, x, y, z] = *head;
        let length = usize::try_from(u32::from_be_bytes([0, x, y, z])).unwrap_or(usize::MAX);
        if a & 0x80 == 0 {
            self.buffer.advance(HEAD);
            let pending = Pending {
                stream: u32::from_be_bytes([a, b, c, d]),
                end: end_of(flags),
                left: length,
            };
            self.pending = Some(pending);
            return Ok(self.data(pending));
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != 3 {
            return Err(FrameError::Version(version));
        }
        if length > MAXIMUM_CONTROL {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let payload = self.buffer.split_to(length).freeze();
        self.control(u16::from_be_bytes([c, d]), flags, payload)
            .map(Some)
    }

    /// What is there of a data frame.
    fn data(&mut self, pending: Pending) -> Option<Frame> {
        let there = pending.left.min(self.buffer.len());
        if there == 0 && pending.left > 0 {
            return None;
        }
        let left = pending.left - there;
        let bytes = self.buffer.split_to(there).freeze();
        self.pending = (left > 0).then_some(Pending { left, ..pending });
        Some(Frame::Data {
            stream: pending.stream,
            end: if left > 0 { End::Open } else { pending.end },
            bytes,
        })
    }

    fn control(&mut self, kind: u16, flags: u8, payload: Bytes) -> Result<Frame, FrameError> {
        let mut rest = Payload { kind, payload };
        let frame = match kind {
            1 => {
                let stream = rest.number()?;
                // The stream that this one belongs to: nobody uses it.
                rest.number()?;
                let [priority, _slot] = rest.bytes()?;
                Frame::SynStream {
                    stream,
                    priority: priority >> 5,
                    end: end_of(flags),
                    headers: self.inflater.inflate(&rest.take())?,
                }
            }
            2 => Frame::SynReply {
                stream: rest.number()?,
                end: end_of(flags),
                headers: self.inflater.inflate(&rest.take())?,
            },
            3 => Frame::Reset {
                stream: rest.number()?,
                status: u32::from_be_bytes(rest.bytes()?),
            },
            4 => {
                let count = u32::from_be_bytes(rest.bytes()?);
                let mut settings = Vec::new();
                for _ in 0..count {
                    let [_flags, a, b, c] = rest.bytes()?;
                    let value = u32::from_be_bytes(rest.bytes()?);
                    settings.push((u32::from_be_bytes([0, a, b, c]), value));
                }
                Frame::Settings(settings)
            }
            6 => Frame::Ping(u32::from_be_bytes(rest.bytes()?)),
            7 => Frame::GoAway {
                last_stream: rest.number()?,
                status: u32::from_be_bytes(rest.bytes()?),
            },
            8 => Frame::Headers {
                stream: rest.number()?,
                end: end_of(flags),
                headers: self.inflater.inflate(&rest.take())?,
            },
            9 => Frame::WindowUpdate {
                stream: rest.number()?,
                delta: rest.number()?,
            },
            _ => {
                rest.take();
                Frame::Unknown(kind)
            }
        };
        if rest.payload.is_empty() {
            Ok(frame)
        } else {
            Err(FrameError::Malformed(kind))
        }
    }
}

fn end_of(flags: u8) -> End {
    if flags & FLAG_FIN == 0 {
        End::Open
    } else {
        End::Finished
    }
}

/// What is left of a control frame.
struct Payload {
    kind: u16,
    payload: Bytes,
}

impl Payload {
    fn bytes<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], FrameError> {
        let head = self.payload.first_chunk().copied();
        let bytes = head.ok_or(FrameError::Malformed(self.kind))?;
        self.payload.advance(LENGTH);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_be_bytes(self.bytes()?) & NUMBER)
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.payload)
    }
}
