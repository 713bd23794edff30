//! CRI `Signal` to and from Linux signal numbers.
//!
//! The CRI numbers signals by their names in the alphabet, Linux by signal(7); the real-time ones begin at 34 in a
//! program with glibc or musl, where `SIGRTMIN` is meant to be understood.

use super::{InvalidField, known};
use crate::cri::wire::runtime::Signal;

/// `SIGRTMIN` and `SIGRTMAX` as programs see them: the C libraries keep 32 and 33 for themselves (signal(7)).
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// The signals that are not real-time, with their Linux number on every architecture that Carpel is built for
/// (asm-generic/signal.h). Where two names have one number, the first is the one that is given back.
const STANDARD: [(Signal, i32); 34] = [
    (Signal::Sigabrt, 6),
    (Signal::Sigalrm, 14),
    (Signal::Sigbus, 7),
    (Signal::Sigchld, 17),
    (Signal::Sigcld, 17),
    (Signal::Sigcont, 18),
    (Signal::Sigfpe, 8),
    (Signal::Sighup, 1),
    (Signal::Sigill, 4),
    (Signal::Sigint, 2),
    (Signal::Sigio, 29),
    (Signal::Sigiot, 6),
    (Signal::Sigkill, 9),
    (Signal::Sigpipe, 13),
    (Signal::Sigpoll, 29),
    (Signal::Sigprof, 27),
    (Signal::Sigpwr, 30),
    (Signal::Sigquit, 3),
    (Signal::Sigsegv, 11),
    (Signal::Sigstkflt, 16),
    (Signal::Sigstop, 19),
    (Signal::Sigsys, 31),
    (Signal::Sigterm, 15),
    (Signal::Sigtrap, 5),
    (Signal::Sigtstp, 20),
    (Signal::Sigttin, 21),
    (Signal::Sigttou, 22),
    (Signal::Sigurg, 23),
    (Signal::Sigusr1, 10),
    (Signal::Sigusr2, 12),
    (Signal::Sigvtalrm, 26),
    (Signal::Sigwinch, 28),
    (Signal::Sigxcpu, 24),
    (Signal::Sigxfsz, 25),
];

/// The Linux number of a signal of the CRI; `None` for the runtime's default.
pub(in crate::cri) fn linux_signal(value: i32, field: &str) -> Result<Option<i32>, InvalidField> {
    let signal: Signal = known(value, field)?;
    if signal == Signal::RuntimeDefault {
        return Ok(None);
    }
    let standard = STANDARD.iter().find(|(name, _)| *name == signal);
    Ok(Some(match standard {
        Some((_, number)) => *number,
        // The real-time signals are numbered without gaps in both.
        None => value - Signal::Sigrtmin as i32 + REAL_TIME.start(),
    }))
}

/// The CRI's number of a Linux signal; 0, the runtime's default, for one that has no name there.
pub(in crate::cri) fn wire_signal(number: i32) -> i32 {
    if REAL_TIME.contains(&number) {
        return number - REAL_TIME.start() + Signal::Sigrtmin as i32;
    }
    let standard = STANDARD.iter().find(|(_, linux)| *linux == number);
    standard.map_or(Signal::RuntimeDefault as i32, |(name, _)| *name as i32)
}
