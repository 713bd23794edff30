//! The composition root: constructs, wires, recovers, starts and stops the parts.
