//! The configuration file: one TOML document, every key with its default.
