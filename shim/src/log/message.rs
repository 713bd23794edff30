//! What the shim and its log writer say to each other, one message a packet. Both are the same program: no versions.

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the writer: a container's stdout, and stderr if there are two descriptors.
    Add,
    /// To the writer.
    Reopen,
    /// To the writer: take what is in the pipes now, then forget the container.
    Finish,
    /// To the writer: forget the container.
    Remove,
    /// To the writer: a client, with the descriptors for the outputs that it wants.
    Attach,
    /// To the shim: a command without an answer of its own has been taken.
    Taken,
    /// To the shim, with the errno.
    Reopened,
    /// To the shim, with the lost lines.
    Finished,
    /// To the shim, with the errno (0: no more) and the lost lines so far.
    Trouble,
}

const KINDS: [Kind; 9] = [
    Kind::Add,
    Kind::Reopen,
    Kind::Finish,
    Kind::Remove,
    Kind::Attach,
    Kind::Taken,
    Kind::Reopened,
    Kind::Finished,
    Kind::Trouble,
];

/// The largest message: the longest path and container id, and some.
pub(crate) const MAXIMUM_MESSAGE: usize = 8192;

/// The outputs that a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs(u8);

impl Outputs {
    /// stdout, stderr.
    pub(crate) fn new([stdout, stderr]: [bool; 2]) -> Self {
        Self(u8::from(stdout) | u8::from(stderr) << 1)
    }

    /// stdout, stderr.
    pub(super) fn wanted(self) -> [bool; 2] {
        [self.0 & 1 != 0, self.0 & 2 != 0]
    }
}

/// A message; the fields that its kind does not need are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) errno: i32,
    pub(crate) lost_lines: u64,
    pub(crate) outputs: Outputs,
    pub(crate) container_id: String,
    /// Of the log file.
    pub(crate) path: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: Kind, container_id: &str) -> Self {
        Self {
            kind,
            errno: 0,
            lost_lines: 0,
            outputs: Outputs::default(),
            container_id: container_id.to_owned(),
            path: Vec::new(),
        }
    }

    /// `None` if the id is longer than 65535 bytes or the whole is longer than [`MAXIMUM_MESSAGE`].
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let kind = KINDS.iter().position(|kind| *kind == self.kind)?;
        let mut bytes = vec![u8::try_from(kind).ok()?];
        bytes.extend(self.errno.to_le_bytes());
        bytes.extend(self.lost_lines.to_le_bytes());
        bytes.push(self.outputs.0);
        bytes.extend(u16::try_from(self.container_id.len()).ok()?.to_le_bytes());
        bytes.extend(self.container_id.as_bytes());
        bytes.extend(&self.path);
        (bytes.len() <= MAXIMUM_MESSAGE).then_some(bytes)
    }

    /// `None` if that is no message.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (errno, rest) = rest.split_first_chunk()?;
        let (lost_lines, rest) = rest.split_first_chunk()?;
        let (outputs, rest) = rest.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (container_id, path) =
            rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        Some(Self {
            kind: *KINDS.get(usize::from(*kind))?,
            errno: i32::from_le_bytes(*errno),
            lost_lines: u64::from_le_bytes(*lost_lines),
            outputs: Outputs(*outputs),
            container_id: String::from_utf8(container_id.to_vec()).ok()?,
            path: path.to_vec(),
        })
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test says what went wrong by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_socket() {
        for kind in KINDS {
            let message = Message {
                errno: -28,
                lost_lines: u64::MAX - 1,
                outputs: Outputs::new([false, true]),
                path: b"/var/log/\xff".to_vec(),
                ..Message::new(kind, "container")
            };
            let bytes = message.encode().unwrap();
            assert_eq!(Message::decode(&bytes), Some(message));
        }
    }

    #[test]
    fn what_is_cut_or_too_long_is_no_message() {
        let message = Message::new(Kind::Add, "container");
        let bytes = message.encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..length]), None);
        }
        let path = vec![b'p'; MAXIMUM_MESSAGE];
        assert_eq!(Message { path, ..message }.encode(), None);
    }
}
