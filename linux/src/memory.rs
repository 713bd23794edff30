//! Memory by pages: buffers that are given back to the kernel, and pages that are no longer needed. Not an allocator.
#![allow(
    unsafe_code,
    reason = "mapping memory has no safe system call; each block argues for itself"
)]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ops::DerefMut;
use std::ptr::NonNull;

use rustix::mm::Advice;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;

/// Size of a page; on machines with larger pages the rounding below only gives back less.
const PAGE: usize = 4096;

/// A zeroed buffer of whole pages that are returned to the kernel when it is dropped, whatever the allocator would do.
pub struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// Maps `length` bytes. Pages are only taken as they are written.
    ///
    /// # Errors
    ///
    /// ENOMEM, or EINVAL for a length of 0.
    pub fn new(length: usize) -> io::Result<Self> {
        // SAFETY: a null hint with neither FIXED nor a descriptor lets the kernel choose unused addresses, so that no memory of
        // this process is replaced.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the one mapping made in `new`; every borrow of it has ended, as it is dropped.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, length bytes long, zeroed by the kernel and lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref, the mapping is writable too, and &mut self is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

// SAFETY: Pages owns its mapping alone, like a Vec<u8>; no thread has a claim on it.
unsafe impl Send for Pages {}

// SAFETY: through a shared reference the pages can only be read, and reads from several threads do not race.
unsafe impl Sync for Pages {}

impl fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pages")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Asks the kernel to reclaim the whole pages within `bytes`: their content is kept, and read again from its file when it is needed.
///
/// # Errors
///
/// What madvise(2) says; EINVAL before Linux 5.4.
pub fn page_out(bytes: &[u8]) -> io::Result<()> {
    let address = bytes.as_ptr().addr();
    let skipped = address.next_multiple_of(PAGE) - address;
    let Some(rest) = bytes.get(skipped..) else {
        return Ok(());
    };
    let length = rest.len() / PAGE * PAGE;
    if length == 0 {
        return Ok(());
    }
    let start = rest.as_ptr().cast_mut().cast::<c_void>();
    // SAFETY: MADV_PAGEOUT never changes what is read from the pages, it only moves them out of memory; the range lies within
    // `bytes`, which is borrowed.
    unsafe { rustix::mm::madvise(start, length, Advice::LinuxPageOut) }?;
    Ok(())
}

/// For after a big, rare piece of work, of a program with threads: what the allocator holds free goes back to the kernel, and the
/// code that only that work needed is no longer mapped. Takes some milliseconds.
pub fn give_back() {
    crate::allocator::trim_malloc();
    release_program();
}

/// Takes code and constants of this program's own file out of its page tables: for when a piece of work is over that most of them
/// were only for. They stay in the page cache, and what is needed again is mapped again by a minor fault, 64 KiB at a time.
pub fn release_program() {
    // SAFETY: the callback fits its declaration; it takes no data.
    unsafe { libc::dl_iterate_phdr(Some(release_segments), std::ptr::null_mut()) };
}

/// Releases the segments of the program itself, which comes first, that nobody may write.
unsafe extern "C" fn release_segments(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr calls with a valid object, which lives during the call.
    let object = unsafe { &*object };
    // SAFETY: an object's headers are an array of dlpi_phnum that lives as long as the object.
    let headers =
        unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let at = |offset: u64| usize::try_from(object.dlpi_addr + offset).unwrap_or(0);
        let start = at(header.p_vaddr) & !(PAGE - 1);
        let end = at(header.p_vaddr + header.p_memsz).next_multiple_of(PAGE);
        let first = std::ptr::without_provenance_mut::<c_void>(start);
        // SAFETY: the range is a private mapping of the program's file that this process cannot write and whose content it has
        // not changed (position-independent code has no relocations there), and nobody can write the file of a program that
        // runs (ETXTBSY): by madvise(2), what is read after MADV_DONTNEED is the file's content, the same as before.
        unsafe { rustix::mm::madvise(first, end - start, Advice::LinuxDontNeed) }.ok();
    }
    1
}

/// How far below a frame the stack is released; less than the kernel keeps free below a stack (1 MiB).
const DEPTH: usize = 512 * 1024;

/// More than the frames below that of [`release_stack`] take, without optimisation too.
const CALLEES: usize = 2048;

/// Gives the pages of the stack that deeper calls had used back to the kernel, in the first thread: other threads' stacks are of
/// any size, and nothing is done there.
#[inline(never)]
pub fn release_stack() {
    if rustix::thread::gettid() != rustix::process::getpid() {
        return;
    }
    let local = 0_u8;
    // The frame of this function, and those of what it calls, are within what stays.
    let end = ((&raw const local).addr() - CALLEES) & !(PAGE - 1);
    let start = std::ptr::without_provenance_mut::<c_void>(end - DEPTH);
    // SAFETY: the range lies below the stack pointer, where nothing lives, in the stack of the first thread, below which the
    // kernel maps nothing for as far; what is no memory yet is skipped with ENOMEM.
    unsafe { rustix::mm::madvise(start, DEPTH, Advice::LinuxDontNeed) }.ok();
}

/// Where `byte` first stands: memchr(3), which looks at 16 to 64 bytes at a time.
#[must_use]
pub fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    let start = bytes.as_ptr();
    // SAFETY: `bytes` is borrowed and so readable for its whole length, and memchr reads no further.
    let found = unsafe { libc::memchr(start.cast(), i32::from(byte), bytes.len()) };
    if found.is_null() {
        return None;
    }
    found.addr().checked_sub(start.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zeroed_writable_and_separate() {
        let mut one = Pages::new(300_000).unwrap();
        let two = Pages::new(4096).unwrap();
        assert!(one.iter().all(|byte| *byte == 0));
        one.fill(7);
        assert_eq!(one.len(), 300_000);
        assert!(two.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_byte_is_found_where_it_first_stands() {
        assert_eq!(find_byte(b'b', b"abcb"), Some(1));
        assert_eq!(find_byte(b'x', b"abcb"), None);
        assert_eq!(find_byte(b'x', b""), None);
        assert_eq!(find_byte(0xff, b"\xfe\xff"), Some(1));
        // Not what stands behind the slice.
        assert_eq!(find_byte(b'c', &b"abc"[..2]), None);
    }

    #[test]
    fn an_empty_mapping_is_an_error() {
        assert!(Pages::new(0).is_err());
    }

    /// The KiB of this program's code that are mapped: proc_pid_smaps(5), Rss.
    fn code_kib() -> u64 {
        let program = std::env::current_exe().unwrap();
        let program = program.to_str().unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        let mapping = |line: &str| line.contains(" r-xp ") && line.ends_with(program);
        assert!(lines.any(mapping));
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn a_program_goes_on_without_its_code() {
        static CONSTANTS: [u8; 1 << 20] = {
            let mut constants = [1; 1 << 20];
            constants[1 << 19] = 3;
            constants
        };
        let sum = || {
            let constants = std::hint::black_box(&CONSTANTS);
            constants.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        };
        let before = (sum(), code_kib());
        release_program();
        let now = code_kib();
        assert!(now < before.1, "{now} KiB of {}", before.1);
        assert_eq!(sum(), before.0);
    }

    #[test]
    fn paging_out_keeps_the_content() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        page_out(&bytes).unwrap();
        page_out(&bytes[1..10]).unwrap();
        page_out(&[]).unwrap();
        assert!(
            bytes
                .iter()
                .zip(0..100_000_u32)
                .all(|(byte, n)| *byte == n.to_le_bytes()[0])
        );
    }
}
