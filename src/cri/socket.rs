//! The unix socket of the daemon: made at once with its mode and owner, never in place of a live one.
//!
//! bind(2) makes the socket's file with the mode that the umask leaves, and only then it could be changed. So it is
//! bound under another name in the same directory, gets mode and owner there, and is renamed. Clients see no socket, the
//! old one, or the finished one. The name in the directory is removed at the end only if it is still ours.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Owner and group may connect, and nobody else: whoever can talk to the socket is root on the node.
const MODE: Mode = Mode::RUSR
    .union(Mode::WUSR)
    .union(Mode::RGRP)
    .union(Mode::WGRP);

/// Connections that wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("socket {path} is in use: another program answers there")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// It is not Carpel's to replace.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// A step did not work.
    #[error("{step} {path}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
}

/// A listening socket with its name. The name is removed when this is dropped, if it is still this socket's.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    name: Name,
}

/// The name of a socket in the file system: the file's device and inode tell whether it is still ours.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Socket {
    /// Makes the socket and begins to listen. The directory must exist. Call it inside of a tokio runtime or not.
    ///
    /// # Errors
    /// `InUse` if another program answers there, `NotASocket` if there is a file of another kind, else the step.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        refuse_occupied(path)?;
        let temporary = temporary_name(path);
        remove_if_there(&temporary)?;
        let listener = listen(&temporary)?;
        let made = finish(&temporary, path);
        if made.is_err() {
            // The first error is the one to tell; the file is below a name that the next start removes.
            remove_if_there(&temporary).unwrap_or_default();
        }
        Ok(Self {
            listener,
            name: made?,
        })
    }

    /// The path that clients connect to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// The listener for tokio, and the name to keep for as long as it listens.
    pub(super) fn into_parts(self) -> (UnixListener, Name) {
        (self.listener, self.name)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's name stays");
        }
    }
}

fn step(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    move |source| SocketError::Step {
        step,
        path: path.to_owned(),
        source,
    }
}

/// A dead socket may be replaced, and nothing may be there; anything else is an error.
fn refuse_occupied(path: &Path) -> Result<(), SocketError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(step("look at", path)(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        // Refused: nobody listens. Gone: whoever did has just removed it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        // Full: somebody listens, and does not keep up.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            Err(step("connect to", path)(error))
        }
        Ok(_) | Err(_) => Err(SocketError::InUse {
            path: path.to_owned(),
        }),
    }
}

/// Short, because a socket's path has 107 bytes at most (unix(7)).
fn temporary_name(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", std::process::id()))
}

fn remove_if_there(path: &Path) -> Result<(), SocketError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(step("remove the stale", path)(error))
        }
        _ => Ok(()),
    }
}

fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let flags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
    let address = SocketAddrUnix::new(path);
    let address = address.map_err(|error| step("name the socket", path)(error.into()))?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| step("make a socket for", path)(error.into()))?;
    // Linux gives the file the mode of the unbound socket, less the umask: it is never wider than wanted.
    rustix::fs::fchmod(socket.as_fd(), MODE)
        .and_then(|()| rustix::net::bind(socket.as_fd(), &address))
        .map_err(|error| step("bind", path)(error.into()))?;
    rustix::net::listen(socket.as_fd(), BACKLOG)
        .map_err(|error| step("listen at", path)(error.into()))?;
    Ok(UnixListener::from(socket))
}

/// Gives the socket its mode, owner and name.
fn finish(temporary: &Path, path: &Path) -> Result<Name, SocketError> {
    rustix::fs::chmod(temporary, MODE)
        .map_err(|error| step("change the mode of", temporary)(error.into()))?;
    if rustix::process::geteuid().is_root() {
        // A directory with the set-group-ID bit would give it a group of its own.
        std::os::unix::fs::lchown(temporary, Some(0), Some(0))
            .map_err(step("change the owner of", temporary))?;
    }
    let metadata = fs::symlink_metadata(temporary).map_err(step("look at", temporary))?;
    fs::rename(temporary, path).map_err(step("rename the socket to", path))?;
    Ok(Name {
        path: path.to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("carpel.sock");
        (folder, path)
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_socket_has_its_mode_and_can_be_reached() {
        let (folder, path) = folder();
        let socket = Socket::bind(&path).unwrap();
        let metadata = fs::metadata(socket.path()).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(names(&folder), ["carpel.sock"]);
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        let _socket = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_live_socket_is_refused_by_name_and_stays() {
        let (folder, path) = folder();
        let _other = UnixListener::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(names(&folder), ["carpel.sock"]);
    }

    #[test]
    fn another_file_is_refused_and_stays() {
        let (_folder, path) = folder();
        fs::File::create(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert!(path.is_file());
    }

    #[test]
    fn a_path_that_is_too_long_is_named() {
        let (folder, _path) = folder();
        let path = folder.path().join("x".repeat(120));
        let error = Socket::bind(&path.join("s")).unwrap_err();
        assert!(error.to_string().contains("xxx"), "{error}");
    }

    #[test]
    fn the_name_goes_with_the_socket() {
        let (folder, path) = folder();
        drop(Socket::bind(&path).unwrap());
        assert_eq!(names(&folder), [""; 0]);
    }

    #[test]
    fn the_name_of_a_successor_stays() {
        let (_folder, path) = folder();
        let first = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&path).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
