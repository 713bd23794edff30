//! Reads the output of containers and throws it away, behind the interface of the log writer.

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// What the writer tells the shim.
#[derive(Debug)]
#[allow(dead_code, reason = "the interface is that of the real writer")]
pub(crate) enum LogEvent {
    Reopened {
        container_id: String,
        errno: i32,
    },
    Finished {
        container_id: String,
        lost_lines: u64,
    },
    Trouble {
        container_id: String,
        errno: i32,
        lost_lines: u64,
    },
    WriterDied,
}

/// Reads pipes and forgets what it read.
#[derive(Debug)]
pub(crate) struct LogWriter {
    epoll: Option<OwnedFd>,
    pipes: Vec<(String, OwnedFd)>,
    events: Vec<LogEvent>,
}

impl LogWriter {
    pub(crate) fn new() -> Self {
        Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).ok(),
            pipes: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        container_id: &str,
        _path: &[u8],
        stdout: OwnedFd,
        stderr: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        for pipe in [Some(stdout), stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(&pipe, true)?;
            if let Some(set) = &self.epoll {
                epoll::add(
                    set,
                    &pipe,
                    epoll::EventData::new_u64(0),
                    epoll::EventFlags::IN,
                )?;
            }
            self.pipes.push((container_id.to_owned(), pipe));
        }
        Ok(())
    }

    pub(crate) fn reopen(&mut self, container_id: &str) -> Result<(), Errno> {
        self.events.push(LogEvent::Reopened {
            container_id: container_id.to_owned(),
            errno: 0,
        });
        Ok(())
    }

    pub(crate) fn finish(&mut self, container_id: &str) {
        self.pipes.retain(|(id, _pipe)| id != container_id);
        self.events.push(LogEvent::Finished {
            container_id: container_id.to_owned(),
            lost_lines: 0,
        });
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.epoll.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn events(&mut self) -> Vec<LogEvent> {
        let mut buffer = [0_u8; 4096];
        self.pipes.retain(|(_id, pipe)| {
            loop {
                match rustix::io::read(pipe, &mut buffer) {
                    Ok(0) => return false,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return true,
                    Err(_errno) => return false,
                }
            }
        });
        std::mem::take(&mut self.events)
    }

    pub(crate) fn writer_pid(&self) -> Option<Pid> {
        None
    }

    pub(crate) fn writer_exited(&mut self) {}
}
