//! Names, labels and annotations.

use super::found::Found;
use crate::manifest::names;
use crate::manifest::object::Object;

/// The most that all annotations of an object may hold.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

pub(super) fn validate(found: &mut Found, object: &Object) {
    let metadata = object.metadata();
    match object.name() {
        "" => found.required("metadata.name", "name or generateName is required"),
        name => found.check("metadata.name", name, names::subdomain),
    }
    found.check("metadata.namespace", object.namespace(), names::label);
    for (key, value) in metadata.labels.iter().flatten() {
        found.check("metadata.labels", key, names::qualified_name);
        found.check("metadata.labels", value, names::label_value);
    }
    let mut bytes = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        bytes += key.len() + value.len();
        // Unlike those of labels, their keys may have capitals.
        found.check(
            "metadata.annotations",
            &key.to_lowercase(),
            names::qualified_name,
        );
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        let problem = crate::manifest::error::Problem::TooLong(ANNOTATIONS_BYTES_MAX);
        found.note("metadata.annotations", problem);
    }
}
