//! The connection to one shim: many requests at a time, each with its deadline, and the stream of events.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use carpel_shim_protocol::message::Event;
use carpel_shim_protocol::message::PodState;
use carpel_shim_protocol::message::Request;
use carpel_shim_protocol::message::Response;
use carpel_shim_protocol::message::envelope::Body;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use super::error::ShimError;
use super::packet;
use super::packet::Outgoing;
use super::packet::PacketError;
use super::poll;
use super::process::ShimProcess;

/// Name of the socket in a pod's directory.
pub const SOCKET_NAME: &str = "shim.sock";

/// So many events wait for their reader; then nothing more is read from the shim until there is room, answers included.
pub const EVENT_QUEUE_LENGTH: usize = 1024;

/// How often a connection is tried again while the shim's queue of connections is full.
const CONNECT_RETRY: Duration = Duration::from_millis(5);

type Answer = Result<(response::Result, Vec<OwnedFd>), ShimError>;

/// A connection on which the shim has answered Hello.
#[derive(Debug)]
pub struct Connected {
    /// To ask for more.
    pub client: ShimClient,
    /// What the shim has said of its pod. Events up to `event_sequence` are included; those may still come as events too.
    pub state: PodState,
    /// Events in the order of their sequence numbers. The channel ends with the connection.
    pub events: mpsc::Receiver<Event>,
}

/// A cheap handle of the connection to one shim. The connection is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct ShimClient {
    owner: Arc<Owner>,
}

/// Ends the reader with the last client: the reader itself holds the connection only.
#[derive(Debug)]
struct Owner {
    connection: Arc<Connection>,
    reader: AbortHandle,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug)]
struct Connection {
    socket: AsyncFd<OwnedFd>,
    next_request: AtomicU64,
    pending: Mutex<Pending>,
    ended: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Pending {
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    /// No answer will come any more.
    closed: bool,
}

/// Forgets a request whose caller waits no longer.
struct Waiting<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.connection.pending().answers.remove(&self.id);
    }
}

impl ShimClient {
    /// Takes over a connected SEQPACKET socket and says Hello. Events after `last_event_sequence` come again.
    ///
    /// # Errors
    ///
    /// If the socket cannot be polled, or as [`ShimClient::call`].
    pub async fn open(
        socket: OwnedFd,
        last_event_sequence: u64,
        within: Duration,
    ) -> Result<Connected, ShimError> {
        carpel_linux::socket::set_nonblocking(&socket).map_err(|error| {
            let step = "make the socket non-blocking";
            let errno = error.errno();
            ShimError::Packet(PacketError::System { step, errno })
        })?;
        let socket =
            poll::register(socket, Interest::READABLE | Interest::WRITABLE).map_err(|errno| {
                let step = "poll the socket";
                ShimError::Packet(PacketError::System { step, errno })
            })?;
        let connection = Arc::new(Connection {
            socket,
            next_request: AtomicU64::new(1),
            pending: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        let (sender, events) = mpsc::channel(EVENT_QUEUE_LENGTH);
        let reader = tokio::spawn(read(Arc::clone(&connection), sender)).abort_handle();
        let client = Self {
            owner: Arc::new(Owner { connection, reader }),
        };
        let state = client.hello(last_event_sequence, within).await?;
        Ok(Connected {
            client,
            state,
            events,
        })
    }

    /// Finds a shim again by the directory of its pod: connects to its socket, which must be root's, and says Hello.
    ///
    /// The process is known for sure: it answered after its pidfd had been opened.
    ///
    /// # Errors
    ///
    /// [`ShimError::Connect`] if no shim listens there, [`ShimError::ForeignPeer`], or as [`ShimClient::call`].
    pub async fn connect(
        directory: &Path,
        last_event_sequence: u64,
        within: Duration,
    ) -> Result<(Connected, ShimProcess), ShimError> {
        let path = directory.join(SOCKET_NAME);
        let failed = |source| ShimError::Connect {
            path: path.clone(),
            source,
        };
        let deadline = Instant::now() + within;
        let socket = loop {
            match connect_socket(directory) {
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    tokio::time::sleep(CONNECT_RETRY).await;
                }
                connected => break connected.map_err(failed)?,
            }
        };
        let peer = rustix::net::sockopt::socket_peercred(&socket).map_err(failed)?;
        if !peer.uid.is_root() {
            let uid = peer.uid.as_raw();
            return Err(ShimError::ForeignPeer { path, uid });
        }
        let process = ShimProcess::open(peer.pid).map_err(failed)?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        let connected = Self::open(socket, last_event_sequence, remaining).await?;
        if Pid::from_raw(connected.state.shim_pid) != Some(peer.pid) {
            return Err(ShimError::UnexpectedResponse { operation: "Hello" });
        }
        Ok((connected, process))
    }

    /// Asks the shim, and waits for its answer or the end of `within`. The answer is never a `Failure`: that is an error.
    ///
    /// Dropping the future forgets the answer; the shim carries the request out all the same.
    ///
    /// # Errors
    ///
    /// [`ShimError::Failed`] if the shim could not; the others if the answer is not known.
    pub async fn call(
        &self,
        operation: Operation,
        descriptors: Vec<OwnedFd>,
        within: Duration,
    ) -> Answer {
        let name = operation_name(&operation);
        let span = tracing::trace_span!(
            target: "carpel::trace",
            "shim",
            otel.name = format!("shim {name}"),
            otel.kind = "client",
        );
        let asked = self.ask(operation, descriptors).instrument(span);
        tokio::time::timeout(within, asked)
            .await
            .unwrap_or(Err(ShimError::Timeout {
                operation: name,
                limit: within,
            }))
    }

    async fn ask(&self, operation: Operation, descriptors: Vec<OwnedFd>) -> Answer {
        let connection = &self.owner.connection;
        let id = connection.next_request.fetch_add(1, Ordering::Relaxed);
        let request = Request {
            id,
            operation: Some(operation),
        };
        let outgoing =
            Outgoing::new(Body::Request(request), descriptors).map_err(ShimError::Packet)?;
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = connection.pending();
            if pending.closed {
                return Err(ShimError::Disconnected);
            }
            pending.answers.insert(id, sender);
        }
        let _waiting = Waiting { connection, id };
        connection.send(&outgoing).await?;
        // Its copies have arrived with the message: the shim now has the only ones.
        drop(outgoing);
        answer.await.unwrap_or(Err(ShimError::Disconnected))
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        *self.owner.connection.ended.borrow()
    }

    /// Waits until the connection has ended, by the shim's death or by a broken packet.
    pub async fn closed(&self) {
        let mut ended = self.owner.connection.ended.subscribe();
        // The sender lives as long as self: waiting cannot fail.
        if ended.wait_for(|ended| *ended).await.is_err() {
            tracing::debug!("shim connection dropped while it was waited for");
        }
    }
}

impl Connection {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<(), ShimError> {
        loop {
            let ready = self.socket.writable().await;
            let mut ready = ready.map_err(|_gone| ShimError::Disconnected)?;
            match outgoing.send(self.socket.as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                Err(PacketError::Closed) => return Err(ShimError::Disconnected),
                sent => return sent.map_err(ShimError::Packet),
            }
        }
    }

    async fn receive(&self) -> Result<packet::Received, PacketError> {
        loop {
            let ready = self.socket.readable().await;
            let mut ready = ready.map_err(|_gone| PacketError::Closed)?;
            match packet::receive(self.socket.as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                received => return received,
            }
        }
    }

    fn answer(&self, response: Response, descriptors: Vec<OwnedFd>) {
        let waiting = self.pending().answers.remove(&response.id);
        let Some(waiting) = waiting else {
            tracing::debug!(id = response.id, "answer that nobody waits for any more");
            return;
        };
        let answer = match response.result {
            Some(response::Result::Failure(failure)) => Err(failure.into()),
            Some(result) => Ok((result, descriptors)),
            None => Err(ShimError::Packet(PacketError::NoResult)),
        };
        if waiting.send(answer).is_err() {
            tracing::debug!(id = response.id, "caller has left while its answer came");
        }
    }

    fn end(&self) {
        let mut pending = self.pending();
        pending.closed = true;
        // Dropping the senders tells the callers.
        pending.answers.clear();
        drop(pending);
        self.ended.send_replace(true);
    }
}

/// Reads until the connection ends; then everybody who waits is told.
async fn read(connection: Arc<Connection>, events: mpsc::Sender<Event>) {
    let error = loop {
        let received = match connection.receive().await {
            Ok(received) => received,
            Err(error) => break error,
        };
        match received.body {
            Body::Response(response) => connection.answer(response, received.descriptors),
            // Waits if the queue is full; if nobody reads events any more, answers still count.
            Body::Event(event) => drop(events.send(event).await),
            Body::Request(_) => break PacketError::WrongDirection,
        }
    };
    if error == PacketError::Closed {
        tracing::debug!("shim has closed its connection");
    } else {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "shim connection is broken"
        );
    }
    // The other side sees it at once, although clients may still hold the socket.
    if let Err(errno) =
        rustix::net::shutdown(connection.socket.as_fd(), rustix::net::Shutdown::Both)
    {
        tracing::debug!(%errno, "shut down the broken connection");
    }
    connection.end();
}

/// Connects below the directory's own descriptor: its path may be longer than a socket address.
fn connect_socket(directory: &Path) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The request's name in errors.
pub(super) fn operation_name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Hello(_) => "Hello",
        Operation::CreateSandbox(_) => "CreateSandbox",
        Operation::CreateContainer(_) => "CreateContainer",
        Operation::StartContainer(_) => "StartContainer",
        Operation::SignalContainer(_) => "SignalContainer",
        Operation::RemoveContainer(_) => "RemoveContainer",
        Operation::Exec(_) => "Exec",
        Operation::ReopenLog(_) => "ReopenLog",
        Operation::Shutdown(_) => "Shutdown",
        Operation::Attach(_) => "Attach",
        Operation::CloseStdin(_) => "CloseStdin",
        Operation::KillExec(_) => "KillExec",
    }
}
