//! Asking containers whether they are well: the actions of probes and hooks (`act`, `http`, `grpc`, `tls`), the counting of what
//! they say (`counter`), and one task per probe of a running container (`prober`). What follows from it is decided in
//! `pod_worker`.

mod act;
mod counter;
mod grpc;
mod http;
mod prober;
mod tls;

pub(crate) use act::{Action, Place, run_hook};
pub(crate) use prober::{Probers, Target};
