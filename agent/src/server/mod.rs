//! The agent's API: HTTP/1.1 on a unix socket that only root can use, in the shape of the Kubernetes API, so that whoever
//! knows that one knows this one.
//!
//! `listen` serves connections, `route` reads requests, `objects`, `tokens` and `usage` answer them, `watch` goes on
//! answering, `reply` makes bodies and errors.

mod listen;
mod nodes;
mod objects;
mod reply;
mod route;
mod tokens;
mod usage;
mod watch;

pub use listen::ServerError;
pub(crate) use listen::{Api, Bound, bind};
pub(crate) use reply::chain;
