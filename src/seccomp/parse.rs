//! Profiles as files have them: `linux.seccomp` of the OCI specification as JSON.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

use super::error::SeccompError;

/// Reads a profile. What OCI does not know is left out, but for the conditions of Docker's format.
///
/// # Errors
///
/// `Json` if it is none, `Docker` if an entry holds only on conditions.
pub fn parse(text: &[u8]) -> Result<LinuxSeccomp, SeccompError> {
    let value: Value = serde_json::from_slice(text).map_err(SeccompError::Json)?;
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => true,
    };
    if value.get("archMap").is_some_and(is_there) {
        return Err(SeccompError::Docker {
            field: "archMap".to_owned(),
        });
    }
    let entries = value.get("syscalls").and_then(Value::as_array);
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        for condition in ["includes", "excludes"] {
            if entry.get(condition).is_some_and(is_there) {
                return Err(SeccompError::Docker {
                    field: format!("syscalls[{index}].{condition}"),
                });
            }
        }
    }
    serde_json::from_value(value).map_err(SeccompError::Json)
}
