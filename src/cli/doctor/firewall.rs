//! Does the kernel speak nftables? One request of netlink, which changes nothing.

use std::io;

use rustix::net::netlink::NETFILTER;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`: linux/netfilter/nfnetlink.h and nf_tables.h.
const GET_GENERATION: u16 = 10 << 8 | 16;

/// `NLMSG_ERROR`: linux/netlink.h.
const ERROR: u16 = 2;

/// Length of `struct nlmsghdr` and `struct nfgenmsg` together.
const REQUEST_LENGTH: usize = 20;

/// Asks for the generation of the rule set; any other answer than an error means that nftables is there.
///
/// # Errors
///
/// The kernel's errno, `EINVAL` usually, without nf_tables; what socket(2) says without netfilter.
pub(super) fn answers() -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(std::time::Duration::from_secs(2)),
    )?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut answer = [0; 4096];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    match errno_of(answer.get(..length).unwrap_or_default()) {
        None => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Header (length, type, NLM_F_REQUEST, sequence 1, port 0) and body (AF_UNSPEC, version 0, resource 0).
fn request() -> [u8; REQUEST_LENGTH] {
    let mut request = [0; REQUEST_LENGTH];
    request[0] = 20;
    request[4..6].copy_from_slice(&GET_GENERATION.to_ne_bytes());
    request[6..8].copy_from_slice(&1_u16.to_ne_bytes());
    request[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    if cfg!(target_endian = "big") {
        request[0..4].copy_from_slice(&20_u32.to_be_bytes());
    }
    request
}

/// The errno of an answer that is an error.
fn errno_of(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let errno = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == ERROR && errno != 0).then_some(-errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_from_an_answer() {
        let mut answer = [0; 20];
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-22_i32).to_ne_bytes());
        assert_eq!(errno_of(&answer), Some(22));
        answer[4..6].copy_from_slice(&(10_u16 << 8 | 15).to_ne_bytes());
        assert_eq!(errno_of(&answer), None);
        assert_eq!(errno_of(&[]), None);
    }
}
