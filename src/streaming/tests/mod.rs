//! The server as clients see it: over TCP, with processes of this machine behind it.

mod attach;
mod client;
mod encrypted;
mod exec;
mod forward;
mod script;
