//! Frames to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{End, Frame, Headers, StreamId};
use super::headers::Deflater;

/// The most bytes of a data frame that Carpel sends: what `io.Copy` sends, on which peers have been tried most.
const MAXIMUM_DATA: usize = 32 << 10;

const FLAG_FIN: u8 = 1;
const CONTROL: u16 = 0x8003;

/// Encodes the frames of one connection, in their order.
#[derive(Debug)]
pub(crate) struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            deflater: Deflater::new(),
        }
    }

    /// Appends the frame to `output`. Data of more than [`MAXIMUM_DATA`] bytes becomes several frames.
    pub(crate) fn encode(&mut self, frame: &Frame, output: &mut BytesMut) {
        match frame {
            Frame::SynStream {
                stream,
                priority,
                end,
                headers,
            } => {
                let mut payload = BytesMut::new();
                payload.put_u32(*stream);
                payload.put_u32(0);
                payload.put_u8(priority << 5);
                payload.put_u8(0);
                self.with_headers((1, *end), payload, headers, output);
            }
            Frame::SynReply {
                stream,
                end,
                headers,
            } => self.with_headers((2, *end), id(*stream), headers, output),
            Frame::Reset { stream, status } => control(3, 0, &pair(*stream, *status), output),
            Frame::Settings(settings) => {
                let mut payload = BytesMut::new();
                payload.put_u32(u32::try_from(settings.len()).unwrap_or(0));
                for (name, value) in settings {
                    payload.put_u32(*name);
                    payload.put_u32(*value);
                }
                control(4, 0, &payload, output);
            }
            Frame::Ping(number) => control(6, 0, &id(*number), output),
            Frame::GoAway {
                last_stream,
                status,
            } => control(7, 0, &pair(*last_stream, *status), output),
            Frame::Headers {
                stream,
                end,
                headers,
            } => self.with_headers((8, *end), id(*stream), headers, output),
            Frame::WindowUpdate { stream, delta } => {
                control(9, 0, &pair(*stream, *delta), output);
            }
            Frame::Data { stream, end, bytes } => data(*stream, *end, bytes, output),
            Frame::Unknown(kind) => control(*kind, 0, &[], output),
        }
    }

    fn with_headers(
        &mut self,
        (kind, end): (u16, End),
        mut payload: BytesMut,
        headers: &Headers,
        output: &mut BytesMut,
    ) {
        payload.extend_from_slice(&self.deflater.deflate(headers));
        let flags = if end == End::Finished { FLAG_FIN } else { 0 };
        control(kind, flags, &payload, output);
    }
}

fn id(number: u32) -> BytesMut {
    let mut payload = BytesMut::new();
    payload.put_u32(number);
    payload
}

fn pair(first: u32, second: u32) -> BytesMut {
    let mut payload = id(first);
    payload.put_u32(second);
    payload
}

fn control(kind: u16, flags: u8, payload: &[u8], output: &mut BytesMut) {
    output.put_u16(CONTROL);
    output.put_u16(kind);
    output.put_u8(flags);
    output.put_uint(u64::try_from(payload.len()).unwrap_or(0), 3);
    output.extend_from_slice(payload);
}

fn data(stream: StreamId, end: End, bytes: &Bytes, output: &mut BytesMut) {
    let mut rest: &[u8] = bytes;
    loop {
        let (piece, after) = rest.split_at_checked(MAXIMUM_DATA).unwrap_or((rest, &[]));
        rest = after;
        let is_last = rest.is_empty() && end == End::Finished;
        output.put_u32(stream);
        output.put_u8(if is_last { FLAG_FIN } else { 0 });
        output.put_uint(u64::try_from(piece.len()).unwrap_or(0), 3);
        output.extend_from_slice(piece);
        if rest.is_empty() {
            return;
        }
    }
}
