//! What is told of a pod: its phase, its conditions and its containers, as a kubelet tells them; and the events of all
//! objects. Pure but for `events`, which keeps a bounded list in memory, and
//! `events_file`, which keeps it over a restart.

mod conditions;
mod containers;
mod events;
mod events_file;
mod phase;
mod pod;
#[cfg(test)]
mod tests;

pub(crate) use events::{Events, Kind, Subject};
pub(crate) use events_file::EventsFile;
pub(crate) use pod::{StatusInputs, Verdict, Waiting, is_terminal, pod_status};
