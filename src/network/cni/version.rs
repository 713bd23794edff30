//! Versions of the CNI specification, and what came with which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpecVersion(u16, u16, u16);

impl SpecVersion {
    /// What a configuration without a version means.
    pub(super) const FIRST: Self = Self(0, 1, 0);
    /// From here on DEL gets the result of ADD, and there is CHECK.
    pub(super) const WITH_CHECK: Self = Self(0, 4, 0);
    /// From here on there are STATUS and GC.
    pub(super) const WITH_STATUS: Self = Self(1, 1, 0);
    /// The newest that is spoken here.
    pub(super) const NEWEST: Self = Self(1, 1, 0);
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of the CNI specification")]
pub struct VersionError(String);

impl FromStr for SpecVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for (position, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                    *number = part
                        .parse()
                        .map_err(|_too_large| VersionError(text.to_owned()))?;
                }
                None if position > 0 => {}
                _ => return Err(VersionError(text.to_owned())),
            }
        }
        match parts.next() {
            None => Ok(Self(numbers[0], numbers[1], numbers[2])),
            Some(_) => Err(VersionError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for SpecVersion {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<SpecVersion> for String {
    fn from(version: SpecVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_are_ordered_as_such() {
        let version = |text: &str| text.parse::<SpecVersion>();
        assert_eq!(version("1.1.0").unwrap(), SpecVersion::NEWEST);
        assert_eq!(version("1.1").unwrap().to_string(), "1.1.0");
        assert!(version("0.10.0").unwrap() > version("0.9.9").unwrap());
        for wrong in ["", "1.", "1.0.0.0", "v1", "1.-1", "99999.0.0", "1.+1"] {
            assert!(version(wrong).is_err(), "{wrong:?}");
        }
    }
}
