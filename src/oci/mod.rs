//! The calculation from a request and an image to an OCI runtime specification: pure.
