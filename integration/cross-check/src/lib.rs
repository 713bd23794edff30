//! Nothing but tests: what they compare with would otherwise be built with every example.
