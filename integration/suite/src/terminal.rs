//! A terminal that a test drives, and programs of a node on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

use crate::node::Node;
use crate::wait::wait_for;

const DEADLINE: Duration = Duration::from_secs(30);

/// A program on a terminal that this test drives.
#[derive(Debug)]
pub struct Terminal {
    /// The program.
    pub child: Child,
    /// The test's side of the terminal.
    pub master: File,
    /// What it has printed.
    pub said: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Terminal {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When there is no terminal to be had.
    #[must_use]
    pub fn run(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave: OwnedFd = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        let child = command
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave))
            .spawn()
            .unwrap();
        // The command holds the other side's descriptors.
        drop(command);
        let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (mut reader, heard) = (
            File::from(master.try_clone().unwrap()),
            std::sync::Arc::clone(&said),
        );
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO at the end of the program.
            while let Ok(length) = reader.read(&mut buffer) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Self {
            child,
            master: master.into(),
            said,
        }
    }

    /// Types keys.
    pub fn type_in(&self, keys: &str) {
        (&self.master).write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size, which the program is told by SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// Whether keys are passed on one by one and as they are.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).unwrap();
        !modes
            .local_modes
            .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits until it has printed this.
    pub fn wait_for(&self, wanted: &str) {
        wait_for(wanted, DEADLINE, || {
            self.said.lock().unwrap().contains(wanted).then_some(())
        });
    }
}

impl Node {
    /// A program as the foreground of a terminal of its own, inside the node.
    #[must_use]
    pub fn on_terminal(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "nsenter", "--target"]);
        command
            .arg(self.init_pid.to_string())
            .args([
                "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--",
            ])
            .arg(program)
            .args(arguments);
        let own = self.command("true");
        command.env_clear();
        for (name, value) in own.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }
}
