//! Events over a restart of the agent: a file beside its socket, written some seconds after something has happened and at the end.
//! What happened in the last seconds before a kill is lost, and all of it when the machine starts anew. See decision 0067.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;

use super::Events;
use crate::file::{self, Durability};

/// From the first event that is not in the file to its writing: a pod's start is one write, not ten.
const DELAY: Duration = Duration::from_secs(5);

/// Where events are kept.
#[derive(Debug, Clone)]
pub(crate) struct EventsFile {
    path: PathBuf,
    events: Events,
}

impl EventsFile {
    /// Reads what an earlier run has left. What cannot be read is reported and forgotten.
    pub(crate) fn open(path: PathBuf, events: Events) -> Self {
        let read = file::read(&path).map(|bytes| bytes.map(|bytes| parsed(&bytes)));
        match read {
            Ok(None) => {}
            Ok(Some(Ok(earlier))) => events.restore(earlier),
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, path = %path.display(), "events of an earlier run");
            }
            Err(error) => tracing::warn!(%error, "events of an earlier run"),
        }
        Self { path, events }
    }

    /// Writes from time to time, while something happens.
    pub(crate) async fn follow(self) {
        loop {
            self.events.changed().await;
            tokio::time::sleep(DELAY).await;
            let writer = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || writer.write()).await {
                tracing::error!(%error, "write events");
            }
        }
    }

    /// Writes all that is known.
    pub(crate) fn write(&self) {
        let written = serde_json::to_vec(&self.events.list(None));
        match written.map(|bytes| file::replace(&self.path, &bytes, Durability::Rename)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "write events"),
            Err(error) => tracing::warn!(%error, "encode events"),
        }
    }
}

fn parsed(bytes: &[u8]) -> serde_json::Result<Vec<Event>> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Kind, Subject};
    use k8s_openapi::api::core::v1::Pod;

    fn happens(events: &Events, message: &str) {
        let subject = Subject::pod(&Pod::default());
        events.record(&subject, Kind::Warning, "Failed", message);
    }

    #[test]
    fn what_happened_is_known_after_a_restart_and_counted_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = Events::new("node");
        let file = EventsFile::open(path.clone(), events.clone());
        happens(&events, "a");
        happens(&events, "b");
        happens(&events, "a");
        file.write();

        let again = Events::new("node");
        let file = EventsFile::open(path.clone(), again.clone());
        // As it is told: times in JSON are whole seconds.
        let told = |events: &Events| serde_json::to_value(events.list(None)).unwrap();
        assert_eq!(told(&again), told(&events));
        happens(&again, "a");
        let last = again.list(None).pop().unwrap();
        assert_eq!(last.count, Some(3));
        assert_eq!(last.metadata.resource_version.as_deref(), Some("4"));
        drop(file);

        file::replace(&path, b"[{", Durability::Rename).unwrap();
        let none = Events::new("node");
        drop(EventsFile::open(path, none.clone()));
        assert!(none.list(None).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_while_nothing_happens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = Events::new("node");
        let file = EventsFile::open(path.clone(), events.clone());
        let following = tokio::spawn(file.follow());
        tokio::time::sleep(DELAY * 10).await;
        assert!(!path.exists());
        happens(&events, "a");
        let written = async {
            while !path.exists() {
                tokio::time::sleep(DELAY).await;
            }
        };
        tokio::time::timeout(DELAY * 100, written).await.unwrap();
        following.abort();
    }
}
