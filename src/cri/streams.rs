//! What the CRI needs of the streaming server, as a trait: the daemon hands in the real one, the tests a script.

use std::fmt::Debug;

use super::from_cri::InvalidField;
use crate::pod::{PodError, StreamRequest, WantedStreams};

/// Gives URLs that are good once.
pub trait StreamUrls: Debug + Send + Sync {
    /// The URL at which this is done.
    ///
    /// # Errors
    /// `ResourceExhausted` while too many are not used yet.
    fn url_of(&self, request: StreamRequest) -> Result<String, PodError>;
}

/// Streams that go together.
pub(super) fn wanted(streams: WantedStreams) -> Result<WantedStreams, InvalidField> {
    if streams.terminal && streams.stderr {
        let problem = "a terminal has one output: tty and stderr cannot both be true";
        return Err(InvalidField::new("stderr", problem));
    }
    if !streams.stdin && !streams.stdout && !streams.stderr {
        let problem = "one of stdin, stdout, or stderr must be set";
        return Err(InvalidField::new("stdout", problem));
    }
    Ok(streams)
}
