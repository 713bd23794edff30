//! AppArmor: which profile confines a container, that it is loaded, and the profile that is meant by RuntimeDefault.
//!
//! The kernel is told of a profile by the shim's child, which writes its name before it executes the program; here is
//! only made sure that there is such a profile. `docs/decisions/0047-apparmor-by-its-parser.md` says why the default one
//! is compiled by the host's `apparmor_parser`.

mod error;
mod host;
mod profile;

pub use error::AppArmorError;
pub use host::{AppArmor, Wanted};
pub use profile::{DEFAULT_NAME, default_profile};
