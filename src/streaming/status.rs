//! How a command ended, in the words of Kubernetes: a `metav1.Status` as JSON from v4 on, plain text before.

use std::error::Error;
use std::fmt::Write;

use bytes::Bytes;
use serde_json::{Value, json};

/// Which words the client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusFormat {
    /// v4 and v5.
    Json,
    /// v1 to v3: nothing for success, else a line for people.
    Text,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// With code 0, or without a code.
    Success,
    /// With another exit code.
    Exit(i32),
    /// Not by itself: why.
    Failed(String),
}

impl Status {
    /// The status of an exit code.
    pub(super) fn of_exit(code: i32) -> Self {
        match code {
            0 => Self::Success,
            code => Self::Exit(code),
        }
    }

    /// What goes onto the error stream; nothing for success in plain text.
    pub(super) fn encode(&self, format: StatusFormat) -> Option<Bytes> {
        let text = match (format, self) {
            (StatusFormat::Json, _) => self.json().to_string(),
            (StatusFormat::Text, Self::Success) => return None,
            (StatusFormat::Text, Self::Exit(_) | Self::Failed(_)) => self.message(),
        };
        Some(Bytes::from(text))
    }

    fn message(&self) -> String {
        match self {
            Self::Success => String::new(),
            Self::Exit(code) => {
                format!("command terminated with non-zero exit code: exit code {code}")
            }
            Self::Failed(why) => format!("Internal error occurred: {why}"),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Success => json!({ "metadata": {}, "status": "Success" }),
            Self::Exit(code) => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.message(),
                "reason": "NonZeroExitCode",
                "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
            }),
            Self::Failed(why) => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.message(),
                "reason": "InternalError",
                "details": { "causes": [{ "message": why }] },
                "code": 500,
            }),
        }
    }
}

/// An error and all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        write!(text, ": {error}").ok();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_kubernetes() {
        let encoded = |status: Status, format| {
            let bytes = status.encode(format)?;
            Some(String::from_utf8(bytes.to_vec()).unwrap())
        };
        let json = |status| -> Value {
            serde_json::from_str(&encoded(status, StatusFormat::Json).unwrap()).unwrap()
        };
        assert_eq!(json(Status::of_exit(0))["status"], "Success");
        let exit = json(Status::of_exit(137));
        assert_eq!(exit["status"], "Failure");
        assert_eq!(exit["reason"], "NonZeroExitCode");
        let cause = json!({ "reason": "ExitCode", "message": "137" });
        assert_eq!(exit["details"]["causes"][0], cause);
        let failed = json(Status::Failed("no such container".to_owned()));
        assert_eq!(failed["reason"], "InternalError");
        assert_eq!(failed["code"], 500);
        assert_eq!(
            failed["message"],
            "Internal error occurred: no such container"
        );
        assert_eq!(encoded(Status::Success, StatusFormat::Text), None);
        assert_eq!(
            encoded(Status::Exit(3), StatusFormat::Text).unwrap(),
            "command terminated with non-zero exit code: exit code 3"
        );
    }
}
