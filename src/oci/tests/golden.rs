//! Golden files: request → config.json.
//!
//! `CARPEL_REGENERATE=1 cargo test -p carpel --lib oci::tests` writes them anew.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::Calculated;
use super::request::Request;

fn golden_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/oci")
}

/// As JSON that does not depend on the order of a hash table.
fn canonical(calculated: &Calculated) -> String {
    let mut value = serde_json::to_value(&calculated.specification).unwrap();
    let sets = value["process"]["capabilities"].as_object_mut().unwrap();
    for set in sets.values_mut() {
        let Value::Array(names) = set else { continue };
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
    }
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

#[test]
fn requests_give_the_golden_specifications() {
    let regenerate = std::env::var_os("CARPEL_REGENERATE").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(golden_directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_suffix(".request.json") else {
            continue;
        };
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let request: Request =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let calculated = canonical(&request.right());
        let golden = path.with_file_name(format!("{name}.config.json"));
        if regenerate {
            let mut file = fs::File::create(&golden).unwrap();
            file.write_all(calculated.as_bytes()).unwrap();
        }
        let expected = fs::read_to_string(&golden)
            .unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        assert_eq!(calculated, expected, "{name}");
    }
    assert!(
        seen >= 4,
        "only {seen} requests in {:?}",
        golden_directory()
    );
}
