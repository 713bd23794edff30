//! Memory for zstd windows: bounded over all archives that are read at a time, whatever they ask for.
//!
//! A decoder keeps the last bytes of its output, as many as the frame's header says (RFC 8878 §3.1.1.1.2). Nearly all
//! layers ask for 8 MiB or less, which is what the RFC recommends to support. One that asks for more waits until it is
//! alone, so that four layers at a time never take more than one may.

use std::sync::{Condvar, Mutex, PoisonError};

/// The longest header of a frame, with its magic number (RFC 8878 §3.1.1.1).
pub(super) const HEADER_BYTES_MAX: u64 = 18;

/// What all windows together may take.
const BUDGET_BYTES: u64 = 1 << LARGE_LOG;

/// 8 MiB: `zstd -19`, and every layer of the usual builders.
const USUAL_LOG: u32 = 23;

/// 32 MiB: `zstd --ultra -20`. A larger window is refused.
const LARGE_LOG: u32 = 25;

static WINDOWS: Budget = Budget::new();

/// How large a window an archive wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// 8 MiB at most.
    Usual,
    /// More, or it cannot be told yet.
    Large,
}

impl Class {
    /// The largest window that its decoder accepts, as a power of two.
    pub(super) fn log_max(self) -> u32 {
        match self {
            Self::Usual => USUAL_LOG,
            Self::Large => LARGE_LOG,
        }
    }

    fn bytes(self) -> u64 {
        1 << self.log_max()
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: &'static Budget,
    bytes: u64,
}

#[derive(Debug)]
struct Budget {
    taken: Mutex<u64>,
    freed: Condvar,
}

/// Waits for the memory that a window may take. Blocks; a thread holds one at most, so nobody waits for ever.
pub(super) fn reserve(class: Class) -> Reservation {
    WINDOWS.reserve(class)
}

impl Budget {
    const fn new() -> Self {
        Self {
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    fn reserve(&'static self, class: Class) -> Reservation {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .freed
            .wait_while(taken, |taken| *taken + class.bytes() > BUDGET_BYTES)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += class.bytes();
        Reservation {
            budget: self,
            bytes: class.bytes(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut taken = self
            .budget
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *taken -= self.bytes;
        drop(taken);
        self.budget.freed.notify_all();
    }
}

/// The class of an archive by the header of its first frame.
pub(super) fn class_of(beginning: &[u8]) -> Class {
    match window_bytes(beginning) {
        Some(bytes) if bytes <= 1 << USUAL_LOG => Class::Usual,
        Some(_) | None => Class::Large,
    }
}

/// The window of the first frame (RFC 8878 §3.1.1.1); `None` if it is skippable or cut short.
fn window_bytes(beginning: &[u8]) -> Option<u64> {
    let header = beginning.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = header.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The whole content is the window; its size comes after the identifier of a dictionary.
    let skipped = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let size = rest.get(skipped..skipped + length)?;
    let size = size
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    Some(if length == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn compressed(window_log: u32, bytes: usize, size: Option<u64>) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.set_pledged_src_size(size).unwrap();
        encoder.write_all(&vec![7; bytes]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_window_is_read_from_real_frames() {
        for log in [10, 20, 23, 24, 27] {
            let frame = compressed(log, 100_000, None);
            assert_eq!(window_bytes(&frame), Some(1 << log), "{log}");
        }
        for bytes in [200, 300, 70_000] {
            let frame = compressed(20, bytes, Some(bytes as u64));
            assert_eq!(window_bytes(&frame), Some(bytes as u64), "{bytes}");
        }
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        assert_eq!(window_bytes(&skippable), None);
        assert_eq!(window_bytes(&[0x28, 0xb5, 0x2f, 0xfd]), None);
    }

    #[test]
    fn only_usual_windows_go_side_by_side() {
        assert_eq!(class_of(&compressed(23, 9, None)), Class::Usual);
        assert_eq!(class_of(&compressed(24, 9, None)), Class::Large);
        assert_eq!(class_of(&[]), Class::Large);
    }

    #[test]
    fn a_large_window_waits_until_it_is_alone() {
        static BUDGET: Budget = Budget::new();
        let usual: Vec<Reservation> = (0..4).map(|_| BUDGET.reserve(Class::Usual)).collect();
        let (sender, receiver) = mpsc::channel();
        let waiting = thread::spawn(move || {
            let large = BUDGET.reserve(Class::Large);
            sender.send(()).unwrap();
            drop(large);
        });
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        drop(usual);
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        waiting.join().unwrap();
        assert_eq!(*BUDGET.taken.lock().unwrap(), 0);
    }
}
