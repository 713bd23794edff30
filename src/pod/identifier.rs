//! Ids of sandboxes and containers.

use rustix::rand::{GetRandomFlags, getrandom};

/// A new id: 64 hexadecimal digits of the kernel's random numbers, as the peers have them.
pub(super) fn new() -> String {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        // The flags are empty and the buffer is small: only a signal can make this short (getrandom(2)).
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Is this one of our ids? What names a folder is checked before it is used.
pub(super) fn is_valid(id: &str) -> bool {
    id.len() == 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_valid_and_differ() {
        let (one, other) = (new(), new());
        assert!(is_valid(&one) && is_valid(&other));
        assert_ne!(one, other);
        assert!(!is_valid("../etc"));
    }
}
