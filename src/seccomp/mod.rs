//! Seccomp: from a profile in the terms of the OCI runtime specification (config-linux.md, Seccomp) to the BPF program
//! that a shim loads before `execve`, and the profile that is meant by RuntimeDefault. Pure: nothing is read or loaded here.
//!
//! What a profile means, where the specification is silent:
//!
//! * the first entry that matches a call decides; a call that no entry names gets the default action;
//! * the conditions of an entry must all hold, unless two of them are about the same argument: then one is enough, as
//!   runc has it;
//! * the machine's own architecture is always among those of the profile, and a call by any other kills the process;
//! * with a default action that denies, a call that is newer than every call that the profile names gets ENOSYS, as runc
//!   answers, so that the C library falls back to an older one;
//! * an architecture of 32 bits has arguments of 32 bits: only the low half of a value is compared.

mod architecture;
mod compile;
mod default_profile;
mod error;
mod filters;
mod listener;
mod parse;
mod program;
mod rules;
#[cfg(test)]
mod tests;

pub use compile::{Filter, compile};
pub use default_profile::default_profile;
pub use error::SeccompError;
pub use filters::Filters;
pub use parse::parse;
