//! Compiled programs, kept: a node has few profiles and many containers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::runtime::LinuxSeccomp;

use super::compile::{Filter, compile};
use super::error::SeccompError;

/// More profiles than a node uses at a time: the default one with each set of capabilities, and those of files.
const KEPT: usize = 16;

/// The filters of the profiles that were asked for last.
#[derive(Debug, Default)]
pub struct Filters {
    kept: Mutex<VecDeque<(LinuxSeccomp, Arc<Filter>)>>,
}

impl Filters {
    /// The filter of a profile, compiled if it is not kept.
    ///
    /// # Errors
    ///
    /// As [`compile`].
    pub fn of(&self, profile: &LinuxSeccomp) -> Result<Arc<Filter>, SeccompError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.iter().position(|(found, _)| found == profile) {
            let found = kept.remove(index);
            let filter = found.as_ref().map(|(_, filter)| Arc::clone(filter));
            kept.extend(found);
            return filter.ok_or(SeccompError::Machine);
        }
        let filter = Arc::new(compile(profile)?);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((profile.clone(), Arc::clone(&filter)));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oci_spec::runtime::LinuxSeccomp;

    use super::{Filters, KEPT};

    #[test]
    fn a_profile_is_compiled_once_while_it_is_used() {
        let filters = Filters::default();
        let profile = |errno: usize| {
            let mut profile = LinuxSeccomp::default();
            profile.set_default_action(oci_spec::runtime::LinuxSeccompAction::ScmpActErrno);
            profile.set_default_errno_ret(u32::try_from(errno).ok());
            profile
        };
        let first = filters.of(&profile(0)).unwrap();
        for errno in 1..KEPT {
            filters.of(&profile(errno)).unwrap();
            assert!(Arc::ptr_eq(&first, &filters.of(&profile(0)).unwrap()));
        }
        for errno in KEPT..2 * KEPT {
            filters.of(&profile(errno)).unwrap();
        }
        assert!(!Arc::ptr_eq(&first, &filters.of(&profile(0)).unwrap()));
        assert_eq!(first, filters.of(&profile(0)).unwrap());
    }
}
