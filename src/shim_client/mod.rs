//! The daemon's side of the protocol with the shims: the embedded program, its start, and the connection to each shim.
//!
//! It knows nothing of pods: what is asked of a shim, and what an exit means, is decided above.

mod connection;
mod embedded;
mod error;
mod operations;
mod packet;
mod poll;
mod process;

#[cfg(test)]
mod tests;

pub use connection::Connected;
pub use connection::EVENT_QUEUE_LENGTH;
pub use connection::SOCKET_NAME;
pub use connection::ShimClient;
pub use embedded::ShimProgram;
pub use embedded::StartShimError;
pub use embedded::StartedShim;
pub use error::ShimError;
pub use error::ShimErrorKind;
pub use packet::PacketError;
pub use process::ShimExit;
pub use process::ShimProcess;
