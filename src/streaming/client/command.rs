//! Exec and attach by the channel protocol: the first byte of a message is the number of its stream.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, StreamClientError, TrustedServer};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const SIZES: u8 = 4;

/// v5 alone: closes the channel whose number follows.
const CLOSE: u8 = 255;

const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// The command, with this exit code; or a container that one was attached to, with 0.
    Exited(i32),
    /// It did not run, or its streams did not go on: why.
    Failed(String),
}

/// What comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEvent {
    /// Bytes of its standard output, or of its terminal.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
}

/// The streams of a command.
#[derive(Debug)]
pub struct Command {
    /// To it.
    pub input: CommandInput,
    /// From it.
    pub output: CommandOutput,
}

/// The way to the command.
#[derive(Debug)]
pub struct CommandInput {
    sink: SplitSink<Socket, Message>,
    can_close: bool,
}

/// The way from the command.
#[derive(Debug)]
pub struct CommandOutput {
    stream: SplitStream<Socket>,
    end: Option<CommandEnd>,
}

impl Command {
    /// Opens the streams at a URL that Exec or Attach gave.
    ///
    /// # Errors
    /// `StreamClientError` if the server is not there, not trusted, or refuses: a URL is good once and for a minute.
    pub async fn open(url: &str, trusted: &TrustedServer) -> Result<Self, StreamClientError> {
        let (socket, protocol) = super::open(url, trusted, PROTOCOLS).await?;
        let (sink, stream) = socket.split();
        Ok(Self {
            input: CommandInput {
                sink,
                can_close: protocol == "v5.channel.k8s.io",
            },
            output: CommandOutput { stream, end: None },
        })
    }
}

impl CommandInput {
    /// Sends bytes for the command's standard input; waits while it does not read.
    ///
    /// # Errors
    /// `Broken` if the connection is.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), StreamClientError> {
        self.message(STDIN, bytes).await
    }

    /// Ends the command's standard input. A server that speaks only v4 has no word for it, and is told nothing.
    ///
    /// # Errors
    /// `Broken` if the connection is.
    pub async fn end(&mut self) -> Result<(), StreamClientError> {
        match self.can_close {
            true => self.message(CLOSE, &[STDIN]).await,
            false => Ok(()),
        }
    }

    /// Tells the size of the terminal.
    ///
    /// # Errors
    /// `Broken` if the connection is.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> Result<(), StreamClientError> {
        let size = format!("{{\"Width\":{columns},\"Height\":{rows}}}");
        self.message(SIZES, size.as_bytes()).await
    }

    async fn message(&mut self, channel: u8, bytes: &[u8]) -> Result<(), StreamClientError> {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        let sent = self.sink.send(Message::Binary(message.freeze())).await;
        sent.map_err(|source| StreamClientError::Broken(Box::new(source)))
    }
}

impl CommandOutput {
    /// What comes next; none when all has come.
    ///
    /// # Errors
    /// `Broken` if the connection is.
    pub async fn next(&mut self) -> Result<Option<CommandEvent>, StreamClientError> {
        while let Some(message) = self.stream.next().await {
            let bytes = match message {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Text(text)) => Bytes::from(text),
                Ok(Message::Close(_)) => return Ok(None),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                // After the last words a connection may end in any way.
                Err(_broken) if self.end.is_some() => return Ok(None),
                Err(source) => return Err(StreamClientError::Broken(Box::new(source))),
            };
            if let Some(event) = self.take(bytes) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn take(&mut self, mut bytes: Bytes) -> Option<CommandEvent> {
        if bytes.len() < 2 {
            // An empty message says that the server is there.
            return None;
        }
        let channel = bytes.split_to(1);
        match channel.first().copied() {
            Some(STDOUT) => Some(CommandEvent::Stdout(bytes)),
            Some(STDERR) => Some(CommandEvent::Stderr(bytes)),
            Some(ERROR) => {
                self.end = Some(end_of(&bytes));
                None
            }
            _ => None,
        }
    }

    /// How it ended, after all has come.
    ///
    /// # Errors
    /// `Ended` if the server did not say.
    pub fn end(self) -> Result<CommandEnd, StreamClientError> {
        self.end.ok_or(StreamClientError::Ended)
    }
}

/// From a `metav1.Status`; anything else is a message for people.
fn end_of(bytes: &[u8]) -> CommandEnd {
    let Ok(status) = serde_json::from_slice::<Value>(bytes) else {
        return CommandEnd::Failed(String::from_utf8_lossy(bytes).into_owned());
    };
    if status["status"] == "Success" {
        return CommandEnd::Exited(0);
    }
    let causes = status["details"]["causes"].as_array();
    let code = causes
        .into_iter()
        .flatten()
        .filter(|cause| cause["reason"] == "ExitCode")
        .find_map(|cause| cause["message"].as_str()?.parse().ok());
    match code {
        Some(code) if status["reason"] == "NonZeroExitCode" => CommandEnd::Exited(code),
        _ => {
            let message = status["message"].as_str();
            CommandEnd::Failed(message.unwrap_or("it does not say why").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::status::{Status, StatusFormat};

    #[test]
    fn an_end_is_read_as_it_is_written() {
        for (status, end) in [
            (Status::Success, CommandEnd::Exited(0)),
            (Status::of_exit(137), CommandEnd::Exited(137)),
            (
                Status::Failed("no".to_owned()),
                CommandEnd::Failed("Internal error occurred: no".to_owned()),
            ),
        ] {
            let bytes = status.encode(StatusFormat::Json).unwrap();
            assert_eq!(end_of(&bytes), end);
        }
        let text = "exit code 3".to_owned();
        assert_eq!(end_of(text.as_bytes()), CommandEnd::Failed(text));
    }
}
