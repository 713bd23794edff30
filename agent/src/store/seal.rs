//! Sealing of Secrets: what is on the disk cannot be read, changed or put in another Secret's place without the key.
//! AES-256-GCM with a random nonce for each record; the record's place is authenticated with it
//! (docs/decisions/0042-secrets-are-sealed-on-disk.md says against whom this helps, and against whom not).

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::StoreError;
use crate::file::{self, Durability};
use crate::manifest::Key;

const KEY_BYTES: usize = 32;

/// Seals and opens records.
pub(super) struct Seal {
    key: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

impl Seal {
    /// With the key of a file, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let random = SystemRandom::new();
        let bytes = match file::read(path)? {
            Some(bytes) => bytes,
            None => {
                let mut bytes = vec![0_u8; KEY_BYTES];
                random
                    .fill(&mut bytes)
                    .map_err(|_unspecified| StoreError::Random)?;
                file::replace(path, &bytes, Durability::Synced)?;
                bytes
            }
        };
        let key =
            UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_unspecified| StoreError::Key {
                path: path.to_owned(),
            })?;
        Ok(Self {
            key: LessSafeKey::new(key),
            random,
        })
    }

    /// The nonce, then the sealed bytes.
    pub(super) fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0_u8; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_unspecified| StoreError::Random)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place(key)),
                &mut sealed,
            )
            .map_err(|_unspecified| StoreError::Seal { key: key.clone() })?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// What was sealed for this place; nothing if it was sealed for another, with another key, or was changed.
    pub(super) fn open_record(&self, key: &Key, bytes: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(place(key)), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }
}

/// What ties a record to its place. No part can hold a slash, so no two places say the same.
fn place(key: &Key) -> Vec<u8> {
    format!(
        "carpel/1/{}/{}/{}",
        key.kind.plural(),
        key.namespace,
        key.name
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Kind;
    use proptest::prelude::*;

    fn secret(name: &str) -> Key {
        super::super::key(Kind::Secret, "default", name)
    }

    fn seal() -> (tempfile::TempDir, Seal) {
        let folder = tempfile::tempdir().unwrap();
        let seal = Seal::open(&folder.path().join("key")).unwrap();
        (folder, seal)
    }

    #[test]
    fn what_was_sealed_is_opened_with_the_key_of_the_file() {
        let (folder, seal) = seal();
        let sealed = seal.seal(&secret("a"), b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        let again = Seal::open(&folder.path().join("key")).unwrap();
        assert_eq!(
            again.open_record(&secret("a"), &sealed).unwrap(),
            b"hunter2"
        );
    }

    #[test]
    fn a_record_is_worth_nothing_in_another_place_or_with_another_key() {
        let (_folder, seal) = seal();
        let (_other_folder, other) = self::seal();
        let sealed = seal.seal(&secret("a"), b"hunter2").unwrap();
        assert_eq!(seal.open_record(&secret("b"), &sealed), None);
        assert_eq!(other.open_record(&secret("a"), &sealed), None);
    }

    #[test]
    fn two_records_of_the_same_bytes_differ() {
        let (_folder, seal) = seal();
        let sealed = || seal.seal(&secret("a"), b"x").unwrap();
        assert_ne!(sealed(), sealed());
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        file::replace(&path, b"short", Durability::Rename).unwrap();
        assert!(matches!(Seal::open(&path), Err(StoreError::Key { .. })));
    }

    proptest! {
        #[test]
        fn a_changed_record_is_never_opened(plain in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (_folder, seal) = seal();
            let mut sealed = seal.seal(&secret("a"), &plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(seal.open_record(&secret("a"), &sealed), None);
            prop_assert_eq!(seal.open_record(&secret("a"), &sealed[..at]), None);
        }
    }
}
