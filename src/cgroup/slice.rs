//! Names of systemd's units as paths of cgroups. Pure.
//!
//! A dash in the name of a slice is a level of the tree: `a-b.slice` is `/a.slice/a-b.slice` (systemd.slice(5)).

use super::error::CgroupError;

const SUFFIX: &str = ".slice";

/// The slice of pods whose request names none.
pub(super) const DEFAULT_SLICE: &str = "carpel.slice";

/// The name of the slice that `parent` means: its last part, as the kubelet gives either the name or the whole path.
pub(super) fn slice_name(parent: &str) -> Result<String, CgroupError> {
    let refuse = |reason| {
        Err(CgroupError::Parent {
            parent: parent.to_owned(),
            reason,
        })
    };
    if parent.is_empty() {
        return Ok(DEFAULT_SLICE.to_owned());
    }
    let name = parent.trim_end_matches('/').rsplit('/').next();
    let name = name.unwrap_or_default();
    let Some(stem) = name.strip_suffix(SUFFIX) else {
        return refuse("not a slice, but the cgroup driver is systemd");
    };
    if name.len() > 255 || !name.bytes().all(is_of_a_unit) {
        return refuse("not the name of a slice");
    }
    // The root slice is `-.slice`; no other part may be empty.
    if stem != "-" && stem.split('-').any(str::is_empty) {
        return refuse("not the name of a slice");
    }
    Ok(name.to_owned())
}

fn is_of_a_unit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

/// Where the cgroup of a slice is, below the mount point.
pub(super) fn slice_path(name: &str) -> String {
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    if stem == "-" {
        return "/".to_owned();
    }
    let dashes = stem.match_indices('-').map(|(at, _)| &stem[..at]);
    let levels = dashes.chain(std::iter::once(stem));
    levels.map(|level| format!("/{level}{SUFFIX}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dash_is_a_level() {
        for (name, path) in [
            ("a.slice", "/a.slice"),
            ("a-b.slice", "/a.slice/a-b.slice"),
            (
                "kubepods-besteffort-pod1_2.slice",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice",
            ),
            ("-.slice", "/"),
        ] {
            assert_eq!(slice_path(name), path);
        }
    }

    #[test]
    fn a_parent_is_a_name_or_the_path_that_ends_in_it() {
        let whole = "/kubepods.slice/kubepods-burstable.slice/";
        assert_eq!(slice_name(whole).unwrap(), "kubepods-burstable.slice");
        assert_eq!(slice_name("a-b.slice").unwrap(), "a-b.slice");
        assert_eq!(slice_name("").unwrap(), "carpel.slice");
        for (parent, reason) in [
            ("/kubepods", "not a slice"),
            ("a.service", "not a slice"),
            ("a--b.slice", "not the name"),
            ("-a.slice", "not the name"),
            ("a b.slice", "not the name"),
            (".slice", "not the name"),
        ] {
            let error = slice_name(parent).unwrap_err().to_string();
            assert!(error.contains(reason), "{parent}: {error}");
        }
    }

    proptest! {
        #[test]
        fn the_path_of_a_slice_ends_in_its_name(stem in "[a-z0-9_]{1,5}(-[a-z0-9_]{1,5}){0,4}") {
            let name = format!("{stem}.slice");
            let path = slice_path(&name);
            prop_assert_eq!(slice_name(&path).unwrap(), name);
            prop_assert_eq!(path.matches('/').count(), stem.split('-').count());
        }
    }
}
