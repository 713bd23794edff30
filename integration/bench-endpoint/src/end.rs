//! How a bench tells its result, and how it ends.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people
    Text,
    /// One JSON document
    Json,
}

/// The exit code of a program that ends with `outcome`, whose error is told on stderr with all its causes.
#[must_use]
pub fn exit_code<E: Error>(outcome: &Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr closed there is nobody left to tell.
            writeln!(std::io::stderr(), "error: {}", with_causes(error)).ok();
            ExitCode::FAILURE
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = std::io::Error::other("the cause");
        let error = crate::ConnectError::Peer {
            socket: "/s".into(),
            source: cause,
        };
        assert_eq!(with_causes(&error), "find who listens on /s: the cause");
    }
}
