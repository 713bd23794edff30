//! The client against a scripted shim on the other end of a socket pair; and the start of programs.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use carpel_shim_protocol::MAXIMUM_INLINE_BYTES;
use carpel_shim_protocol::MAXIMUM_LARGE_BYTES;
use carpel_shim_protocol::MAXIMUM_PACKET_BYTES;
use carpel_shim_protocol::framing::FramingError;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::ContainerStarted;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::Done;
use carpel_shim_protocol::message::Event;
use carpel_shim_protocol::message::Exec;
use carpel_shim_protocol::message::ExecStarted;
use carpel_shim_protocol::message::Failure;
use carpel_shim_protocol::message::FailureKind;
use carpel_shim_protocol::message::Mount;
use carpel_shim_protocol::message::Notice;
use carpel_shim_protocol::message::PodState;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::Request;
use carpel_shim_protocol::message::Response;
use carpel_shim_protocol::message::envelope::Body;
use carpel_shim_protocol::message::event;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response::Result as Answer;
use rustix::fs::OFlags;
use rustix::net::AddressFamily;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::pipe::PipeFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connection::Connected;
use super::connection::EVENT_QUEUE_LENGTH;
use super::connection::SOCKET_NAME;
use super::connection::ShimClient;
use super::embedded::ShimProgram;
use super::error::ShimError;
use super::error::ShimErrorKind;
use super::packet;
use super::packet::Outgoing;
use super::packet::PacketError;
use super::poll;
use super::process::ShimExit;

const SOON: Duration = Duration::from_secs(10);

fn socket_pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// The other end: says what the test tells it to.
struct Peer {
    socket: AsyncFd<OwnedFd>,
}

impl Peer {
    fn new(socket: OwnedFd) -> Self {
        let interest = Interest::READABLE | Interest::WRITABLE;
        Self {
            socket: poll::register(socket, interest).unwrap(),
        }
    }

    async fn send(&self, body: Body, descriptors: Vec<OwnedFd>) {
        let outgoing = Outgoing::new(body, descriptors).unwrap();
        loop {
            let mut ready = self.socket.writable().await.unwrap();
            match outgoing.send(self.socket.as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                sent => return sent.unwrap(),
            }
        }
    }

    async fn receive(&self) -> (Request, Vec<OwnedFd>) {
        loop {
            let mut ready = self.socket.readable().await.unwrap();
            match packet::receive(self.socket.as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                received => match received.unwrap() {
                    packet::Received {
                        body: Body::Request(request),
                        descriptors,
                    } => return (request, descriptors),
                    other => panic!("{other:?}"),
                },
            }
        }
    }

    async fn answer(&self, id: u64, result: Answer) {
        let result = Some(result);
        self.send(Body::Response(Response { id, result }), Vec::new())
            .await;
    }

    async fn event(&self, sequence: u64) {
        let text = format!("event {sequence}");
        let body = Some(event::Body::Notice(Notice { text }));
        self.send(Body::Event(Event { sequence, body }), Vec::new())
            .await;
    }

    fn raw(&self, bytes: &[u8]) {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL).unwrap();
    }
}

fn state() -> PodState {
    PodState {
        version: 1,
        shim_pid: 42,
        event_sequence: 3,
        ..PodState::default()
    }
}

/// A connection on which Hello has been said.
async fn connected() -> (Connected, Peer) {
    let (ours, theirs) = socket_pair();
    let peer = Peer::new(theirs);
    let shim = async {
        let (request, _) = peer.receive().await;
        let Some(Operation::Hello(hello)) = request.operation else {
            panic!("{request:?}");
        };
        assert_eq!((hello.version, hello.last_event_sequence), (1, 7));
        peer.answer(request.id, Answer::Hello(state())).await;
    };
    let (connected, ()) = tokio::join!(ShimClient::open(ours, 7, SOON), shim);
    let connected = connected.unwrap();
    assert_eq!(connected.state, state());
    (connected, peer)
}

/// An operation that another task asks while the test plays the shim.
fn start(
    client: &ShimClient,
    container: &str,
) -> tokio::task::JoinHandle<Result<ContainerStarted, ShimError>> {
    let client = client.clone();
    let container = container.to_owned();
    tokio::spawn(async move { client.start_container(container, SOON).await })
}

fn container_of(request: &Request) -> &str {
    match &request.operation {
        Some(Operation::StartContainer(start)) => &start.container_id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn answers_find_their_request_in_any_order() {
    let (connected, peer) = connected().await;
    let calls: Vec<_> = ["0", "1", "2", "3"]
        .map(|container| start(&connected.client, container))
        .into();
    let mut requests = Vec::new();
    for _ in &calls {
        requests.push(peer.receive().await.0);
    }
    for request in requests.iter().rev() {
        let started_at_nanoseconds = 100 + container_of(request).parse::<u64>().unwrap();
        let started = ContainerStarted {
            started_at_nanoseconds,
        };
        peer.answer(request.id, Answer::StartContainer(started))
            .await;
    }
    for (number, call) in (100..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap().started_at_nanoseconds, number);
    }
}

#[tokio::test]
async fn failures_keep_kind_step_errno_and_detail() {
    let (connected, peer) = connected().await;
    for (kind, expected) in [
        (FailureKind::FailureNotFound, ShimErrorKind::NotFound),
        (FailureKind::FailureWrongState, ShimErrorKind::WrongState),
        (FailureKind::FailureInvalid, ShimErrorKind::Invalid),
        (FailureKind::FailureExecute, ShimErrorKind::Execute),
        (FailureKind::FailureSystem, ShimErrorKind::System),
        (FailureKind::FailureUnspecified, ShimErrorKind::System),
    ] {
        let call = start(&connected.client, "a");
        let (request, _) = peer.receive().await;
        let failure = Failure {
            kind: kind.into(),
            step: "execute /bin/missing".into(),
            errno: 2,
            detail: "in the container".into(),
        };
        peer.answer(request.id, Answer::Failure(failure)).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), expected);
        assert_eq!(error.errno(), Some(2));
        assert_eq!(
            error.to_string(),
            "execute /bin/missing: No such file or directory (os error 2): in the container"
        );
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_an_error() {
    let (connected, peer) = connected().await;
    let call = start(&connected.client, "a");
    let (request, _) = peer.receive().await;
    peer.answer(request.id, Answer::Shutdown(Done {})).await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(
        error,
        ShimError::UnexpectedResponse {
            operation: "StartContainer"
        }
    ));
}

#[tokio::test]
async fn large_messages_and_descriptors_pass_both_ways() {
    let (connected, peer) = connected().await;
    let environment = vec![vec![b'x'; 100_000]; 20];
    let exec = Exec {
        exec_id: "e".into(),
        process: Some(Process {
            environment: environment.clone(),
            ..Process::default()
        }),
        ..Exec::default()
    };
    let (read_end, write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let streams = vec![read_end, write_end.try_clone().unwrap(), write_end];
    let shim = async {
        let (request, streams) = peer.receive().await;
        let Some(Operation::Exec(exec)) = request.operation else {
            panic!("not an exec");
        };
        assert_eq!(exec.process.unwrap().environment, environment);
        // The descriptors are in order: what goes into the second comes out of the first.
        rustix::io::write(&streams[1], b"through").unwrap();
        let mut buffer = [0; 16];
        let count = rustix::io::read(&streams[0], &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"through");
        let response = Response {
            id: request.id,
            result: Some(Answer::Exec(ExecStarted { pid: 9 })),
        };
        let master = streams.into_iter().nth(1).unwrap();
        peer.send(Body::Response(response), vec![master]).await;
    };
    let (answer, ()) = tokio::join!(connected.client.exec(exec, streams, SOON), shim);
    let (started, master) = answer.unwrap();
    assert_eq!(started.pid, 9);
    assert!(rustix::fs::fstat(master.unwrap()).is_ok());

    // And a large answer.
    let home = "h".repeat(MAXIMUM_INLINE_BYTES * 3);
    let user = carpel_shim_protocol::message::ResolvedUser {
        home: home.clone(),
        ..Default::default()
    };
    let shim = async {
        let (request, _) = peer.receive().await;
        let created = ContainerCreated {
            pid: 1,
            user: Some(user),
        };
        peer.answer(request.id, Answer::CreateContainer(created))
            .await;
    };
    let create = CreateContainer::default();
    let (answer, ()) = tokio::join!(connected.client.create_container(create, SOON), shim);
    assert_eq!(answer.unwrap().user.unwrap().home, home);
}

#[tokio::test]
async fn what_no_packet_can_carry_is_refused_before_it_is_sent() {
    let (connected, _peer) = connected().await;
    let mount = Mount {
        source: "s".repeat(MAXIMUM_LARGE_BYTES),
        ..Mount::default()
    };
    let create = CreateContainer {
        mounts: vec![mount],
        ..CreateContainer::default()
    };
    let error = connected
        .client
        .create_container(create, SOON)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ShimError::Packet(PacketError::Framing(FramingError::TooLarge { .. }))
        ),
        "{error:?}"
    );

    let streams = std::iter::repeat_with(|| rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap().0)
        .take(9)
        .collect();
    let error = connected
        .client
        .exec(Exec::default(), streams, SOON)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ShimError::Packet(PacketError::Framing(FramingError::TooManyDescriptors {
                count: 9
            }))
        ),
        "{error:?}"
    );
    assert!(!connected.client.is_closed());
}

#[tokio::test]
async fn events_come_in_order_between_answers() {
    let (mut connected, peer) = connected().await;
    let call = start(&connected.client, "a");
    let (request, _) = peer.receive().await;
    for sequence in 1..=50 {
        peer.event(sequence).await;
    }
    let started = Answer::StartContainer(ContainerStarted::default());
    peer.answer(request.id, started).await;
    call.await.unwrap().unwrap();
    for sequence in 1..=50 {
        assert_eq!(connected.events.recv().await.unwrap().sequence, sequence);
    }
}

#[tokio::test]
async fn a_full_event_queue_stops_the_reader_and_loses_nothing() {
    let (mut connected, peer) = connected().await;
    let all = 2 * EVENT_QUEUE_LENGTH as u64;
    let shim = tokio::spawn(async move {
        for sequence in 1..=all {
            peer.event(sequence).await;
        }
        peer
    });
    tokio::task::yield_now().await;
    for sequence in 1..=all {
        assert_eq!(connected.events.recv().await.unwrap().sequence, sequence);
    }
    drop(shim.await.unwrap());
    assert!(connected.events.recv().await.is_none());
}

#[tokio::test]
async fn answers_go_on_when_nobody_reads_events() {
    let (Connected { client, events, .. }, peer) = connected().await;
    drop(events);
    for sequence in 1..=10 {
        peer.event(sequence).await;
    }
    let call = start(&client, "a");
    let (request, _) = peer.receive().await;
    let started = Answer::StartContainer(ContainerStarted::default());
    peer.answer(request.id, started).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_end_of_the_connection_fails_all_that_wait_and_all_that_come() {
    let (mut connected, peer) = connected().await;
    let calls = ["a", "b", "c"].map(|container| start(&connected.client, container));
    for _ in &calls {
        peer.receive().await;
    }
    assert!(!connected.client.is_closed());
    drop(peer);
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ShimErrorKind::Disconnected);
    }
    tokio::time::timeout(SOON, connected.client.closed())
        .await
        .unwrap();
    assert!(connected.client.is_closed());
    assert!(connected.events.recv().await.is_none());
    let error = connected.client.shutdown(SOON).await.unwrap_err();
    assert!(matches!(error, ShimError::Disconnected));
}

/// What the peer sends, and that the connection does not survive it.
async fn breaks_the_connection(send: impl FnOnce(&Peer)) {
    let (connected, peer) = connected().await;
    let call = start(&connected.client, "a");
    peer.receive().await;
    send(&peer);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ShimError::Disconnected), "{error:?}");
    tokio::time::timeout(SOON, connected.client.closed())
        .await
        .unwrap();
}

#[tokio::test]
async fn broken_packets_end_the_connection() {
    // Field 3 (request) of 200 bytes, of which none come.
    breaks_the_connection(|peer| peer.raw(&[0x1a, 200, 1])).await;
    // Group wire types of no known field.
    breaks_the_connection(|peer| peer.raw(&[0xff; 64])).await;
    // No body.
    breaks_the_connection(|peer| peer.raw(&[0x10, 0])).await;
    // Larger than any receive buffer: the kernel cuts it.
    breaks_the_connection(|peer| peer.raw(&vec![0; MAXIMUM_PACKET_BYTES + 1])).await;
    // Two descriptors announced, none sent.
    breaks_the_connection(|peer| peer.raw(&[0x10, 2])).await;
    // Large, without a memfd.
    breaks_the_connection(|peer| peer.raw(&[0x08, 100])).await;
    // A request is nothing for the daemon.
    breaks_the_connection(|peer| peer.raw(&[0x1a, 0])).await;
}

#[tokio::test]
async fn a_large_message_in_a_pipe_is_refused_not_read() {
    breaks_the_connection(|peer| {
        let (read_end, _write_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let bytes = [0x08, 100];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = rustix::net::SendAncillaryBuffer::new(&mut space);
        let descriptors = [read_end.as_fd()];
        assert!(ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(&descriptors)));
        let data = [IoSlice::new(&bytes)];
        rustix::net::sendmsg(&peer.socket, &data, &mut ancillary, SendFlags::empty()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_a_late_answer_harms_nobody() {
    let (connected, peer) = connected().await;
    let short = Duration::from_millis(20);
    let error = connected.client.shutdown(short).await.unwrap_err();
    assert_eq!(error.kind(), ShimErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "shim has not answered Shutdown within 20ms"
    );
    let (late, _) = peer.receive().await;
    let call = start(&connected.client, "a");
    let (request, _) = peer.receive().await;
    peer.answer(late.id, Answer::Shutdown(Done {})).await;
    let started = Answer::StartContainer(ContainerStarted::default());
    peer.answer(request.id, started).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_client_closes_the_connection() {
    let (Connected { client, .. }, peer) = connected().await;
    let other = client.clone();
    drop(client);
    assert!(!other.is_closed());
    drop(other);
    let closed = async {
        loop {
            let mut ready = peer.socket.readable().await.unwrap();
            match packet::receive(peer.socket.as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                received => return received.unwrap_err(),
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(SOON, closed).await.unwrap(),
        PacketError::Closed
    );
}

#[tokio::test]
async fn nobody_listens_is_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let error = ShimClient::connect(directory.path(), 0, SOON)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ShimErrorKind::Disconnected);
    assert_eq!(error.errno(), Some(rustix::io::Errno::NOENT.raw_os_error()));
}

#[tokio::test]
async fn root_a_shim_is_found_again_below_a_long_path() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP not root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("d".repeat(200));
    std::fs::create_dir(&directory).unwrap();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let folder = std::fs::File::open(&directory).unwrap();
    let short = format!(
        "/proc/self/fd/{}/{SOCKET_NAME}",
        std::os::fd::AsRawFd::as_raw_fd(&folder)
    );
    let address = rustix::net::SocketAddrUnix::new(short).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let listener = poll::register(listener, Interest::READABLE).unwrap();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let shim = async {
        let ready = listener.readable().await.unwrap();
        let socket = rustix::net::accept_with(listener.get_ref(), flags).unwrap();
        drop(ready);
        let peer = Peer::new(socket);
        let (request, _) = peer.receive().await;
        let state = PodState {
            shim_pid: own,
            ..state()
        };
        peer.answer(request.id, Answer::Hello(state)).await;
        peer
    };
    let (connected, _peer) = tokio::join!(ShimClient::connect(&directory, 0, SOON), shim);
    let (connected, process) = connected.unwrap();
    assert_eq!(connected.state.shim_pid, own);
    assert_eq!(process.pid(), own);
}

/// A program of the machine, in place of the shim.
fn program(path: &str) -> Option<ShimProgram> {
    let Ok(bytes) = std::fs::read(path) else {
        println!("SKIP no {path}");
        return None;
    };
    Some(ShimProgram::from_bytes(&bytes).unwrap())
}

#[tokio::test]
async fn a_program_that_has_ended_is_reaped_with_its_exit_code() {
    let Some(program) = program("/bin/cat") else {
        return;
    };
    // cat reads the file that its argument names, fails, and says so by its exit code.
    let started = program.start("no-such-sandbox").await.unwrap();
    assert_eq!(started.process.exited().await.unwrap(), ShimExit::Exited(1));

    let started = program.start("/proc/self/environ").await.unwrap();
    assert_eq!(started.process.exited().await.unwrap(), ShimExit::Exited(0));
    assert!(!std::fs::exists(format!("/proc/{}", started.process.pid())).unwrap());
}

/// Whether whoever started this test has left it a descriptor of that number without close-on-exec: those the shim itself closes.
fn is_inherited(number: &str) -> bool {
    let information = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let flags = information.iter().flat_map(|text| text.lines());
    let flags = flags.filter_map(|line| line.strip_prefix("flags:"));
    let flags = flags.filter_map(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    let close_on_exec = OFlags::CLOEXEC.bits();
    number.parse::<u32>().unwrap() > 2 && flags.into_iter().any(|flags| flags & close_on_exec == 0)
}

#[tokio::test]
async fn a_killed_program_is_reaped_once() {
    let Some(program) = program("/bin/sleep") else {
        return;
    };
    let started = program.start("1000").await.unwrap();
    let folder = format!("/proc/{}", started.process.pid());
    let link = std::fs::read_link(format!("{folder}/exe")).unwrap();
    assert_eq!(link.to_str(), Some("/memfd:carpel-shim (deleted)"));
    assert_eq!(
        std::fs::read(format!("{folder}/environ")).unwrap(),
        b"GLIBC_TUNABLES=glibc.malloc.tcache_count=0\0"
    );
    assert_eq!(
        std::fs::read(format!("{folder}/cmdline")).unwrap(),
        b"carpel-shim\x001000\0"
    );
    assert_eq!(
        std::fs::read_link(format!("{folder}/cwd"))
            .unwrap()
            .to_str(),
        Some("/")
    );
    let descriptors = || {
        let entries = std::fs::read_dir(format!("{folder}/fd")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|number| !is_inherited(number)).collect();
        names.sort();
        names
    };
    let only_standard = async {
        // The dynamic linker of this program has files open at its start.
        while descriptors() != ["0", "1", "2"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, only_standard).await.unwrap();
    started.process.kill().unwrap();
    assert_eq!(started.process.exited().await.unwrap(), ShimExit::Killed(9));
    assert_eq!(started.process.exited().await.unwrap(), ShimExit::Unknown);
    started.process.kill().unwrap();
}

#[test]
fn the_embedded_program_is_a_static_executable_and_cannot_be_changed() {
    let program = ShimProgram::embedded().unwrap();
    let memfd = program.memfd();
    let mut head = [0; 4];
    rustix::io::pread(memfd, &mut head, 0).unwrap();
    assert_eq!(&head, b"\x7fELF");
    assert_eq!(
        rustix::io::pwrite(memfd, b"x", 0).unwrap_err(),
        rustix::io::Errno::PERM
    );
    assert_eq!(
        rustix::fs::ftruncate(memfd, 0).unwrap_err(),
        rustix::io::Errno::PERM
    );
}

#[tokio::test]
async fn root_the_embedded_shim_says_hello_and_leaves_when_it_is_asked() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP not root");
        return;
    }
    let program = ShimProgram::embedded().unwrap();
    let begin = std::time::Instant::now();
    let started = program.start("test").await.unwrap();
    let spawned = begin.elapsed();
    let connected = ShimClient::open(started.socket, 0, SOON).await.unwrap();
    println!("started in {spawned:?}, greeted in {:?}", begin.elapsed());
    assert_eq!(connected.state.shim_pid, started.process.pid());
    assert_eq!(connected.state.infra_pid, 0);
    let missing = connected.client.start_container("missing".into(), SOON);
    assert_eq!(missing.await.unwrap_err().kind(), ShimErrorKind::NotFound);
    connected.client.shutdown(SOON).await.unwrap();
    connected.client.closed().await;
    let exit = tokio::time::timeout(SOON, started.process.exited()).await;
    assert_eq!(exit.unwrap().unwrap(), ShimExit::Exited(0));
}
