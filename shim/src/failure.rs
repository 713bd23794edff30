//! Failures of requests, in the words of the protocol: which step, which errno, what kind.

pub(crate) use carpel_shim_protocol::message::Failure;
use carpel_shim_protocol::message::FailureKind;
use rustix::io::Errno;

/// The result of a step.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Names the step in which a system call failed.
pub(crate) trait InStep<T> {
    /// The failure of `step`, rendered only if it is one.
    fn step(self, step: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T> InStep<T> for carpel_linux::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure {
            kind: FailureKind::FailureSystem.into(),
            step: step(),
            errno: error.errno().raw_os_error(),
            detail: error.call().to_owned(),
        })
    }
}

impl<T> InStep<T> for rustix::io::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|errno| system(step(), errno))
    }
}

/// A system call failed.
pub(crate) fn system(step: impl Into<String>, errno: Errno) -> Failure {
    of_kind(FailureKind::FailureSystem, step, errno.raw_os_error())
}

/// The request asks for what cannot be.
pub(crate) fn invalid(step: impl Into<String>, detail: impl Into<String>) -> Failure {
    Failure {
        detail: detail.into(),
        ..of_kind(FailureKind::FailureInvalid, step, 0)
    }
}

/// No object of that id.
pub(crate) fn not_found(step: impl Into<String>) -> Failure {
    of_kind(FailureKind::FailureNotFound, step, 0)
}

/// The object is not in the state that the request needs.
pub(crate) fn wrong_state(step: impl Into<String>, detail: impl Into<String>) -> Failure {
    Failure {
        detail: detail.into(),
        ..of_kind(FailureKind::FailureWrongState, step, 0)
    }
}

/// The program could not be executed.
pub(crate) fn execute(program: &[u8], errno: Errno) -> Failure {
    let program = String::from_utf8_lossy(program);
    let step = format!("execute {program:?}");
    of_kind(FailureKind::FailureExecute, step, errno.raw_os_error())
}

/// The same failure, as one of a volume made of an image.
pub(crate) fn of_image_volume(failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::FailureImageVolume.into(),
        ..failure
    }
}

fn of_kind(kind: FailureKind, step: impl Into<String>, errno: i32) -> Failure {
    Failure {
        kind: kind.into(),
        step: step.into(),
        errno,
        detail: String::new(),
    }
}

/// Lets go of a result whose failure changes nothing, and says why.
pub(crate) fn ignore<T, E>(_result: Result<T, E>, _reason: &'static str) {}
