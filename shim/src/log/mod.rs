//! The CRI logs of a pod's containers: a process of their own reads their output and writes it to files, so that a hung disk
//! stops neither reaping nor exec nor stop. The shim itself never reads output.
//!
//! The process is cloned from the shim, shares its pages and executes nothing. The shim keeps a duplicate of every pipe: a
//! writer that was killed is replaced, and what is in the pipes is not lost. What the killed one had read but not yet
//! written is: at most one batch of one stream, and the unfinished lines.

mod clients;
mod file;
mod lines;
mod log_writer;
mod message;
mod stream;
mod timestamp;
mod writer;

pub(crate) use log_writer::LogEvent;
pub(crate) use log_writer::LogWriter;
pub(crate) use message::Outputs;
