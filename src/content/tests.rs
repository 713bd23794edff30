//! Tests of the content store on a temporary folder.

use std::fs;
use std::io::Read;
use std::thread;

use oci_spec::image::Digest;
use proptest::prelude::*;

use super::ingest::hexadecimal;
use super::*;

fn digest_of(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hexadecimal(bytes)).parse().unwrap()
}

fn store() -> (tempfile::TempDir, Content) {
    let folder = tempfile::tempdir().unwrap();
    let content = Content::open(folder.path()).unwrap();
    (folder, content)
}

#[test]
fn a_committed_blob_is_read_back() {
    let (_folder, content) = store();
    let digest = digest_of(b"hello");
    let mut ingest = content.ingest(&digest, Some(5)).unwrap();
    ingest.write(b"he").unwrap();
    ingest.write(b"llo").unwrap();
    assert!(!content.contains(&digest));
    ingest.commit().unwrap();
    assert!(content.contains(&digest));
    assert_eq!(content.read(&digest, 5).unwrap(), b"hello");
    assert_eq!(content.digests().unwrap(), std::slice::from_ref(&digest));
    content.remove(&digest).unwrap();
    content.remove(&digest).unwrap();
    assert_eq!(
        content.read(&digest, 5).unwrap_err().kind(),
        ErrorKind::Missing
    );
}

#[test]
fn an_abandoned_ingest_leaves_nothing() {
    let (folder, content) = store();
    let mut ingest = content.ingest(&digest_of(b"hello"), None).unwrap();
    ingest.write(b"he").unwrap();
    drop(ingest);
    assert_eq!(
        fs::read_dir(folder.path().join("ingest")).unwrap().count(),
        0
    );
    assert!(content.digests().unwrap().is_empty());
}

#[test]
fn what_a_crash_left_is_removed_at_open_and_blobs_stay() {
    let (folder, content) = store();
    content.put(&digest_of(b"kept"), b"kept").unwrap();
    let mut ingest = content.ingest(&digest_of(b"hello"), None).unwrap();
    ingest.write(b"he").unwrap();
    // A killed process runs no destructor.
    std::mem::forget(ingest);
    assert_eq!(
        fs::read_dir(folder.path().join("ingest")).unwrap().count(),
        1
    );
    let content = Content::open(folder.path()).unwrap();
    assert_eq!(
        fs::read_dir(folder.path().join("ingest")).unwrap().count(),
        0
    );
    assert_eq!(content.digests().unwrap(), [digest_of(b"kept")]);
}

#[test]
fn more_bytes_than_announced_are_refused_at_once() {
    let (_folder, content) = store();
    let mut ingest = content.ingest(&digest_of(b"hello"), Some(3)).unwrap();
    assert!(matches!(
        ingest.write(b"hello"),
        Err(ContentError::WrongSize {
            expected: 3,
            found: 5,
            ..
        })
    ));
}

#[test]
fn a_blob_that_the_disk_changed_is_reported() {
    let (folder, content) = store();
    let digest = digest_of(b"hello");
    content.put(&digest, b"hello").unwrap();
    let path = folder.path().join("blobs/sha256").join(digest.digest());
    fs::File::create(path).unwrap();
    assert_eq!(
        content.read(&digest, 9).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn other_algorithms_are_refused() {
    let (_folder, content) = store();
    let digest: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
    assert!(matches!(
        content.ingest(&digest, None),
        Err(ContentError::UnsupportedDigest { .. })
    ));
}

#[test]
fn readers_follow_the_writer_to_the_verified_end() {
    let (_folder, content) = store();
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut ingest = content.ingest(&digest_of(&bytes), None).unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = ingest.spool().reader();
            thread::spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read)
            })
        })
        .collect();
    for chunk in bytes.chunks(3000) {
        ingest.write(chunk).unwrap();
    }
    ingest.commit().unwrap();
    for reader in readers {
        assert!(reader.join().unwrap().unwrap() == bytes);
    }
}

#[test]
fn readers_get_an_error_when_the_bytes_are_others() {
    let (_folder, content) = store();
    let mut ingest = content.ingest(&digest_of(b"good"), None).unwrap();
    let mut reader = ingest.spool().reader();
    ingest.write(b"evil").unwrap();
    assert!(matches!(
        ingest.commit(),
        Err(ContentError::WrongDigest { .. })
    ));
    let mut read = Vec::new();
    assert!(reader.read_to_end(&mut read).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written in whatever pieces against whatever digest: only right bytes become visible.
    #[test]
    fn nothing_unverified_is_ever_visible(
        announced in prop::collection::vec(any::<u8>(), 0..40),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
        honest in any::<bool>(),
    ) {
        let (_folder, content) = store();
        let digest = digest_of(&announced);
        let pieces = if honest { announced.chunks(7).map(<[u8]>::to_vec).collect() } else { pieces };
        let mut ingest = content.ingest(&digest, None).unwrap();
        for piece in &pieces {
            ingest.write(piece).unwrap();
            prop_assert!(!content.contains(&digest));
        }
        let right = pieces.concat() == announced;
        prop_assert_eq!(ingest.commit().is_ok(), right);
        prop_assert_eq!(content.contains(&digest), right);
        prop_assert_eq!(content.read(&digest, 100).is_ok(), right);
    }
}
