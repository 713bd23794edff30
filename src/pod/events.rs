//! What happens to sandboxes and containers, told to everyone who listens: in one order for all, each client with a
//! queue of its own. A client that does not keep up is told so after what it had not read yet, and has to list again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::clock;
use super::error::{PodError, PodErrorKind, Subject};
use super::pods;
use super::sandbox_state::Pod;
use super::view::{EventKind, PodEvent, Timestamp};

/// How many events may wait for a client. A node with 250 pods that all start at once has some 2000.
const QUEUE: usize = 4096;

/// How many clients may listen at a time: what they have not read is kept for each.
const CLIENTS_MAX: usize = 64;

/// How long after the daemon's start a client is still told what recovery has found: the clients of the daemon before
/// need a moment to come back.
const RECOVERED_FOR: Duration = Duration::from_secs(5 * 60);

/// What has happened to whom: a container, or the sandbox by its own id.
pub(super) type News = (String, EventKind);

/// Everyone who listens.
#[derive(Debug)]
pub(super) struct Events {
    opened_at: Instant,
    queue: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Timestamp,
    clients: Vec<Listener>,
    recovered: Vec<Entry>,
}

#[derive(Debug)]
struct Listener {
    queue: mpsc::Sender<Entry>,
    is_behind: Arc<AtomicBool>,
}

/// An event with the state right after it; made into a [`PodEvent`] when it is read.
#[derive(Debug, Clone)]
struct Entry {
    id: String,
    kind: EventKind,
    created_at: Timestamp,
    pod: Arc<Pod>,
}

/// Whether an event is kept for clients that come a little later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It happened now.
    Live,
    /// Recovery found it, while nobody could listen yet.
    Recovery,
}

impl Default for Events {
    fn default() -> Self {
        Self::with_queue(QUEUE)
    }
}

impl Events {
    fn with_queue(queue: usize) -> Self {
        Self {
            opened_at: Instant::now(),
            queue,
            state: Mutex::default(),
        }
    }

    /// Tells all clients what has happened to a pod, which is in this state now. Never waits.
    pub(super) fn publish(&self, pod: &Arc<Pod>, news: Vec<News>, origin: Origin) {
        if news.is_empty() {
            return;
        }
        let mut state = self.locked();
        self.forget_recovered(&mut state);
        for (id, kind) in news {
            // Clients order what they know by time.
            state.last = clock::now().max(state.last + 1);
            let entry = Entry {
                id,
                kind,
                created_at: state.last,
                pod: Arc::clone(pod),
            };
            state.clients.retain(|client| client.tell(entry.clone()));
            if origin == Origin::Recovery && state.recovered.len() < self.queue {
                state.recovered.push(entry);
            }
        }
    }

    /// A new client: it is told everything from here on, and what recovery has found lately.
    ///
    /// # Errors
    /// `ResourceExhausted` while too many clients listen.
    pub(super) fn listen(&self) -> Result<PodEvents, PodError> {
        let (sender, queue) = mpsc::channel(self.queue);
        let is_behind = Arc::new(AtomicBool::new(false));
        let mut state = self.locked();
        self.forget_recovered(&mut state);
        state.clients.retain(|client| !client.queue.is_closed());
        if state.clients.len() >= CLIENTS_MAX {
            return Err(exhausted(format!("{CLIENTS_MAX} clients listen already")));
        }
        state.clients.push(Listener {
            queue: sender,
            is_behind: Arc::clone(&is_behind),
        });
        Ok(PodEvents {
            recovered: state.recovered.iter().cloned().collect(),
            queue,
            is_behind,
        })
    }

    /// How many clients listen.
    pub(super) fn clients(&self) -> usize {
        let mut state = self.locked();
        state.clients.retain(|client| !client.queue.is_closed());
        state.clients.len()
    }

    fn forget_recovered(&self, state: &mut State) {
        if self.opened_at.elapsed() > RECOVERED_FOR {
            state.recovered = Vec::new();
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Queues an event; false if the client gets no more.
    fn tell(&self, entry: Entry) -> bool {
        match self.queue.try_send(entry) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                // Seen by the client when it finds the queue closed.
                self.is_behind.store(true, Ordering::Release);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The events for one client, from when it began to listen.
#[derive(Debug)]
pub struct PodEvents {
    recovered: VecDeque<Entry>,
    queue: mpsc::Receiver<Entry>,
    is_behind: Arc<AtomicBool>,
}

impl PodEvents {
    /// The next event; waits for it. `None` after an error, and when the daemon ends.
    ///
    /// # Errors
    /// `ResourceExhausted`, as the last one, if so many events waited that later ones are lost to this client.
    pub async fn next(&mut self) -> Option<Result<PodEvent, PodError>> {
        let entry = match self.recovered.pop_front() {
            Some(entry) => Some(entry),
            None => self.queue.recv().await,
        };
        match entry {
            Some(entry) => Some(Ok(entry.event())),
            None if self.is_behind.swap(false, Ordering::Acquire) => Some(Err(exhausted(
                "the client reads too slowly, and events after this are lost to it: list again"
                    .to_owned(),
            ))),
            None => None,
        }
    }
}

impl Entry {
    fn event(self) -> PodEvent {
        let (sandbox, containers) = pods::whole_view(&self.pod);
        PodEvent {
            id: self.id,
            kind: self.kind,
            created_at: self.created_at,
            sandbox,
            containers,
        }
    }
}

fn exhausted(why: String) -> PodError {
    PodError::new(
        PodErrorKind::ResourceExhausted,
        Subject::Runtime,
        format!("events: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::SandboxConfig;

    fn pod() -> Arc<Pod> {
        Arc::new(pods::new_pod(SandboxConfig::default(), ""))
    }

    fn news(index: usize) -> Vec<News> {
        vec![(index.to_string(), EventKind::Created)]
    }

    async fn ids(events: &mut PodEvents, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(events.next().await.unwrap().unwrap().id);
        }
        ids
    }

    #[tokio::test]
    async fn every_client_gets_every_event_in_the_same_order_with_rising_times() {
        let events = Events::default();
        let mut clients = [events.listen().unwrap(), events.listen().unwrap()];
        let pod = pod();
        for index in 0..100 {
            events.publish(&pod, news(index), Origin::Live);
        }
        let wanted: Vec<String> = (0..100).map(|index| index.to_string()).collect();
        let mut last = 0;
        for _ in 0..100 {
            let event = clients[0].next().await.unwrap().unwrap();
            assert!(event.created_at > last, "{event:?}");
            last = event.created_at;
        }
        assert_eq!(ids(&mut clients[1], 100).await, wanted);
    }

    #[tokio::test]
    async fn a_client_that_does_not_keep_up_gets_what_waits_and_then_an_error() {
        let events = Events::with_queue(4);
        let mut slow = events.listen().unwrap();
        let mut quick = events.listen().unwrap();
        let pod = pod();
        for index in 0..6 {
            events.publish(&pod, news(index), Origin::Live);
            assert_eq!(ids(&mut quick, 1).await, [index.to_string()]);
        }
        assert_eq!(ids(&mut slow, 4).await, ["0", "1", "2", "3"]);
        let error = slow.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), PodErrorKind::ResourceExhausted);
        assert!(slow.next().await.is_none());
        // It may begin anew.
        let mut again = events.listen().unwrap();
        events.publish(&pod, news(6), Origin::Live);
        assert_eq!(ids(&mut again, 1).await, ["6"]);
        assert_eq!(ids(&mut quick, 1).await, ["6"]);
    }

    #[tokio::test]
    async fn what_recovery_found_is_told_to_those_who_come_later_and_nothing_else() {
        let events = Events::default();
        let pod = pod();
        events.publish(&pod, news(1), Origin::Recovery);
        events.publish(&pod, news(2), Origin::Live);
        for _ in 0..2 {
            let mut client = events.listen().unwrap();
            events.publish(&pod, news(3), Origin::Live);
            assert_eq!(ids(&mut client, 2).await, ["1", "3"]);
        }
    }

    #[test]
    fn clients_that_have_left_make_room() {
        let events = Events::default();
        let clients: Vec<_> = (0..CLIENTS_MAX).map(|_| events.listen().unwrap()).collect();
        let refused = events.listen().unwrap_err();
        assert_eq!(refused.kind(), PodErrorKind::ResourceExhausted);
        drop(clients);
        events.listen().unwrap();
        assert_eq!(events.locked().clients.len(), 1);
    }
}
