//! Network namespaces and the built-in bridge network.
