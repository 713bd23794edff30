//! A reference of any text is parsed or refused, and its full form stands for itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod image;
mod snapshot {
    /// As `src/snapshot` has it.
    pub type ChainId = oci_spec::image::Digest;
}

fuzz_target!(|text: &str| {
    let Some(canonical) = image::canonical(text) else {
        return;
    };
    assert!(canonical.len() <= text.len() + "docker.io/library/:latest".len());
    let again = image::canonical(&canonical);
    assert_eq!(again.as_deref(), Some(canonical.as_str()), "{text:?}");
});
