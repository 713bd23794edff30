//! Manifests, indexes and configurations of any bytes are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod image;
mod snapshot {
    /// As `src/snapshot` has it.
    pub type ChainId = oci_spec::image::Digest;
}

fuzz_target!(|data: &[u8]| {
    // Two documents, as a manifest and its configuration come; a NUL is in neither.
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let manifest = parts.next().unwrap_or_default();
    let configuration = parts.next().unwrap_or_default();
    let chain_ids = image::chain_ids(manifest, configuration);
    assert!(chain_ids.len() <= data.len());
    for chain_id in chain_ids {
        assert_eq!(chain_id.len(), "sha256:".len() + 64, "{chain_id}");
    }
});
