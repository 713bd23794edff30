//! A node in a box (`integration/node/node`): a runtime with its own namespaces,
//! cgroup, registry and folders. Each test starts one and ends it.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::wait::wait_for;

/// Prints the variables that a test needs, then holds the node until its
/// standard input ends.
const HOLD: &str = r#"printf '%s\n' "$NODE_WORK" "$NODE_INIT_PID" "$NODE_SOCKET" "$NODE_CGROUP2"
env -0 >"$NODE_WORK/environment"
echo ready
read -r _ || true"#;

/// Which runtime the tests run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// The release build of this repository, or what `NODE_CARPEL` names.
    Carpel,
    /// The machine's containerd and runc, to prove the tests.
    Containerd,
}

impl Runtime {
    /// From the variable `RUNTIME`; Carpel when it is not set.
    ///
    /// # Panics
    ///
    /// When the variable names another runtime.
    #[must_use]
    pub fn chosen() -> Self {
        match std::env::var("RUNTIME").as_deref() {
            Err(_) | Ok("" | "carpel") => Self::Carpel,
            Ok("containerd") => Self::Containerd,
            Ok(other) => panic!("RUNTIME is carpel or containerd, not {other}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Carpel => "carpel",
            Self::Containerd => "containerd",
        }
    }
}

/// A running node. Dropping it ends everything in it; `finish` also asserts
/// that nothing was left behind.
#[derive(Debug)]
pub struct Node {
    /// What runs in it.
    pub runtime: Runtime,
    /// The node's folder: `root/`, `run/`, `daemon.pid`, `daemon.log`.
    pub work: PathBuf,
    /// The CRI socket.
    pub socket: PathBuf,
    /// Where the node sees cgroup2.
    pub cgroup2: PathBuf,
    /// A process that holds the node's namespaces, as this process sees it.
    pub init_pid: u32,
    process: Child,
    environment: Vec<(String, String)>,
}

/// The folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap().to_path_buf()
}

/// Why the tests of a node cannot run here, if they cannot.
fn obstacle(runtime: Runtime) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root: a node makes namespaces and cgroups".to_owned());
    }
    let repository = repository();
    let carpel = std::env::var_os("NODE_CARPEL")
        .map_or_else(|| repository.join("target/release/carpel"), PathBuf::from);
    let mut needed = vec![
        repository.join("integration/tools/bin/crictl"),
        repository.join("integration/tools/bin/testimages"),
    ];
    needed.push(match runtime {
        Runtime::Carpel => carpel,
        Runtime::Containerd => PathBuf::from("/usr/bin/containerd"),
    });
    let missing = needed.into_iter().find(|file| !file.exists())?;
    Some(format!("{} is missing: run make test", missing.display()))
}

impl Node {
    /// Starts a node, or prints `SKIP` and the reason.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a node with these variables, or prints `SKIP` and the reason.
    fn start_with(variables: &[(&str, &str)]) -> Option<Self> {
        let runtime = Runtime::chosen();
        if let Some(reason) = obstacle(runtime) {
            // `make test` counts these lines.
            println!("SKIP {reason}");
            return None;
        }
        Some(Self::start_here(runtime, variables))
    }

    /// Starts a node for a test of something that only Carpel promises.
    #[must_use]
    pub fn start_carpel() -> Option<Self> {
        Self::start_carpel_with(&[])
    }

    /// The same, with variables that `integration/node/node` reads.
    #[must_use]
    pub fn start_carpel_with(variables: &[(&str, &str)]) -> Option<Self> {
        if Runtime::chosen() == Runtime::Carpel {
            return Self::start_with(variables);
        }
        println!("SKIP asserts what only Carpel promises");
        None
    }

    fn start_here(runtime: Runtime, variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(repository().join("integration/node/node"))
            .args([runtime.name(), "bash", "-c", HOLD])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            match lines.next() {
                Some(line) => said.push(line.unwrap()),
                None => panic!("the node did not start: {}", complaint(&mut process)),
            }
            if said.last().is_some_and(|line| line == "ready") {
                break;
            }
        }
        let work = PathBuf::from(&said[0]);
        let environment = read_environment(&work.join("environment"));
        Self {
            runtime,
            init_pid: said[1].parse().unwrap(),
            socket: PathBuf::from(&said[2]),
            cgroup2: PathBuf::from(&said[3]),
            work,
            process,
            environment,
        }
    }

    /// A command that will run inside the node, with its variables.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init_pid.to_string()])
            .args(["--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup"])
            // Whoever runs the tests in the background has these ignored, and what they start inherits it.
            .args(["--", "env", "--default-signal=HUP,INT,QUIT"])
            .arg(program)
            .env_clear()
            .envs(self.environment.iter().cloned());
        command
    }

    /// A variable of the node; empty if it has no such.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        let mut variables = self.environment.iter();
        variables
            .find(|(found, _)| found == name)
            .map_or("", |(_, value)| value)
    }

    /// The daemon's pid inside the node.
    #[must_use]
    pub fn daemon_pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.work.join("daemon.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// What the daemon has logged so far.
    #[must_use]
    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.work.join("daemon.log")).unwrap()
    }

    /// Kills the daemon with SIGKILL and waits until it has gone.
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid();
        self.signal("KILL", pid);
        wait_for("the killed daemon's end", Duration::from_secs(60), || {
            (!self.is_running(pid)).then_some(())
        });
    }

    /// Sends a signal to a process of the node, by its pid there.
    pub fn signal(&self, signal: &str, pid: u32) {
        let status = self
            .command("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -{signal} {pid}: {status}");
    }

    /// Says whether a process of the node runs. A zombie does not, unless it has threads that have not ended yet: one
    /// that waits for a disk keeps the files open, and their locks.
    #[must_use]
    pub fn is_running(&self, pid: u32) -> bool {
        let process = self.proc().join(pid.to_string());
        let is_zombie = |text: String| text.contains(") Z ");
        match std::fs::read_to_string(process.join("stat")).map(is_zombie) {
            Err(_gone) => false,
            Ok(false) => true,
            Ok(true) => {
                std::fs::read_dir(process.join("task")).is_ok_and(|tasks| tasks.count() > 1)
            }
        }
    }

    /// Starts the daemon again and waits until it answers.
    pub fn start_daemon(&self) {
        let output = self
            .command(self.work.join("start-daemon"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the daemon did not start again: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The node's `/proc`, as this process reaches it.
    #[must_use]
    pub fn proc(&self) -> PathBuf {
        self.path_inside("/proc")
    }

    /// A path of the node's mount namespace, as this process reaches it.
    #[must_use]
    pub fn path_inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init_pid))
    }

    /// Ends the node and asserts that the runtime has left nothing behind.
    pub fn finish(mut self) {
        drop(self.process.stdin.take());
        let said = complaint(&mut self.process);
        let status = self.process.wait().unwrap();
        // Exit status 3 is a leak, and the node has named it.
        assert!(status.success(), "the node ended with {status}: {said}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.work.join("daemon.log"))
        {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(40);
            println!("the daemon's last lines:\n{}", lines[last..].join("\n"));
        }
        // Already waited for after `finish`; an error here is of no use to a test.
        if let Err(error) = self.process.wait() {
            println!("the node could not be waited for: {error}");
        }
    }
}

/// Standard error of the node, to its end.
fn complaint(process: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stream) = process.stderr.take() {
        stream.read_to_string(&mut text).unwrap();
    }
    text
}

fn read_environment(file: &Path) -> Vec<(String, String)> {
    std::fs::read_to_string(file)
        .unwrap()
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
