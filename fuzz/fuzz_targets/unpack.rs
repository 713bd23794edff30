//! A layer of any bytes is unpacked or refused; nothing leaves the directory that it is unpacked into. Needs root.
#![no_main]

use std::fs;
use std::path::Path;

#[allow(dead_code, unused_imports, reason = "what the daemon needs besides")]
#[path = "../../src/layer/mod.rs"]
mod layer;

use layer::{Limits, unpack};
use libfuzzer_sys::fuzz_target;

/// A tar header, and where its sum is (POSIX.1-2017, pax, "ustar Interchange Format").
const BLOCK_BYTES: usize = 512;
const SUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|data: &[u8]| {
    // An odd first byte asks for right sums: without them hardly any change would come past the first header.
    let Some((first, archive)) = data.split_first() else {
        return;
    };
    let mut archive = archive.to_vec();
    if first % 2 == 1 {
        archive.chunks_exact_mut(BLOCK_BYTES).for_each(mend_sum);
    }
    let folder = tempfile::Builder::new()
        .prefix("carpel-fuzz-")
        .tempdir_in("/dev/shm")
        .expect("a folder");
    let (target, outside) = (folder.path().join("target"), folder.path().join("outside"));
    for path in [&target, &outside] {
        fs::create_dir(path).expect("a folder");
    }
    let limits = Limits {
        bytes: 1 << 20,
        entries: 200,
        names_bytes: 1 << 16,
        ..Limits::default()
    };
    let outcome = unpack(archive.as_slice(), &target, None, limits);
    if let Ok(unpacked) = outcome {
        assert!(unpacked.bytes <= limits.bytes && unpacked.entries <= limits.entries);
        for path in unpacked.implied {
            let path = target.join(path);
            let status = fs::symlink_metadata(&path).expect("what is implied is there");
            assert!(status.is_dir(), "{path:?}");
        }
    }
    assert_eq!(names(folder.path()), 2);
    assert_eq!(names(&outside), 0);
});

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

fn mend_sum(block: &mut [u8]) {
    if block.iter().all(|byte| *byte == 0) {
        return;
    }
    block[SUM].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
