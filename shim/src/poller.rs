//! epoll, with tokens that say what a descriptor is.

use crate::failure::ignore;
use carpel_linux::Error;
use carpel_linux::Result;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::Event;
use rustix::event::epoll::EventData;
pub(crate) use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// What a descriptor is: the kind, and the serial number of its container or exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Signals,
    Listener,
    Connection,
    Log,
    /// The child's end of creating the infra process.
    Infra,
    /// The control socket of a container's first process.
    Container(u32),
    /// The control socket of an exec.
    Exec(u32),
    /// memory.events of a container.
    Memory(u32),
    /// Where another runtime hands over the terminal of a container or exec.
    Console(u32),
}

impl Token {
    fn number(self) -> u64 {
        let (kind, serial) = match self {
            Self::Signals => (0_u64, 0),
            Self::Listener => (1, 0),
            Self::Connection => (2, 0),
            Self::Log => (3, 0),
            Self::Infra => (4, 0),
            Self::Container(serial) => (5, serial),
            Self::Exec(serial) => (6, serial),
            Self::Memory(serial) => (7, serial),
            Self::Console(serial) => (8, serial),
        };
        (kind << 32) | u64::from(serial)
    }

    fn of_number(number: u64) -> Option<Self> {
        let serial = u32::try_from(number & u64::from(u32::MAX)).ok()?;
        Some(match number >> 32 {
            0 => Self::Signals,
            1 => Self::Listener,
            2 => Self::Connection,
            3 => Self::Log,
            4 => Self::Infra,
            5 => Self::Container(serial),
            6 => Self::Exec(serial),
            7 => Self::Memory(serial),
            8 => Self::Console(serial),
            _ => return None,
        })
    }
}

/// The set of descriptors that the shim waits for.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC);
        epoll
            .map(Self)
            .map_err(|errno| Error::new("epoll_create1", errno))
    }

    pub(crate) fn add(
        &self,
        descriptor: BorrowedFd<'_>,
        token: Token,
        flags: EventFlags,
    ) -> Result<()> {
        let data = EventData::new_u64(token.number());
        epoll::add(&self.0, descriptor, data, flags)
            .map_err(|errno| Error::new("epoll_ctl(EPOLL_CTL_ADD)", errno))
    }

    pub(crate) fn change(
        &self,
        descriptor: BorrowedFd<'_>,
        token: Token,
        flags: EventFlags,
    ) -> Result<()> {
        let data = EventData::new_u64(token.number());
        epoll::modify(&self.0, descriptor, data, flags)
            .map_err(|errno| Error::new("epoll_ctl(EPOLL_CTL_MOD)", errno))
    }

    /// Takes a descriptor out. Closing is not enough: a child that was cloned before may still hold the open file.
    pub(crate) fn remove(&self, descriptor: BorrowedFd<'_>) {
        ignore(epoll::delete(&self.0, descriptor), "it is not in the set");
    }

    /// Waits for at most so many nanoseconds (none: for ever) and returns what is ready.
    pub(crate) fn wait(&self, timeout_nanoseconds: Option<u64>) -> Vec<(Token, EventFlags)> {
        let timeout = timeout_nanoseconds.map(|nanoseconds| Timespec {
            tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
        });
        let mut events: [Event; 16] = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; 16];
        let count = match epoll::wait(&self.0, &mut events[..], timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            // Nothing but a bug: an invalid set. The loop would spin, so the pod is given up to recovery.
            Err(_errno) => carpel_linux::process::exit_now(70),
        };
        let ready = events.iter().take(count);
        ready
            .filter_map(|event| Some((Token::of_number({ event.data }.u64())?, event.flags)))
            .collect()
    }
}
