//! The real crictl, run inside a node: its answers, and its refusals.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::node::Node;
use crate::node::Runtime;
use crate::wait::wait_for;

/// How long the tests wait for a container to get into a state.
const STATE_DEADLINE: Duration = Duration::from_secs(20);

impl Node {
    /// Runs crictl and gives its output, whatever it says.
    #[must_use]
    pub fn crictl(&self, arguments: &[&str]) -> Output {
        self.command("crictl").args(arguments).output().unwrap()
    }

    /// Runs crictl, which must succeed, and gives its standard output without
    /// the end of line.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.crictl(arguments);
        assert!(
            output.status.success(),
            "crictl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Runs a script in a container and gives what it says on both streams, whether or not it succeeds.
    #[must_use]
    pub fn ask_inside(&self, container: &str, script: &str) -> String {
        let script = format!("({script}) 2>&1; true");
        self.ask(&["exec", container, "sh", "-c", &script])
    }

    /// Runs crictl, which must succeed, for its effect.
    pub fn tell(&self, arguments: &[&str]) {
        drop(self.ask(arguments));
    }

    /// Runs crictl and reads its standard output as JSON.
    #[must_use]
    pub fn ask_json(&self, arguments: &[&str]) -> Value {
        let text = self.ask(arguments);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("crictl {}: {error}: {text}", arguments.join(" ")))
    }

    /// Runs crictl, which must be refused with one of the gRPC codes and a
    /// message that names all of `names`. Code and message are asserted for
    /// Carpel only: containerd 1.6 answers Unknown to most of these, without
    /// names. Gives the message.
    pub fn is_refused(&self, arguments: &[&str], codes: &[&str], names: &[&str]) -> String {
        let output = self.crictl(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let call = arguments.join(" ");
        assert!(!output.status.success(), "crictl {call} was not refused");
        if self.runtime == Runtime::Containerd {
            return said;
        }
        let code = code_of(&said);
        assert!(
            codes.contains(&code),
            "crictl {call}: code {code}, not {}: {said}",
            codes.join(" or ")
        );
        for name in names {
            assert!(
                said.contains(name),
                "crictl {call}: the message does not name {name}: {said}"
            );
        }
        said
    }

    /// The state of a container: `CONTAINER_RUNNING` and so on.
    #[must_use]
    pub fn container_state(&self, container: &str) -> String {
        text(&self.ask_json(&["inspect", container]), "/status/state")
    }

    /// Waits until a container has ended, and gives its status.
    pub fn wait_until_exited(&self, container: &str) -> Value {
        wait_for("the container's end", STATE_DEADLINE, || {
            let status = self.ask_json(&["inspect", container])["status"].clone();
            (status["state"] == "CONTAINER_EXITED").then_some(status)
        })
    }
}

/// The text at a JSON pointer.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} in {value:#}"))
        .to_owned()
}

/// The last gRPC code in a message: crictl prints the cause last.
fn code_of(said: &str) -> &str {
    said.rsplit_once("code = ").map_or("none", |(_, rest)| {
        rest.split_whitespace().next().unwrap_or("none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_the_innermost_error() {
        let said = "level=fatal msg=\"stop: rpc error: code = NotFound desc = container x\"";
        assert_eq!(code_of(said), "NotFound");
        assert_eq!(code_of("no such flag"), "none");
    }
}
