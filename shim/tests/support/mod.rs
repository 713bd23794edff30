//! A pod for tests of the shim's binary: a shim spawned with a socket pair, without a daemon.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(missing_docs, reason = "support of tests")]
#![allow(unreachable_pub, reason = "included by each test binary")]
#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

use carpel_linux::socket;
use carpel_shim_protocol::framing;
use carpel_shim_protocol::framing::Packet;
use carpel_shim_protocol::framing::Unpacked;
use carpel_shim_protocol::message::*;
use envelope::Body;
use request::Operation;
use response::Result as Answer;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use std::collections::VecDeque;
use std::fs;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use tempfile::TempDir;

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why the tests cannot run here, if they cannot.
pub fn obstacle() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    if cgroup_root().is_none() {
        return Some("no cgroup2 is mounted");
    }
    if !Path::new("/bin/busybox").exists() {
        return Some("needs busybox-static");
    }
    None
}

/// Where cgroup2 is mounted.
pub fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.join("cgroup.procs").exists() && !path.join("tasks").exists())
}

/// Tries until the condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        // A pause between two looks at the condition; nothing depends on its length.
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        drop(rustix::thread::nanosleep(&pause));
    }
}

/// A shim with its pod.
pub struct Pod {
    pub shim: Child,
    pub socket: OwnedFd,
    pub directory: TempDir,
    pub cgroup: PathBuf,
    pub events: VecDeque<Event>,
    answers: Vec<(Response, Vec<OwnedFd>)>,
    next_id: u64,
    sandbox: CreateSandbox,
}

static PODS: AtomicU32 = AtomicU32::new(0);

impl Pod {
    /// A shim that has no sandbox yet.
    pub fn spawn() -> Self {
        Self::spawn_by(&[])
    }

    /// A shim that another program executes, such as `unshare`.
    pub fn spawn_by(wrapper: &[&str]) -> Self {
        let program =
            std::env::var("CARPEL_SHIM").unwrap_or(env!("CARGO_BIN_EXE_carpel-shim").into());
        Self::spawn_from(&program, wrapper)
    }

    /// A shim from this file.
    pub fn spawn_from(program: &str, wrapper: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("carpel-shim-")
            .tempdir()
            .unwrap();
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        let name = format!("carpel-shim-test-{}-{number}", std::process::id());
        let cgroup = cgroup_root().unwrap().join(name);
        for leaf in ["infra", "shim"] {
            fs::create_dir_all(cgroup.join(leaf)).unwrap();
        }
        make_busybox(&directory.path().join("image"));
        fs::create_dir(directory.path().join("pod")).unwrap();
        let (socket, other) = socket::pair().unwrap();
        let mut line = wrapper.to_vec();
        line.extend([program, "test"]);
        let mut command = Command::new(line[0]);
        if wrapper.is_empty() {
            // As the daemon starts it.
            command.env_clear();
        }
        let shim = command
            .args(&line[1..])
            .stdin(Stdio::from(other))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let sandbox = CreateSandbox {
            sandbox_id: "pod".into(),
            directory: path(directory.path().join("pod")),
            shim_cgroup: path(cgroup.join("shim")),
            infra_cgroup: path(cgroup.join("infra")),
            nofile_soft: 1024,
            nofile_hard: 4096,
            network: NamespaceSource::New.into(),
            ipc: NamespaceSource::New.into(),
            uts: NamespaceSource::New.into(),
            pid: NamespaceSource::Host.into(),
            hostname: "pod-host".into(),
            sysctls: vec![Sysctl {
                name: "kernel.shmmni".into(),
                value: "1234".into(),
            }],
            ..CreateSandbox::default()
        };
        Self {
            shim,
            socket,
            directory,
            cgroup,
            events: VecDeque::new(),
            answers: Vec::new(),
            next_id: 1,
            sandbox,
        }
    }

    /// A shim with a sandbox.
    pub fn new() -> Self {
        Self::with(|_sandbox| {})
    }

    /// A shim with a sandbox that differs.
    pub fn with(change: impl FnOnce(&mut CreateSandbox)) -> Self {
        let mut pod = Self::spawn();
        pod.change(change);
        pod.create_sandbox();
        pod
    }

    /// Changes what `create_sandbox` will ask for.
    pub fn change(&mut self, change: impl FnOnce(&mut CreateSandbox)) {
        change(&mut self.sandbox);
    }

    /// Says Hello and makes the sandbox.
    pub fn create_sandbox(&mut self) {
        self.hello(0);
        let create = Operation::CreateSandbox(self.sandbox.clone());
        match self.ask(create) {
            Answer::CreateSandbox(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The shim's child of that name, when it has got that name.
    pub fn child(&self, name: &str) -> rustix::process::Pid {
        let mut found = None;
        wait_until(name, || {
            found = self.find_child(name);
            found.is_some()
        });
        found.unwrap()
    }

    fn find_child(&self, name: &str) -> Option<rustix::process::Pid> {
        let shim = self.shim.id();
        let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
        let pid = children.split_whitespace().find(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        })?;
        rustix::process::Pid::from_raw(pid.parse().unwrap())
    }

    pub fn sandbox(&self) -> CreateSandbox {
        self.sandbox.clone()
    }

    pub fn pod_directory(&self) -> PathBuf {
        self.directory.path().join("pod")
    }

    pub fn hello(&mut self, last_event_sequence: u64) -> PodState {
        let hello = Hello {
            version: 1,
            last_event_sequence,
        };
        match self.ask(Operation::Hello(hello)) {
            Answer::Hello(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request and waits for its response.
    pub fn ask(&mut self, operation: Operation) -> Answer {
        self.ask_with(operation, &[]).0
    }

    pub fn ask_with(
        &mut self,
        operation: Operation,
        descriptors: &[BorrowedFd<'_>],
    ) -> (Answer, Vec<OwnedFd>) {
        let id = self.send(operation, descriptors);
        self.answer_to(id)
    }

    /// Sends a request.
    pub fn send(&mut self, operation: Operation, descriptors: &[BorrowedFd<'_>]) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let body = Body::Request(Request {
            id,
            operation: Some(operation),
        });
        match framing::encode(body, descriptors.len()).unwrap() {
            Packet::Inline(packet) => {
                socket::send(self.socket.as_fd(), &packet, descriptors).unwrap()
            }
            Packet::Large { packet, content } => {
                let memfd = carpel_linux::memfd::sealed(c"test", &content).unwrap();
                let mut all = vec![memfd.as_fd()];
                all.extend(descriptors);
                socket::send(self.socket.as_fd(), &packet, &all).unwrap();
            }
        }
        id
    }

    /// Waits for a response.
    pub fn answer_to(&mut self, id: u64) -> (Answer, Vec<OwnedFd>) {
        loop {
            if let Some(index) = self
                .answers
                .iter()
                .position(|(response, _)| response.id == id)
            {
                let (response, descriptors) = self.answers.remove(index);
                return (response.result.unwrap(), descriptors);
            }
            assert!(self.read(PATIENCE), "no answer to request {id}");
        }
    }

    /// Reads one packet, if one comes in time.
    pub fn read(&mut self, patience: Duration) -> bool {
        let mut wanted = [PollFd::new(&self.socket, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: patience.as_secs().try_into().unwrap(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        if rustix::event::poll(&mut wanted, Some(&timeout)).unwrap() == 0 {
            return false;
        }
        let mut buffer = vec![0; carpel_shim_protocol::MAXIMUM_PACKET_BYTES];
        let mut received = socket::receive(self.socket.as_fd(), &mut buffer).unwrap();
        assert!(received.length > 0, "the shim closed the connection");
        let envelope = match framing::decode(&buffer[..received.length], received.descriptors.len())
            .unwrap()
        {
            Unpacked::Message(envelope) => envelope,
            Unpacked::Large { length } => {
                let memfd = received.descriptors.remove(0);
                let content = carpel_linux::memfd::read_sealed(memfd.as_fd(), length).unwrap();
                framing::decode_large(&content, received.descriptors.len()).unwrap()
            }
        };
        match envelope.body.unwrap() {
            Body::Response(response) => self.answers.push((response, received.descriptors)),
            Body::Event(event) => self.events.push_back(event),
            Body::Request(request) => panic!("{request:?}"),
        }
        true
    }

    /// Waits for an event that `choose` wants; others before it are dropped.
    pub fn event<T>(&mut self, choose: impl Fn(event::Body) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(chosen) = choose(event.body.unwrap()) {
                    return chosen;
                }
            }
            assert!(start.elapsed() < PATIENCE, "the event did not come");
            self.read(PATIENCE);
        }
    }

    pub fn exit_of(&mut self, id: &str) -> ContainerExited {
        self.event(|body| match body {
            event::Body::ContainerExited(exit) if exit.container_id == id => Some(exit),
            _ => None,
        })
    }

    /// A container of busybox that runs a line of shell.
    pub fn container(&self, id: &str, line: &str) -> CreateContainer {
        self.container_of(id, &["/bin/sh", "-c", line])
    }

    pub fn container_of(&self, id: &str, arguments: &[&str]) -> CreateContainer {
        let path = |name: &str| {
            let path = self.directory.path().join("containers").join(id).join(name);
            fs::create_dir_all(&path).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let cgroup = self.cgroup.join(id);
        if !cgroup.exists() {
            fs::create_dir(&cgroup).unwrap();
        }
        let image = self.directory.path().join("image");
        fs::create_dir_all(self.share()).unwrap();
        let mut mounts = standard_mounts();
        mounts.push(bind(
            self.share().to_str().unwrap(),
            "/share",
            &["rbind", "rw"],
        ));
        CreateContainer {
            container_id: id.into(),
            cgroup: cgroup.to_str().unwrap().to_owned(),
            log_path: String::new(),
            root: Some(Root {
                lower: vec![image.to_str().unwrap().to_owned()],
                upper: path("upper"),
                work: path("work"),
                readonly: false,
                ..Root::default()
            }),
            mounts,
            process: Some(process(arguments)),
            network: ContainerNamespace::NamespacePod.into(),
            ipc: ContainerNamespace::NamespacePod.into(),
            uts: ContainerNamespace::NamespacePod.into(),
            pid: ContainerNamespace::NamespaceNew.into(),
            private_cgroup_namespace: true,
            masked_paths: vec![
                "/proc/kcore".into(),
                "/proc/acpi".into(),
                "/proc/keys".into(),
            ],
            readonly_paths: vec!["/proc/sys".into(), "/proc/bus".into()],
            devices: standard_devices(),
            ..Default::default()
        }
    }

    /// A directory of the host that containers see as /share.
    pub fn share(&self) -> PathBuf {
        self.directory.path().join("share")
    }

    pub fn shared(&self, name: &str) -> String {
        let path = self.share().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn create(&mut self, create: CreateContainer) -> Result<ContainerCreated, Failure> {
        match self.ask(Operation::CreateContainer(create)) {
            Answer::CreateContainer(created) => Ok(created),
            Answer::Failure(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub fn start(&mut self, id: &str) -> Result<ContainerStarted, Failure> {
        let start = StartContainer {
            container_id: id.into(),
        };
        match self.ask(Operation::StartContainer(start)) {
            Answer::StartContainer(started) => Ok(started),
            Answer::Failure(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Creates and starts a container.
    pub fn run(&mut self, create: CreateContainer) {
        let id = create.container_id.clone();
        self.create(create).unwrap();
        self.start(&id).unwrap();
    }

    pub fn signal(&mut self, id: &str, signal: i32, scope: SignalScope) -> Answer {
        self.ask(Operation::SignalContainer(SignalContainer {
            container_id: id.into(),
            signal,
            scope: scope.into(),
        }))
    }

    pub fn remove(&mut self, id: &str) -> Answer {
        self.ask(Operation::RemoveContainer(RemoveContainer {
            container_id: id.into(),
        }))
    }

    /// Shuts the pod down and waits for the shim's end.
    pub fn shut_down(&mut self) {
        assert_eq!(
            self.ask(Operation::Shutdown(Shutdown {})),
            Answer::Shutdown(Done {})
        );
        assert!(self.shim.wait().unwrap().success());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(write_file(&self.cgroup.join("cgroup.kill"), "1"));
        drop(self.shim.kill());
        drop(self.shim.wait());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) && !remove_cgroups(&self.cgroup) {
            std::thread::yield_now();
        }
    }
}

/// Removes a cgroup and those below it; false while something is in one.
pub fn remove_cgroups(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else {
        return true;
    };
    for entry in entries.flatten() {
        if entry.path().is_dir() && !remove_cgroups(&entry.path()) {
            return false;
        }
    }
    fs::remove_dir(path).is_ok()
}

/// Writes a file, also one of the kernel.
pub fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(!path.exists())
        .open(path)?
        .write_all(text.as_bytes())
}

/// A root file system of busybox.
pub fn make_busybox(root: &Path) {
    for directory in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let names = "sh cat true false sleep id ls echo mkdir touch kill mount umount ps env hostname stat readlink setsid \
                 tty test grep ln rm pwd";
    for name in names.split_whitespace() {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let write = |name: &str, text: &str| write_file(&root.join(name), text).unwrap();
    write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n",
    );
    write(
        "etc/group",
        "root:x:0:\nstaff:x:50:alice\nalice:x:1001:\nextra:x:60:bob,alice\n",
    );
    write("etc/not-a-program", "text");
}

pub fn process(arguments: &[&str]) -> Process {
    // What a container has by default: the fourteen of containerd.
    let capabilities = 0x0000_0000_a804_25fb;
    Process {
        arguments: arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect(),
        environment: vec![b"PATH=/bin".to_vec()],
        working_directory: "/".into(),
        user: Some(User::default()),
        capabilities: Some(CapabilitySets {
            bounding: capabilities,
            effective: capabilities,
            permitted: capabilities,
            inheritable: 0,
            ambient: 0,
        }),
        ..Default::default()
    }
}

pub fn mount(kind: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        source: kind.into(),
        r#type: kind.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

pub fn bind(source: &str, destination: &str, options: &[&str]) -> Mount {
    Mount {
        source: source.into(),
        ..mount("bind", destination, options)
    }
}

pub fn standard_mounts() -> Vec<Mount> {
    let plain = ["nosuid", "noexec", "nodev"];
    vec![
        mount("proc", "/proc", &plain),
        mount(
            "tmpfs",
            "/dev",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "devpts",
            "/dev/pts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("mqueue", "/dev/mqueue", &plain),
        mount("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "cgroup2",
            "/sys/fs/cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

pub fn standard_devices() -> Vec<Device> {
    let table = [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ];
    let mut devices: Vec<Device> = table
        .iter()
        .map(|(name, minor)| Device {
            path: format!("/dev/{name}"),
            r#type: "c".into(),
            major: 1,
            minor: *minor,
            mode: 0o666,
            ..Device::default()
        })
        .collect();
    devices.push(Device {
        path: "/dev/tty".into(),
        major: 5,
        minor: 0,
        ..devices[0].clone()
    });
    devices
}

/// A filter that answers `errno` to one system call and allows the rest, as bytes of struct sock_filter.
pub fn deny_filter(call: i64, errno: u32) -> Vec<u8> {
    let program = [
        (0x20_u16, 0_u8, 0_u8, 0_u32),
        (0x15, 0, 1, u32::try_from(call).unwrap()),
        (0x06, 0, 0, 0x0005_0000 | errno),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let bytes = program.iter().flat_map(|(code, jt, jf, k)| {
        let [a, b] = code.to_ne_bytes();
        let [c, d, e, f] = k.to_ne_bytes();
        [a, b, *jt, *jf, c, d, e, f]
    });
    bytes.collect()
}

impl Pod {
    /// Runs a container to its end.
    pub fn run_to_end(&mut self, create: CreateContainer) -> ContainerExited {
        let id = create.container_id.clone();
        self.run(create);
        self.exit_of(&id)
    }

    /// Waits until a container has written a file to /share.
    pub fn wait_for(&self, name: &str) {
        let path = self.share().join(name);
        wait_until(name, || path.exists());
    }
}

/// What an exec gave.
#[derive(Debug)]
pub struct ExecResult {
    pub exited: ExecExited,
    pub stdout: String,
}

impl Pod {
    /// Executes a program in a container and reads what it prints to its end.
    pub fn exec(&mut self, exec: Exec) -> Result<ExecResult, Failure> {
        use std::io::Read;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        let exec_id = exec.exec_id.clone();
        let descriptors = [null.as_fd(), write.as_fd(), write.as_fd()];
        let (answer, _) = self.ask_with(Operation::Exec(exec), &descriptors);
        drop(write);
        match answer {
            Answer::Exec(started) => assert!(started.pid > 0),
            Answer::Failure(failure) => return Err(failure),
            other => panic!("{other:?}"),
        }
        let exited = self.event(|body| match body {
            event::Body::ExecExited(exited) if exited.exec_id == exec_id => Some(exited),
            _ => None,
        });
        let mut stdout = String::new();
        fs::File::from(read).read_to_string(&mut stdout).unwrap();
        Ok(ExecResult { exited, stdout })
    }
}

/// An exec of a line of shell.
pub fn exec_of(container_id: &str, exec_id: &str, arguments: &[&str]) -> Exec {
    Exec {
        container_id: container_id.into(),
        exec_id: exec_id.into(),
        process: Some(process(arguments)),
        ..Exec::default()
    }
}

/// The process with this number is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}
