//! The process's own memory: how glibc's allocator behaves. Called once, when a program starts.

#![allow(unsafe_code, reason = "mallopt and malloc_trim have no safe wrapper")]

use std::num::NonZeroU8;

/// Limits the arenas that glibc's malloc makes for threads, so that a burst on many threads does not stay in memory.
///
/// Without glibc, or if glibc refuses, nothing changes; `false` says so. `mallopt(3)`, M_ARENA_MAX.
pub fn limit_malloc_arenas(arenas: NonZeroU8) -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt takes two integers and keeps no pointer. M_ARENA_MAX is read under the allocator's own lock when
        // a thread asks for an arena, so other threads may allocate meanwhile.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, libc::c_int::from(arenas.get())) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        let _ = arenas;
        false
    }
}

/// Gives free memory of the allocator back to the kernel: for after a big, rare piece of work. `malloc_trim(3)`
///
/// `true` if any was given back.
pub fn trim_malloc() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim takes the number of bytes to keep at the top of the heap and is thread-safe (MT-Safe in
        // its manual page); it touches only memory that is free.
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn glibc_takes_the_limit() {
        assert!(limit_malloc_arenas(const { NonZeroU8::new(2).unwrap() }));
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn freed_memory_goes_back_to_the_kernel() {
        let pieces: Vec<Vec<u8>> = (0..20_000).map(|size| vec![1; size % 900]).collect();
        // The last piece keeps the top of the heap in use; what is below it can only be given back by a trim.
        drop(pieces);
        assert!(trim_malloc());
    }
}
