//! The demo's private Carpel: its directory, its daemon, and the removal of both with proof that nothing is left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;
use super::error::DemoError;
use super::processes;
use super::screen::Screen;

/// How long the daemon may take to answer for the first time, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    directory: PathBuf,
    /// Ids of sandboxes and containers: what is left of them is found by these.
    ids: Vec<String>,
    /// Groups of Carpel that were there before, as on a machine that runs it: they stay.
    cgroups_before: Vec<PathBuf>,
    carpel: PathBuf,
    daemon: Option<Child>,
}

/// Ends with the name of the first signal that asks for an end.
pub(crate) fn interrupted() -> Result<impl Future<Output = &'static str>, DemoError> {
    let of = |kind| signal(kind).map_err(DemoError::Signals);
    let mut interrupt = of(SignalKind::interrupt())?;
    let mut terminate = of(SignalKind::terminate())?;
    let mut hangup = of(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    })
}

impl Stage {
    /// Makes the directory. Nothing runs yet.
    pub(crate) fn build() -> Result<Self, DemoError> {
        let carpel = beside_the_demo()?;
        processes::adopt_orphans().map_err(DemoError::Subreaper)?;
        let name = format!("carpel-demo-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        for folder in ["", "root", "run", "netns", "logs", "config"] {
            let folder = directory.join(folder);
            fs::create_dir_all(&folder).map_err(DemoError::file("make", folder))?;
        }
        Ok(Self {
            directory,
            ids: Vec::new(),
            cgroups_before: own_groups()
                .into_iter()
                .filter(|path| path.is_dir())
                .collect(),
            carpel,
            daemon: None,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Notes the id of a sandbox or a container.
    pub(crate) fn note(&mut self, id: &str) {
        self.ids.push(id.to_owned());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/carpel.sock")
    }

    /// The program `carpel`, told to talk to this daemon.
    pub(crate) fn carpel(&self) -> Command {
        let mut command = Command::new(&self.carpel);
        command
            .env("CARPEL_SOCKET", self.socket())
            .env("CARPEL_AGENT_SOCKET", self.path("run/agent.sock"));
        command
    }

    /// Writes the configuration; its text.
    pub(crate) fn configure(&self) -> Result<String, DemoError> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut text = format!(
            "root = {:?}\nrun_directory = {:?}\n",
            path("root"),
            path("run")
        );
        text.push_str(&format!(
            "\n[cgroup]\nmissing_controllers = \"warn\"\n\n[network]\nmode = \"built-in\"\n\n[pod]\nnamespace_directory = {:?}\n",
            path("netns")
        ));
        text.push_str(&format!("\n[agent]\nlogs_directory = {:?}\n", path("logs")));
        let file = self.path("carpel.toml");
        write(&file, &text)?;
        Ok(text)
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) async fn start_daemon(&mut self) -> Result<Client, DemoError> {
        let log = self.path("daemon.log");
        let stderr = fs::File::create(&log).map_err(DemoError::file("make", &log))?;
        let mut command = Command::new(&self.carpel);
        command
            .args(["serve", "--log-format", "text", "--config"])
            .arg(self.path("carpel.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            // Ctrl-C of the terminal is for the demo, which stops the pod first.
            .process_group(0);
        let daemon = command.spawn().map_err(|source| DemoError::Run {
            program: self.carpel.display().to_string(),
            source,
        })?;
        let daemon = self.daemon.insert(daemon);
        let start = Instant::now();
        let socket = self.directory.join("run/carpel.sock");
        while start.elapsed() < PATIENCE {
            if let Ok(Some(status)) = daemon.try_wait() {
                return Err(DemoError::DaemonEnded { status });
            }
            if let Ok(mut client) = Client::connect(&socket).await
                && client.version().await.is_ok()
            {
                return Ok(client);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(DemoError::Silent {
            seconds: PATIENCE.as_secs(),
        })
    }

    /// The end of the daemon's log, for whoever looks for a reason.
    pub(crate) fn show_log(&self, screen: &mut Screen) {
        let text = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(15)..);
        screen.say("the daemon's last words:");
        screen.quote(&last.unwrap_or_default().join("\n"));
    }

    /// Removes pods, daemon, cgroups, mounts and files, whatever of them exists, and looks that nothing is left.
    pub(crate) async fn remove(mut self, screen: &mut Screen) -> Result<(), DemoError> {
        self.remove_pods(screen).await;
        self.stop_daemon(screen).await;
        let mut left = Vec::new();
        self.end_processes(&mut left).await;
        self.remove_cgroups(&mut left);
        self.unmount(&mut left);
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            left.push(format!("directory {} ({error})", self.directory.display()));
        }
        if left.is_empty() {
            screen.check(&format!(
                "nothing is left: no process, no mount, no cgroup, no {}",
                self.directory.display()
            ));
            Ok(())
        } else {
            Err(DemoError::LeftBehind { things: left })
        }
    }

    /// What an interrupted demo has not come to.
    async fn remove_pods(&mut self, screen: &mut Screen) {
        if self.daemon.is_none() {
            return;
        }
        // The agent would make them anew: the objects go first.
        let mut command = self.carpel();
        command.args([
            "delete",
            "--grace-period=0",
            "--ignore-not-found",
            "--timeout=10s",
            "-f",
        ]);
        if let Err(error) = super::busybox::run(command.arg(super::act::manifests())) {
            screen.error(&error);
        }
        let work = async {
            let mut client = Client::connect(&self.socket()).await?;
            for id in client.sandboxes().await? {
                screen.say("the pod is still there: stopped and removed");
                self.note(&id);
                client.stop_sandbox(&id).await?;
                client.remove_sandbox(&id).await?;
            }
            Ok::<_, DemoError>(())
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => screen.error(&error),
            Err(_) => screen.say("the daemon does not answer; its pods are killed below"),
        }
    }

    async fn stop_daemon(&mut self, screen: &mut Screen) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let pid = i32::try_from(daemon.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Ok(Some(status)) = daemon.try_wait() {
                screen.check(&format!(
                    "the daemon ended within {} ms of SIGTERM, {status}",
                    start.elapsed().as_millis()
                ));
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        screen.say("the daemon did not end: killed");
        daemon.kill().and_then(|()| daemon.wait()).ok();
    }

    /// A process that still runs is a fault, told and ended.
    async fn end_processes(&self, left: &mut Vec<String>) {
        // The shim ends by itself right after the pod: it gets a moment.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            processes::reap();
            if processes::descendants().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for process in processes::descendants() {
            left.push(format!("process {} ({})", process.pid, process.command));
        }
        for _ in 0..100 {
            if processes::kill_all() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            processes::reap();
        }
        processes::reap();
    }

    /// A group of the pod is a fault. The groups that Carpel keeps between pods are removed if they were not there before.
    fn remove_cgroups(&self, left: &mut Vec<String>) {
        for mount in mounts("cgroup2") {
            let mut folders = folders_below(&mount);
            folders.retain(|folder| {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                self.ids.iter().any(|id| name.contains(id.as_str()))
            });
            for folder in folders.iter().rev() {
                left.push(format!("cgroup {}", folder.display()));
                // What holds it is told above; the processes in it are dead.
                fs::remove_dir(folder).ok();
            }
        }
        for folder in own_groups() {
            if folder.is_dir() && !self.cgroups_before.contains(&folder) {
                // Another Carpel may have begun to use it meanwhile.
                fs::remove_dir(&folder).ok();
            }
        }
    }

    fn unmount(&self, left: &mut Vec<String>) {
        let mut below: Vec<PathBuf> = mount_points()
            .into_iter()
            .filter(|path| path.starts_with(&self.directory))
            .collect();
        below.reverse();
        for path in below {
            // The daemon may make the directory of namespaces a mount of its own, as `ip netns` does.
            if path != self.path("netns") {
                left.push(format!("mount {}", path.display()));
            }
            rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).ok();
        }
    }
}

/// The program `carpel` of the same build: `target/release/examples/demo` → `target/release/carpel`.
fn beside_the_demo() -> Result<PathBuf, DemoError> {
    let own = std::env::current_exe().map_err(DemoError::file("find", "/proc/self/exe"))?;
    let path = own
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"))
        .join("carpel");
    if path.is_file() {
        Ok(path)
    } else {
        Err(DemoError::NotBuilt { path })
    }
}

/// The groups that Carpel keeps between pods, children before parents.
fn own_groups() -> Vec<PathBuf> {
    mounts("cgroup2")
        .into_iter()
        .flat_map(|mount| [mount.join("carpel/shims"), mount.join("carpel")])
        .collect()
}

/// Writes a small file of the demo.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    use std::io::Write;
    fs::File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(DemoError::file("write", path))
}

fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut folders = vec![folder.to_owned()];
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.extend(folders_below(&entry.path()));
        }
    }
    folders
}

/// Mount points of this mount namespace, in the order they were mounted.
fn mount_points() -> Vec<PathBuf> {
    mount_lines().into_iter().map(|(path, _)| path).collect()
}

fn mounts(filesystem: &str) -> Vec<PathBuf> {
    mount_lines()
        .into_iter()
        .filter(|(_, kind)| kind == filesystem)
        .map(|(path, _)| path)
        .collect()
}

/// proc_pid_mountinfo(5): mount point and type of each line.
fn mount_lines() -> Vec<(PathBuf, String)> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let path = left.split(' ').nth(4)?.into();
            Some((path, right.split(' ').next()?.to_owned()))
        })
        .collect()
}
