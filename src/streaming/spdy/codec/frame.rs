//! The frames of SPDY/3.1 as values, and why bytes are none.

use bytes::Bytes;

/// The number of a stream: odd for those that the client opens. 0 is the connection itself.
pub(crate) type StreamId = u32;

/// Whether a frame is the last of its stream in its direction: the half-close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More may follow.
    Open,
    /// FLAG_FIN.
    Finished,
}

/// Names and values of a SYN_STREAM, SYN_REPLY or HEADERS frame; names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The value of a name in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Why a stream is reset, as far as Carpel says so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetStatus {
    /// PROTOCOL_ERROR
    Protocol,
    /// REFUSED_STREAM
    Refused,
    /// CANCEL
    Cancel,
}

impl ResetStatus {
    /// The number on the wire.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Refused => 3,
            Self::Cancel => 5,
        }
    }
}

/// A frame. What a frame holds that Carpel does not use (credentials, slots) is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Opens a stream.
    SynStream {
        /// Which.
        stream: StreamId,
        /// 0 (highest) to 7.
        priority: u8,
        /// Whether the opener will send nothing.
        end: End,
        /// What it is for.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// Which.
        stream: StreamId,
        /// Whether the replier will send nothing.
        end: End,
        /// More about it.
        headers: Headers,
    },
    /// Ends a stream in both directions.
    Reset {
        /// Which.
        stream: StreamId,
        /// A number of the specification.
        status: u32,
    },
    /// Settings: id and value.
    Settings(Vec<(u32, u32)>),
    /// To be sent back as it is, if it is the peer's.
    Ping(u32),
    /// The sender will take no more streams.
    GoAway {
        /// The last one that it took.
        last_stream: StreamId,
        /// 0: in order.
        status: u32,
    },
    /// More headers of a stream.
    Headers {
        /// Which.
        stream: StreamId,
        /// Whether that is all.
        end: End,
        /// The headers.
        headers: Headers,
    },
    /// The receiver has taken so many bytes.
    WindowUpdate {
        /// Which; 0: the connection.
        stream: StreamId,
        /// How many.
        delta: u32,
    },
    /// Bytes of a stream. A long frame is decoded in pieces, as its bytes come; the last one carries the end.
    Data {
        /// Which.
        stream: StreamId,
        /// Whether that is all.
        end: End,
        /// The bytes.
        bytes: Bytes,
    },
    /// A control frame of a type that is not known, which is to be ignored.
    Unknown(u16),
}

/// Why bytes are no frames. Nothing more can be understood on that connection then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Another version than 3.
    #[error("version {0} is not 3")]
    Version(u16),
    /// A control frame that is longer than any that makes sense.
    #[error("a control frame of {0} bytes is too long")]
    TooLong(usize),
    /// A control frame whose length or content does not fit its type.
    #[error("a control frame of type {0} is malformed")]
    Malformed(u16),
    /// A block of headers that cannot be decompressed.
    #[error("a block of headers cannot be decompressed")]
    Compression,
    /// A block of headers that is malformed.
    #[error("a block of headers is malformed")]
    Headers,
    /// A block of headers that is longer, or has more names, than any that makes sense.
    #[error("a block of headers is too large")]
    TooManyHeaders,
}
