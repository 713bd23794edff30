//! Errors to gRPC status: the only place that chooses a code. The message is the whole chain, `a: b: c`.
//!
//! There is no wildcard arm: a new kind of error does not compile until it has a code. That stopping or removing what
//! is gone is no error is decided before, in `pod/` and `image/`.

use std::error::Error;
use std::fmt::Write;

use tonic::{Code, Status};

use super::from_cri::InvalidField;
use crate::image::{self, ImageError};
use crate::pod::{PodError, PodErrorKind};

/// Longest message, in bytes: it travels in an HTTP/2 header, percent-encoded, and clients refuse headers of more than
/// 16 KiB (grpc-go's default for a header list), so what is longer would hide the code as well.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What the kubelet looks for at the head of the message of a failed pull, with code UNKNOWN
/// (kubernetes/cri-api, pkg/errors: ErrRegistryUnavailable).
const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";

/// What the kubelet looks for at the head of the message of a failed CreateContainer, likewise
/// (kubernetes/cri-api, pkg/errors: ErrImageVolumeMountFailed).
const IMAGE_VOLUME_MOUNT_FAILED: &str = "ImageVolumeMountFailed";

/// The same for a signature of an image that is pulled (ErrSignatureValidationFailed).
const SIGNATURE_INVALID: &str = "SignatureValidationFailed";

impl From<InvalidField> for Status {
    fn from(error: InvalidField) -> Self {
        Self::invalid_argument(chain(&error))
    }
}

/// The status of a request on a pod.
pub(super) fn of_pod(error: &PodError) -> Status {
    status(pod_code(error.kind()), error)
}

/// The status of a request on an image.
pub(super) fn of_image(error: &ImageError) -> Status {
    status(image_code(error.kind()), error)
}

fn status((code, prefix): (Code, Option<&'static str>), error: &dyn Error) -> Status {
    let message = match prefix {
        None => chain(error),
        Some(prefix) => shortened(format!("{prefix}: {}", chain(error))),
    };
    report(code, &message);
    Status::new(code, message)
}

/// This is where an error ends, so this is where it is logged: loudly only if nobody but Carpel can have caused it.
fn report(code: Code, message: &str) {
    if code == Code::Internal {
        tracing::error!(error = message, "request ended with an internal error");
    } else {
        tracing::debug!(?code, error = message, "request refused");
    }
}

/// The code, and the word that the kubelet looks for.
fn pod_code(kind: PodErrorKind) -> (Code, Option<&'static str>) {
    let code = match kind {
        PodErrorKind::NotFound => Code::NotFound,
        PodErrorKind::AlreadyExists => Code::AlreadyExists,
        PodErrorKind::InvalidArgument => Code::InvalidArgument,
        PodErrorKind::FailedPrecondition => Code::FailedPrecondition,
        PodErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        PodErrorKind::ResourceExhausted => Code::ResourceExhausted,
        PodErrorKind::Unavailable => Code::Unavailable,
        PodErrorKind::Unimplemented => Code::Unimplemented,
        PodErrorKind::Internal => Code::Internal,
        PodErrorKind::ImageVolume => return (Code::Unknown, Some(IMAGE_VOLUME_MOUNT_FAILED)),
    };
    (code, None)
}

/// The code, and the word that the kubelet looks for.
fn image_code(kind: image::ErrorKind) -> (Code, Option<&'static str>) {
    match kind {
        image::ErrorKind::NotFound => (Code::NotFound, None),
        image::ErrorKind::InvalidReference => (Code::InvalidArgument, None),
        image::ErrorKind::RegistryUnavailable => (Code::Unknown, Some(REGISTRY_UNAVAILABLE)),
        image::ErrorKind::SignatureInvalid => (Code::Unknown, Some(SIGNATURE_INVALID)),
        // UNAUTHENTICATED would be about the caller of this RPC.
        image::ErrorKind::Unauthorized => (Code::PermissionDenied, None),
        image::ErrorKind::RateLimited | image::ErrorKind::DiskFull => {
            (Code::ResourceExhausted, None)
        }
        image::ErrorKind::TimedOut => (Code::DeadlineExceeded, None),
        image::ErrorKind::Corrupt => (Code::DataLoss, None),
        image::ErrorKind::Configuration => (Code::FailedPrecondition, None),
        image::ErrorKind::Io => (Code::Internal, None),
    }
}

/// An error and all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        if write!(text, ": {error}").is_err() {
            break;
        }
        cause = error.source();
    }
    shortened(text)
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Subject;

    #[test]
    fn every_kind_of_pod_error_has_its_code() {
        for (kind, code) in [
            (PodErrorKind::NotFound, Code::NotFound),
            (PodErrorKind::AlreadyExists, Code::AlreadyExists),
            (PodErrorKind::InvalidArgument, Code::InvalidArgument),
            (PodErrorKind::FailedPrecondition, Code::FailedPrecondition),
            (PodErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
            (PodErrorKind::ResourceExhausted, Code::ResourceExhausted),
            (PodErrorKind::Unavailable, Code::Unavailable),
            (PodErrorKind::Unimplemented, Code::Unimplemented),
            (PodErrorKind::Internal, Code::Internal),
            (PodErrorKind::ImageVolume, Code::Unknown),
        ] {
            let error = PodError::new(kind, Subject::Runtime, "step");
            assert_eq!(of_pod(&error).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn every_kind_of_image_error_has_its_code() {
        use crate::image::ErrorKind;
        for (kind, code) in [
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::InvalidReference, Code::InvalidArgument),
            (ErrorKind::RegistryUnavailable, Code::Unknown),
            (ErrorKind::SignatureInvalid, Code::Unknown),
            (ErrorKind::Unauthorized, Code::PermissionDenied),
            (ErrorKind::RateLimited, Code::ResourceExhausted),
            (ErrorKind::TimedOut, Code::DeadlineExceeded),
            (ErrorKind::Corrupt, Code::DataLoss),
            (ErrorKind::DiskFull, Code::ResourceExhausted),
            (ErrorKind::Configuration, Code::FailedPrecondition),
            (ErrorKind::Io, Code::Internal),
        ] {
            assert_eq!(image_code(kind).0, code, "{kind:?}");
        }
        let error = PodError::new(PodErrorKind::ImageVolume, Subject::Runtime, "step");
        let message = of_pod(&error).message().to_owned();
        assert_eq!(message, "ImageVolumeMountFailed: runtime: step");
        let (_, prefix) = image_code(ErrorKind::RegistryUnavailable);
        assert_eq!(prefix, Some("RegistryUnavailable"));
        let (_, prefix) = image_code(ErrorKind::SignatureInvalid);
        assert_eq!(prefix, Some("SignatureValidationFailed"));
    }

    #[test]
    fn the_message_is_the_whole_chain() {
        let disk = std::io::Error::other("no space left");
        let error = PodError::new(
            PodErrorKind::ResourceExhausted,
            Subject::Sandbox("4f".to_owned()),
            "write record",
        )
        .caused_by(disk);
        let status = of_pod(&error);
        assert_eq!(status.message(), "sandbox 4f: write record: no space left");
    }

    #[test]
    fn a_message_fits_a_header() {
        let error = PodError::new(PodErrorKind::Internal, Subject::Runtime, "ä".repeat(9000));
        let status = of_pod(&error);
        assert!(status.message().len() <= MESSAGE_BYTES_MAX);
        assert!(status.message().ends_with('…'));
    }
}
