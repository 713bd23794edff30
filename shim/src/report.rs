//! What a child tells the shim over its control socket before it becomes a program: one SEQPACKET packet a report.
//! The end of the stream without a failure means that the execve succeeded (the socket is close-on-exec) or that the
//! child died.

use crate::failure::ignore;
use carpel_linux::socket;
use carpel_shim_protocol::message::ContainerCreated;
use carpel_shim_protocol::message::Failure;
use carpel_shim_protocol::message::Notice;
use prost::Message;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The byte that releases a created container.
pub(crate) const RELEASE: &[u8] = b"x";

/// A report is never larger.
const BYTES: usize = 8192;

/// One report of a child.
#[derive(Debug, PartialEq)]
pub(crate) enum Report {
    /// All is prepared; the child waits for [`RELEASE`].
    Ready(ContainerCreated),
    /// The child gives up and exits.
    Failed(Failure),
    /// The child goes on, but a person should know.
    Notice(Notice),
    /// Comes with the master side of the terminal.
    Terminal,
    /// The filter is loaded; comes with its listener.
    Listener,
    /// Another process goes on in this one's place; comes with its pidfd.
    Born,
}

/// What reading a control socket gave.
#[derive(Debug)]
pub(crate) enum Heard {
    Report(Report, Option<OwnedFd>),
    /// The child executed its program, or died.
    End,
    Nothing,
}

/// Sends a report. A shim that is gone is no error: the child finds that out when it waits.
pub(crate) fn send(control: BorrowedFd<'_>, report: &Report, descriptor: Option<BorrowedFd<'_>>) {
    let mut bytes = vec![match report {
        Report::Ready(_) => b'R',
        Report::Failed(_) => b'F',
        Report::Notice(_) => b'N',
        Report::Terminal => b'T',
        Report::Born => b'B',
        Report::Listener => b'L',
    }];
    // Encoding into a Vec cannot run out of room.
    bytes.extend(match report {
        Report::Ready(created) => created.encode_to_vec(),
        Report::Failed(failure) => bounded(failure).encode_to_vec(),
        Report::Notice(notice) => notice.encode_to_vec(),
        Report::Terminal | Report::Born | Report::Listener => Vec::new(),
    });
    let sent = socket::send(control, &bytes, descriptor.as_slice());
    ignore(sent, "a shim that is gone reads no reports");
}

/// Names in a failure come from the request and may be long; a packet is bounded.
fn bounded(failure: &Failure) -> Failure {
    let cut = |text: &str| text.chars().take(BYTES / 16).collect();
    Failure {
        step: cut(&failure.step),
        detail: cut(&failure.detail),
        ..*failure
    }
}

/// Reads a report, without waiting.
pub(crate) fn receive(control: &OwnedFd) -> Heard {
    let length = match socket::next_length(control.as_fd()) {
        Ok(length) if (1..=BYTES).contains(&length) => length,
        Err(Errno::AGAIN) => return Heard::Nothing,
        _ => return Heard::End,
    };
    let mut buffer = vec![0; length];
    let mut received = match socket::receive(control.as_fd(), &mut buffer) {
        Ok(received) => received,
        Err(Errno::AGAIN) => return Heard::Nothing,
        Err(_errno) => return Heard::End,
    };
    let packet = buffer.get(..received.length).unwrap_or_default();
    let Some((kind, body)) = packet.split_first() else {
        return Heard::End;
    };
    let report = match kind {
        b'R' => ContainerCreated::decode(body).ok().map(Report::Ready),
        b'F' => Failure::decode(body).ok().map(Report::Failed),
        b'N' => Notice::decode(body).ok().map(Report::Notice),
        b'T' => Some(Report::Terminal),
        b'B' => Some(Report::Born),
        b'L' => Some(Report::Listener),
        _ => None,
    };
    match report {
        Some(report) => Heard::Report(report, received.descriptors.pop()),
        None => Heard::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let (child, shim) = socket::pair().unwrap();
        let reports = [
            Report::Ready(ContainerCreated { pid: 0, user: None }),
            Report::Failed(crate::failure::execute(b"/bin/missing", Errno::NOENT)),
            Report::Notice(Notice { text: "x".into() }),
            Report::Terminal,
            Report::Born,
            Report::Listener,
        ];
        for report in &reports {
            send(child.as_fd(), report, None);
        }
        drop(child);
        for report in reports {
            let Heard::Report(heard, None) = receive(&shim) else {
                panic!("a report");
            };
            assert_eq!(heard, report);
        }
        assert!(matches!(receive(&shim), Heard::End));
    }

    #[test]
    fn a_failure_with_a_long_name_still_fits() {
        let (child, shim) = socket::pair().unwrap();
        let long = "é".repeat(100_000);
        let failure = crate::failure::invalid(long.clone(), long);
        send(child.as_fd(), &Report::Failed(failure), None);
        assert!(matches!(
            receive(&shim),
            Heard::Report(Report::Failed(_), None)
        ));
    }
}
