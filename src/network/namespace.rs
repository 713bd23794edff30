//! Network namespaces with a path: made, opened and removed where `ip netns`, Cilium and Multus look.
//!
//! Whoever changes its network namespace does so on a thread that ends with that work. The path keeps the
//! namespace alive without any process. Not here: what is in the namespace besides `lo`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::{FlockOperation, flock, fstatfs};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::NetworkError;
use super::route::RouteSocket;
use super::sysctl;

/// `NSFS_MAGIC` of include/uapi/linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Loopback is the first interface of every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// A network namespace: its path, and an open descriptor that keeps it alive for as long as this value lives.
#[derive(Debug, Clone)]
pub struct NetworkNamespace {
    /// Empty before it is bound.
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
    /// rtnetlink inside, left by the thread that made the namespace, for the attachment that follows.
    routes: Arc<Mutex<Option<RouteSocket>>>,
}

impl NetworkNamespace {
    /// Where it can be opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For `setns`, and for handing to the shim.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// An rtnetlink socket inside the namespace.
    pub(super) fn routes(&self) -> Result<RouteSocket, NetworkError> {
        let left = self
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(routes) = left {
            return Ok(routes);
        }
        self.inside("open rtnetlink", || {
            RouteSocket::open().map_err(io::Error::from)
        })?
        .map_err(|source| self.failed("open rtnetlink", source))
    }

    /// Runs `work` on a new thread that has joined the namespace, and waits for it.
    pub(super) fn inside<T: Send>(
        &self,
        step: &'static str,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NetworkError> {
        thread::scope(|scope| {
            let run = || {
                move_into_link_name_space(self.descriptor(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            };
            let joined = thread::Builder::new()
                .name("netns".to_owned())
                .spawn_scoped(scope, run)
                .map_err(|source| NetworkError::Thread { step, source })?
                .join();
            joined
                .unwrap_or_else(|_| Err(Errno::CANCELED))
                .map_err(|errno| self.failed("join the namespace", errno.into()))
        })
    }

    /// Gives it the path, below a directory that [`prepare_directory`] has seen.
    pub(super) fn bind(mut self, path: &Path) -> Result<Self, NetworkError> {
        occupy(path)?;
        let own = format!("/proc/thread-self/fd/{}", self.descriptor.as_raw_fd());
        if let Err(errno) = mount_bind(own, path) {
            remove(path)?;
            return Err(failed("bind", path, errno.into()));
        }
        self.path = path.to_owned();
        Ok(self)
    }

    fn failed(&self, step: &'static str, source: io::Error) -> NetworkError {
        failed(step, &self.path, source)
    }
}

/// Whether interfaces of a new namespace believe IPv6 routers (CVE-2020-10749: any pod can claim to be one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouterAdvertisements {
    /// They do not.
    Ignored,
    /// As the kernel has it; who configures the interfaces decides.
    AsTheKernel,
}

/// Makes a namespace with `lo` up. It has no path and lives as long as what is returned.
pub(super) fn create(
    advertisements: RouterAdvertisements,
) -> Result<NetworkNamespace, NetworkError> {
    const STEP: &str = "start the thread of a network namespace";
    thread::scope(|scope| {
        let joined = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || create_on_this_thread(advertisements))
            .map_err(|source| NetworkError::Thread { step: STEP, source })?
            .join();
        joined.unwrap_or_else(|_| {
            let source = Errno::CANCELED.into();
            Err(NetworkError::Thread { step: STEP, source })
        })
    })
}

/// The sequence on the thread that is used up by it.
fn create_on_this_thread(
    advertisements: RouterAdvertisements,
) -> Result<NetworkNamespace, NetworkError> {
    let path = Path::new("/proc/thread-self/ns/net");
    carpel_linux::netns::unshare_network()
        .map_err(|source| failed("unshare(CLONE_NEWNET)", path, source))?;
    let descriptor = File::open(path).map_err(|source| failed("open", path, source))?;
    if advertisements == RouterAdvertisements::Ignored {
        sysctl::ignore_router_advertisements("default")
            .map_err(|source| failed("set accept_ra to 0", path, source))?;
    }
    let mut routes =
        RouteSocket::open().map_err(|errno| failed("open rtnetlink", path, errno.into()))?;
    routes
        .set_up(LOOPBACK)
        .map_err(|errno| failed("bring lo up", path, errno.into()))?;
    Ok(NetworkNamespace {
        path: PathBuf::new(),
        descriptor: Arc::new(descriptor.into()),
        routes: Arc::new(Mutex::new(Some(routes))),
    })
}

/// Takes over a namespace that another has made, in a user namespace, and brings `lo` up in it. It has no path yet.
pub(super) fn adopt(
    descriptor: OwnedFd,
    advertisements: RouterAdvertisements,
) -> Result<NetworkNamespace, NetworkError> {
    let namespace = NetworkNamespace {
        path: PathBuf::new(),
        descriptor: Arc::new(descriptor),
        routes: Arc::default(),
    };
    if advertisements == RouterAdvertisements::Ignored {
        namespace
            .inside("set accept_ra to 0", || {
                sysctl::ignore_router_advertisements("default")
            })?
            .map_err(|source| namespace.failed("set accept_ra to 0", source))?;
    }
    let mut routes = namespace.routes()?;
    routes
        .set_up(LOOPBACK)
        .map_err(|errno| namespace.failed("bring lo up", errno.into()))?;
    *namespace
        .routes
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(routes);
    Ok(namespace)
}

/// Creates the file that the namespace is bound to. A file without a namespace is what a crash left, and used.
fn occupy(path: &Path) -> Result<(), NetworkError> {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match open(path) {
            Ok(_) => Err(NetworkError::NamespaceExists {
                path: path.to_owned(),
            }),
            Err(NetworkError::NamespaceMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        },
        Err(source) => Err(failed("create the file", path, source)),
    }
}

/// Opens the namespace that is bound to `path`.
pub(super) fn open(path: &Path) -> Result<NetworkNamespace, NetworkError> {
    let missing = || NetworkError::NamespaceMissing {
        path: path.to_owned(),
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(source) => return Err(failed("open", path, source)),
    };
    let kind = fstatfs(&file).map_err(|errno| failed("stat", path, errno.into()))?;
    if kind.f_type != NSFS_MAGIC {
        return Err(missing());
    }
    Ok(NetworkNamespace {
        path: path.to_owned(),
        descriptor: Arc::new(file.into()),
        routes: Arc::default(),
    })
}

/// Takes the path away; the namespace ends with its last process and descriptor. Done already is done.
pub(super) fn remove(path: &Path) -> Result<(), NetworkError> {
    // EINVAL: no mount there (any more), ENOENT: no file. Several daemons' deaths may have stacked mounts.
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("unmount", path, errno.into())),
        }
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the file", path, source))
        }
        _ => Ok(()),
    }
}

/// Makes the directory a shared mount, as `ip netns` does and under the same lock: what is bound in it is then
/// seen in other mount namespaces, and what is unbound disappears there too, or namespaces would live on.
pub(super) fn prepare_directory(directory: &Path) -> Result<(), NetworkError> {
    let failed = |step| move |source: io::Error| failed(step, directory, source);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(failed("create the directory"))?;
    let lock = File::open(directory).map_err(failed("open the directory"))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(io::Error::from)
        .map_err(failed("lock the directory"))?;
    let share = || {
        mount_change(
            directory,
            MountPropagationFlags::SHARED | MountPropagationFlags::REC,
        )
    };
    match share() {
        // Not a mount point yet.
        Err(Errno::INVAL) => {
            mount_bind_recursive(directory, directory)
                .map_err(io::Error::from)
                .map_err(failed("bind the directory to itself"))?;
            share()
                .map_err(io::Error::from)
                .map_err(failed("make the directory shared"))
        }
        other => other
            .map_err(io::Error::from)
            .map_err(failed("make the directory shared")),
    }
}

fn failed(step: &'static str, path: &Path, source: io::Error) -> NetworkError {
    NetworkError::Namespace {
        step,
        path: path.to_owned(),
        source,
    }
}
