//! Sealed anonymous files: large messages, and the shim's own executable.

use crate::Error;
use crate::Result;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// A memfd with this content that nobody can change any more. Its offset is undefined: use pread.
///
/// # Errors
///
/// `EMFILE`, `ENOMEM`, `ENOSPC`.
pub fn sealed(name: &CStr, content: &[u8]) -> Result<OwnedFd> {
    let call = |call: &str| format!("{call} of memfd {name:?}, {} bytes", content.len());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = Error::of(rustix::fs::memfd_create(name, flags), || {
        call("memfd_create")
    })?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest));
        let written = Error::of(written, || call("write"))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    Error::of(rustix::fs::fcntl_add_seals(&file, seals), || {
        call("fcntl(F_ADD_SEALS)")
    })?;
    Ok(file)
}

/// The content of a memfd that another process sent: it must be sealed against writing and shrinking, and exactly
/// `length` bytes long, or it could change while it is read.
///
/// # Errors
///
/// `EINVAL` if it is not such a file, else as pread(2).
pub fn read_sealed(file: BorrowedFd<'_>, length: usize) -> Result<Vec<u8>> {
    let call = |call: &str| format!("{call} of a memfd of {length} bytes");
    let wanted = SealFlags::WRITE | SealFlags::SHRINK;
    let seals = Error::of(rustix::fs::fcntl_get_seals(file), || {
        call("fcntl(F_GET_SEALS)")
    })?;
    let size = Error::of(rustix::fs::fstat(file), || call("fstat"))?.st_size;
    if !seals.contains(wanted) || usize::try_from(size) != Ok(length) {
        return Err(Error::new(
            call("checking the seals and the size"),
            Errno::INVAL,
        ));
    }
    let mut content = vec![0; length];
    let mut done = 0_usize;
    while let Some(rest) = content.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let offset = u64::try_from(done).unwrap_or(u64::MAX);
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *rest, offset));
        match Error::of(read, || call("pread"))? {
            0 => return Err(Error::new(call("pread"), Errno::IO)),
            read => done = done.saturating_add(read),
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use std::os::fd::AsFd;

    #[test]
    fn content_is_read_back_and_cannot_be_changed() {
        let file = super::sealed(c"test", b"content").unwrap();
        assert_eq!(super::read_sealed(file.as_fd(), 7).unwrap(), b"content");
        assert_eq!(rustix::io::write(&file, b"x"), Err(Errno::PERM));
    }

    #[test]
    fn a_memfd_without_seals_or_of_another_length_is_refused() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let open = rustix::fs::memfd_create(c"test", flags).unwrap();
        let error = super::read_sealed(open.as_fd(), 0).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
        let file = super::sealed(c"test", b"content").unwrap();
        let error = super::read_sealed(file.as_fd(), 8).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
    }
}
