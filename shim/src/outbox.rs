//! What goes to the daemon: responses to requests of this connection, and the ring of numbered events.
//!
//! Nothing here waits for the daemon. While it is away or does not read, events stay in the ring (the oldest fall out:
//! the snapshot of the next Hello covers them) and responses are dropped with their connection.

use carpel_shim_protocol::message::ContainerExited;
use carpel_shim_protocol::message::Event;
use carpel_shim_protocol::message::Failure;
use carpel_shim_protocol::message::Notice;
use carpel_shim_protocol::message::Response;
use carpel_shim_protocol::message::event::Body;
use carpel_shim_protocol::message::response::Result as Answer;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// How many events are kept for a daemon that is away or does not read.
const EVENTS: usize = 256;

/// How many of those that have been sent are kept, for a daemon whose connection breaks before it has read them. Probes
/// make events for ever, so these are what an idle shim holds.
const SENT_EVENTS: usize = 32;

/// A response that waits to be sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Responses and events on their way to the daemon.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) replies: VecDeque<Reply>,
    events: VecDeque<Event>,
    newest: u64,
}

impl Outbox {
    /// Answers a request.
    pub(crate) fn answer(&mut self, id: u64, answer: Answer) {
        self.answer_with(id, answer, Vec::new());
    }

    /// Answers a request, with descriptors.
    pub(crate) fn answer_with(&mut self, id: u64, answer: Answer, descriptors: Vec<OwnedFd>) {
        let response = Response {
            id,
            result: Some(answer),
        };
        self.replies.push_back(Reply {
            response,
            descriptors,
        });
    }

    /// Answers every one of these requests alike, and forgets them.
    pub(crate) fn answer_all(&mut self, ids: &mut Vec<u64>, answer: &Answer) {
        for id in std::mem::take(ids) {
            self.answer(id, answer.clone());
        }
    }

    /// Answers every one of these requests with a failure, and forgets them.
    pub(crate) fn fail_all(&mut self, ids: &mut Vec<u64>, failure: &Failure) {
        self.answer_all(ids, &Answer::Failure(failure.clone()));
    }

    /// Announces an event.
    pub(crate) fn announce(&mut self, body: Body) {
        self.newest = self.newest.saturating_add(1);
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            sequence: self.newest,
            body: Some(body),
        });
    }

    /// Events up to `sequence` have been sent: but for the newest of them they are forgotten.
    pub(crate) fn forget_sent(&mut self, sequence: u64) {
        while self.events.len() > SENT_EVENTS
            && self
                .events
                .front()
                .is_some_and(|event| event.sequence <= sequence)
        {
            self.events.pop_front();
        }
        if self.events.len() <= SENT_EVENTS {
            self.events.shrink_to(SENT_EVENTS);
        }
    }

    /// A line for the daemon's log.
    pub(crate) fn notice(&mut self, text: impl Into<String>) {
        self.announce(Body::Notice(Notice { text: text.into() }));
    }

    /// A container has exited and its record is written.
    pub(crate) fn container_exited(&mut self, exit: ContainerExited) {
        self.announce(Body::ContainerExited(exit));
    }

    /// The number of the newest event; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// The oldest event that is still held and newer than `sequence`.
    pub(crate) fn event_after(&self, sequence: u64) -> Option<&Event> {
        self.events.iter().find(|event| event.sequence > sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_and_the_oldest_fall_out() {
        let mut outbox = Outbox::default();
        for number in 0..300 {
            outbox.notice(format!("{number}"));
        }
        assert_eq!(outbox.newest(), 300);
        assert_eq!(outbox.event_after(0).unwrap().sequence, 45);
        assert_eq!(outbox.event_after(299).unwrap().sequence, 300);
        assert!(outbox.event_after(300).is_none());
    }

    #[test]
    fn of_those_that_were_sent_the_newest_stay() {
        let mut outbox = Outbox::default();
        for number in 0..200 {
            outbox.notice(format!("{number}"));
        }
        outbox.forget_sent(50);
        assert_eq!(outbox.event_after(0).unwrap().sequence, 51);
        outbox.forget_sent(200);
        assert_eq!(outbox.event_after(0).unwrap().sequence, 169);
        assert!(outbox.events.capacity() < 64);
        outbox.notice("another");
        assert_eq!(outbox.event_after(200).unwrap().sequence, 201);
    }
}
