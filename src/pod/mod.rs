//! Sandboxes and their containers: state machines, procedures, records, recovery.
