//! Unpacking of layer archives below a directory descriptor.
