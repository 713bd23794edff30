//! The daemon watched by strace: which calls it makes, and what becomes of it when one of them fails or kills it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::node::Node;

/// How long strace may take to attach to all threads of the daemon.
const ATTACH_DEADLINE: Duration = Duration::from_secs(30);

/// How long it may take to let go of them when it is interrupted.
const DETACH_DEADLINE: Duration = Duration::from_secs(3);

/// A system call of the daemon as strace shows it.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The whole line: name, arguments and result.
    pub text: String,
}

/// What happened while strace watched.
#[derive(Debug)]
pub struct Traced {
    /// Whether crictl succeeded.
    pub is_success: bool,
    /// The calls, in their order.
    pub calls: Vec<Call>,
}

impl Node {
    /// Runs crictl while strace watches the daemon with these options (`--trace`, `--inject`).
    ///
    /// # Errors
    /// Says why strace cannot be used here.
    pub fn traced(&self, options: &[&str], arguments: &[&str]) -> Result<Traced, String> {
        let output = self.work.join("trace");
        let mut strace = self
            .command("strace")
            .args([
                "--follow-forks",
                "--decode-fds=path",
                "--string-limit=4096",
                "--output",
            ])
            .arg(&output)
            .args(options)
            .args(["--attach", &self.daemon_pid().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let status = self
            .proc()
            .join(self.daemon_pid().to_string())
            .join("status");
        let tracer = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.lines()
                .find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse::<u32>().ok())
                // While it attaches, the kernel names the parent of the daemon for a moment.
                .filter(|pid| *pid > 1)
        };
        let deadline = Instant::now() + ATTACH_DEADLINE;
        let tracer = loop {
            if let Some(pid) = tracer() {
                break pid;
            }
            if strace.try_wait().unwrap().is_some() || Instant::now() > deadline {
                return Err("strace cannot attach".to_owned());
            }
            std::thread::yield_now();
        };
        let client = self.crictl(arguments);
        self.end_strace(tracer);
        strace.wait().unwrap();
        let text = std::fs::read_to_string(output).unwrap();
        let calls = text.lines().filter_map(|line| {
            let (_, call) = line.split_once(' ')?;
            let (name, _) = call.trim_start().split_once('(')?;
            Some(Call {
                name: name.to_owned(),
                text: call.to_owned(),
            })
        });
        Ok(Traced {
            is_success: client.status.success(),
            calls: calls.collect(),
        })
    }

    /// Ends strace, which lets go of what it watches. It may have ended with the daemon: then there is nobody to end.
    fn end_strace(&self, pid: u32) {
        let deadline = Instant::now() + DETACH_DEADLINE;
        while self.is_running(pid) {
            // Now and then it waits for ever for the end of a thread of a killed daemon.
            let signal = if Instant::now() < deadline {
                "-INT"
            } else {
                "-KILL"
            };
            let mut kill = self.command("kill");
            kill.args([signal, &pid.to_string()]).stderr(Stdio::null());
            kill.status().unwrap();
        }
    }
}
