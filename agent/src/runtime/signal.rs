//! Names of signals, as `lifecycle.stopSignal` has them.

use super::wire::Signal;

/// The CRI's value of `SIGTERM`, `SIGRTMIN+3` and so on; `None` for a name that it does not have.
pub(super) fn named(name: &str) -> Option<Signal> {
    let name = name.replace('+', "PLUS").replace('-', "MINUS");
    Signal::from_str_name(&format!("SIGNAL_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_known() {
        assert_eq!(named("SIGTERM"), Some(Signal::Sigterm));
        assert_eq!(named("SIGRTMIN+3"), Some(Signal::Sigrtminplus3));
        assert_eq!(named("SIGRTMAX-14"), Some(Signal::Sigrtmaxminus14));
        assert_eq!(named("SIGNONE"), None);
    }
}
