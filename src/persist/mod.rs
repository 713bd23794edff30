//! Files that are replaced whole or not at all, and records in JSON on top of them.
//!
//! It knows nothing of what a record means: its callers decide what a missing or torn one is worth.
//! A replacement writes `.<name>.<number>.tmp` beside the file and renames it over the old one, or exchanges the two, so
//! a reader sees the old bytes or the new ones; a crash leaves at most the temporary file, which [`record_paths`] removes.

mod error;
mod record;
mod replace;
#[cfg(test)]
mod tests;

pub use error::{ErrorKind, PersistError};
pub use record::{read_json, record_paths, write_json};
pub use replace::{Durability, remove, replace};
