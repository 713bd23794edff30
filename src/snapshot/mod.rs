//! Snapshots: chains of unpacked layers as overlay directories.
