//! What is told of a pod: its phase, its conditions and its containers, as a kubelet tells them; and the events of all
//! objects. Pure but for `events`, which keeps a bounded list in memory.

mod conditions;
mod containers;
mod events;
mod phase;
mod pod;
#[cfg(test)]
mod tests;

pub(crate) use events::{Events, Kind, Subject};
pub(crate) use pod::{StatusInputs, Verdict, Waiting, is_terminal, pod_status};
