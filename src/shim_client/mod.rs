//! The daemon's side of the protocol with the shims.
