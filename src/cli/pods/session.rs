//! This program's own terminal, joined with the streams of a command.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::error::CliError;
use crate::streaming::client::{
    Command, CommandEnd, CommandEvent, CommandInput, CommandOutput, StreamClientError,
};

/// Read from standard input at a time.
const PIECE: usize = 32 << 10;

/// Pieces that wait to be sent; then standard input waits.
const PIECES: usize = 4;

/// Ctrl-P, Ctrl-Q: what docker and podman have.
const DETACH: [u8; 2] = [0x10, 0x11];

/// What is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joining {
    /// Standard input is passed on.
    pub(super) stdin: bool,
    /// The command has a terminal: this one then passes on every key as it is.
    pub(super) tty: bool,
    /// Ctrl-P Ctrl-Q on that terminal leaves the command alone.
    pub(super) detaches: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By its command.
    Ended(CommandEnd),
    /// By the keys for that.
    Detached,
    /// By a signal of this number to this program.
    Signalled(u8),
}

/// The terminal of standard input with every key passed on; as it was before when this is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// None if standard input is no terminal.
    fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Drain, &self.before).ok();
    }
}

/// Joins them until the command ends, its streams do, or this program is to end.
pub(super) async fn join(command: Command, joining: Joining) -> Result<Outcome, CliError> {
    let raw = match joining.tty && joining.stdin {
        true => RawMode::enter().map_err(CliError::Terminal)?,
        false => None,
    };
    // Without raw mode these signals end this program as any other.
    let signals = raw.as_ref().map(|_raw| Signals::watch()).transpose();
    let mut signals = signals.map_err(CliError::Signals)?;
    let resized = match joining.tty {
        true => Some(signal(SignalKind::window_change()).map_err(CliError::Signals)?),
        false => None,
    };
    let keys = joining.stdin.then(read_stdin);
    let Command { input, mut output } = command;
    let mut sending = std::pin::pin!(send(input, keys, resized, joining));
    let ended = {
        let mut printing = std::pin::pin!(print(&mut output));
        tokio::select! {
            printed = &mut printing => printed.map(|()| None)?,
            detached = &mut sending => match detached {
                Sent::Detached => Some(Outcome::Detached),
            },
            number = async {
                match &mut signals {
                    Some(signals) => signals.next().await,
                    None => std::future::pending().await,
                }
            } => Some(Outcome::Signalled(number)),
        }
    };
    drop(raw);
    match ended {
        Some(outcome) => Ok(outcome),
        None => Ok(Outcome::Ended(output.end()?)),
    }
}

/// Prints what comes, until all has come.
async fn print(output: &mut CommandOutput) -> Result<(), CliError> {
    while let Some(event) = output.next().await? {
        match event {
            CommandEvent::Stdout(bytes) => write_all(io::stdout().lock(), &bytes)?,
            CommandEvent::Stderr(bytes) => write_all(io::stderr().lock(), &bytes)?,
        }
    }
    Ok(())
}

fn write_all(mut stream: impl Write, bytes: &[u8]) -> Result<(), CliError> {
    stream.write_all(bytes)?;
    Ok(stream.flush()?)
}

/// Why nothing more is sent.
enum Sent {
    Detached,
}

/// Sends keys and sizes; ends only by the keys that detach. How the rest ends is what the output says.
async fn send(
    mut input: CommandInput,
    mut keys: Option<mpsc::Receiver<Vec<u8>>>,
    mut resized: Option<Signal>,
    joining: Joining,
) -> Sent {
    if resized.is_some() {
        tell_size(&mut input).await.ok();
    }
    let mut escape = Escape::default();
    let watches = joining.detaches && joining.tty;
    loop {
        tokio::select! {
            piece = next_of(&mut keys) => {
                let sent = match piece {
                    Some(bytes) if watches => match escape.pass(&bytes) {
                        Some(bytes) => input.send(&bytes).await,
                        None => return Sent::Detached,
                    },
                    Some(bytes) => input.send(&bytes).await,
                    None => {
                        keys = None;
                        input.end().await
                    }
                };
                if sent.is_err() {
                    return std::future::pending().await;
                }
            }
            _new_size = async {
                match &mut resized {
                    Some(resized) => resized.recv().await,
                    None => std::future::pending().await,
                }
            } => {
                tell_size(&mut input).await.ok();
            }
        }
    }
}

async fn next_of(keys: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match keys {
        Some(keys) => keys.recv().await,
        None => std::future::pending().await,
    }
}

/// The size of the terminal that this program has, if it has one.
async fn tell_size(input: &mut CommandInput) -> Result<(), StreamClientError> {
    let size = [io::stdin().as_fd(), io::stdout().as_fd()]
        .into_iter()
        .find_map(|descriptor| rustix::termios::tcgetwinsize(descriptor).ok());
    match size {
        Some(size) => input.resize(size.ws_col, size.ws_row).await,
        None => Ok(()),
    }
}

/// Reads standard input on a thread of its own, which the end of this program ends: nothing else can end a read.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        let mut stdin = io::stdin();
        let mut buffer = vec![0; PIECE];
        loop {
            match stdin.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let piece = buffer[..length].to_vec();
                    if sender.blocking_send(piece).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

/// The signals after which the terminal must be put right before this program ends.
struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hang_up.recv() => 1,
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// Looks for the keys that detach.
#[derive(Debug, Default)]
struct Escape {
    /// The first of the two was the last key, and has not been sent.
    is_begun: bool,
}

impl Escape {
    /// What is to be sent; none if the keys have come.
    fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if self.is_begun && *byte == DETACH[1] {
                return None;
            }
            if self.is_begun {
                passed.push(DETACH[0]);
            }
            self.is_begun = *byte == DETACH[0];
            if !self.is_begun {
                passed.push(*byte);
            }
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_detach_and_one_alone_is_passed_on() {
        let mut escape = Escape::default();
        assert_eq!(escape.pass(b"ab").as_deref(), Some(&b"ab"[..]));
        assert_eq!(escape.pass(b"c\x10").as_deref(), Some(&b"c"[..]));
        assert_eq!(escape.pass(b"d").as_deref(), Some(&b"\x10d"[..]));
        assert_eq!(escape.pass(b"\x10\x10").as_deref(), Some(&b"\x10"[..]));
        assert_eq!(escape.pass(b"\x11"), None);
    }
}
