//! `carpel cp`: files into a container and out of one, by its own `tar`, as kubectl has it.

mod place;
mod tree;

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

pub(in crate::cli) use self::place::Place;
use super::target::Target;
use crate::cli::arguments::{CopyArguments, PodScope};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer;
use crate::cri::StreamSelection;
use crate::streaming::client::{
    Command, CommandEnd, CommandEvent, CommandOutput, StreamClientError,
};

/// Pieces on their way.
const PIECES: usize = 8;

/// So much of an archive is sent at once.
const PIECE: usize = 64 << 10;

pub(in crate::cli) fn run(arguments: &CopyArguments) -> Result<(), CliError> {
    match (&arguments.source, &arguments.destination) {
        (Place::There { .. }, Place::There { .. }) => Err(CliError::Copy {
            problem: "one of the two must be a path of this machine",
        }),
        (Place::Here(_), Place::Here(_)) => Err(CliError::Copy {
            problem: "one of the two must be POD:PATH",
        }),
        (
            Place::There {
                namespace,
                pod,
                path,
            },
            Place::Here(to),
        ) => Container::of(arguments, namespace.as_deref(), pod)?.fetch(path, to),
        (
            Place::Here(from),
            Place::There {
                namespace,
                pod,
                path,
            },
        ) => {
            // Before anything is begun in the container.
            std::fs::metadata(from).map_err(|source| CliError::Path {
                path: from.clone(),
                source,
            })?;
            Container::of(arguments, namespace.as_deref(), pod)?.store(from, path)
        }
    }
}

/// The container that is copied from or to.
struct Container<'a> {
    daemon: Daemon,
    id: String,
    arguments: &'a CopyArguments,
}

impl<'a> Container<'a> {
    fn of(
        arguments: &'a CopyArguments,
        namespace: Option<&str>,
        pod: &str,
    ) -> Result<Self, CliError> {
        let daemon = Daemon::of(&arguments.daemon)?;
        let scope = PodScope {
            namespace: namespace
                .map(str::to_owned)
                .or_else(|| arguments.scope.namespace.clone()),
            agent_socket: arguments.scope.agent_socket.clone(),
        };
        let target = Target {
            address: &arguments.daemon,
            scope: &scope,
            word: pod,
            own: arguments.of_pod.as_deref(),
            is_quiet: false,
        };
        let id = target.container(&daemon)?.id;
        Ok(Self {
            daemon,
            id,
            arguments,
        })
    }

    /// Whether a path is a folder there.
    fn is_folder(&self, path: &str) -> Result<bool, CliError> {
        let test = ["test", "-d", path].map(str::to_owned);
        let call = self.daemon.client().exec_sync(&self.id, &test, None);
        Ok(self.daemon.wait(call)?.exit_code == 0)
    }

    fn open(&self, command: &[&str], stdin: bool) -> Result<Command, CliError> {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let streams = StreamSelection { stdin, tty: false };
        let client = self.daemon.client();
        let url = self
            .daemon
            .wait(client.exec_url(&self.id, &command, streams))?;
        let trusted = endpoint::trusted_server(&url, &self.arguments.daemon)?;
        self.daemon.wait(Command::open(&url, &trusted))
    }

    /// Out of the container.
    fn fetch(&self, from: &str, to: &Path) -> Result<(), CliError> {
        let name = place::base_name(from).to_owned();
        let to = match to.is_dir() && name != "." {
            true => to.join(&name),
            false => to.to_owned(),
        };
        let folder = match name.as_str() {
            "." => from,
            _ => place::folder_of(from),
        };
        let folder = if folder.is_empty() { "." } else { folder };
        let command = self.open(&["tar", "cf", "-", "-C", folder, "--", &name], false)?;
        let (pieces, reader) = mpsc::channel(PIECES);
        let place = to.clone();
        let unpacking = std::thread::spawn(move || {
            let reader = Pieces {
                pieces: reader,
                piece: Bytes::new(),
            };
            tree::unpack(reader, &name, &place)
        });
        let ended = self.daemon.wait(async {
            let mut output = command.output;
            while let Some(event) = output.next().await? {
                match event {
                    // A reader that has failed says why at its end.
                    CommandEvent::Stdout(bytes) => drop(pieces.send(bytes).await),
                    CommandEvent::Stderr(bytes) => writer::complain_bytes(&bytes),
                }
            }
            drop(pieces);
            Ok::<_, CliError>(output.end()?)
        });
        let unpacked = unpacking.join().map_err(|_panic| CliError::Copy {
            problem: "unpacking has panicked",
        })?;
        // The command's own failure explains an archive that ends too early.
        check(ended?)?;
        let unpacked = unpacked.map_err(|source| CliError::Path {
            path: to.clone(),
            source,
        })?;
        for name in &unpacked.left_out {
            writer::complain(&format!("left out, as it is no file and no folder: {name}"));
        }
        match unpacked.count {
            0 => Err(CliError::Copy {
                problem: "there was nothing to copy",
            }),
            _ => Ok(()),
        }
    }

    /// Into the container.
    fn store(&self, from: &Path, to: &str) -> Result<(), CliError> {
        let own = from.canonicalize().ok();
        let own = own.as_deref().and_then(Path::file_name);
        let own = own.and_then(|name| name.to_str()).unwrap_or(".");
        let (folder, name) = match self.is_folder(to)? {
            true => (
                to,
                from.file_name().and_then(|it| it.to_str()).unwrap_or(own),
            ),
            false => (place::folder_of(to), place::base_name(to)),
        };
        let folder = if folder.is_empty() { "." } else { folder };
        let Command {
            mut input,
            mut output,
        } = self.open(&["tar", "xmf", "-", "-C", folder], true)?;
        let (pieces, mut reader) = mpsc::channel::<Bytes>(PIECES);
        let (source, name) = (from.to_owned(), name.to_owned());
        let packing = std::thread::spawn(move || {
            let mut pieces = io::BufWriter::with_capacity(PIECE, Sending { pieces });
            tree::pack(&source, &name, &mut pieces)?;
            pieces.flush()
        });
        let ended = self.daemon.wait(async {
            let sending = async {
                while let Some(piece) = reader.recv().await {
                    // Its end says why it takes no more.
                    if input.send(&piece).await.is_err() {
                        return;
                    }
                }
                input.end().await.ok();
                std::future::pending().await
            };
            {
                let mut printing = std::pin::pin!(print(&mut output));
                tokio::select! {
                    ended = &mut printing => ended?,
                    () = sending => printing.await?,
                }
            }
            Ok::<_, CliError>(output.end()?)
        });
        drop(reader);
        let packed = packing.join().map_err(|_panic| CliError::Copy {
            problem: "packing has panicked",
        })?;
        check(ended?)?;
        packed.map_err(|source| CliError::Path {
            path: from.to_owned(),
            source,
        })
    }
}

/// What `tar` says.
async fn print(output: &mut CommandOutput) -> Result<(), StreamClientError> {
    while let Some(event) = output.next().await? {
        let (CommandEvent::Stdout(bytes) | CommandEvent::Stderr(bytes)) = event;
        writer::complain_bytes(&bytes);
    }
    Ok(())
}

/// A `tar` that has failed has said why.
fn check(end: CommandEnd) -> Result<(), CliError> {
    match end {
        CommandEnd::Exited(0) => Ok(()),
        CommandEnd::Exited(code) => Err(CliError::Tar { code }),
        CommandEnd::Failed(message) => Err(CliError::Stream { message }),
    }
}

/// Reads pieces as they come.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        let piece = self.piece.split_to(length);
        buffer[..length].copy_from_slice(&piece);
        Ok(length)
    }
}

/// Sends pieces as they are written.
struct Sending {
    pieces: mpsc::Sender<Bytes>,
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.pieces.blocking_send(Bytes::copy_from_slice(bytes));
        match sent {
            Ok(()) => Ok(bytes.len()),
            Err(_gone) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
