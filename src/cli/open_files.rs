//! The limit of open files: raised for the daemon, and remembered so that nothing it starts inherits the raise.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and returns what was before.
///
/// # Errors
///
/// When the kernel refuses, which it does not for a soft limit up to the hard one.
pub(super) fn raise() -> std::io::Result<Rlimit> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if before.current != before.maximum {
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one_and_the_old_one_is_told() {
        let start = getrlimit(Resource::Nofile);
        let lower = Rlimit {
            current: Some(256),
            maximum: start.maximum,
        };
        setrlimit(Resource::Nofile, lower).unwrap();
        assert_eq!(raise().unwrap().current, Some(256));
        assert_eq!(getrlimit(Resource::Nofile).current, start.maximum);
        setrlimit(Resource::Nofile, start).unwrap();
    }
}
