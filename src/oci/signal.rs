//! Signal names as images write them.

use std::str::FromStr;

use nix::sys::signal::Signal;

use super::error::OciError;
use super::input::Input;

/// The first real-time signal that a C library leaves to programs; kill(1) and Dockerfiles count from it.
const FIRST_REALTIME: i32 = 34;
/// The last signal of Linux.
const LAST: i32 = 64;

/// The signal that asks a container to end: the request's, else the image's, else SIGTERM.
pub(super) fn stop_signal(input: &Input<'_>) -> Result<i32, OciError> {
    match input.container.stop_signal {
        Some(number) if (1..=LAST).contains(&number) => Ok(number),
        Some(number) => Err(OciError::value(
            "stop_signal",
            number,
            "not a signal of Linux",
        )),
        None if input.image.stop_signal.is_empty() => Ok(Signal::SIGTERM as i32),
        None => parse(&input.image.stop_signal).ok_or_else(|| {
            OciError::value(
                "StopSignal of the image",
                &input.image.stop_signal,
                "not a signal of Linux",
            )
        }),
    }
}

/// `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3`, `RTMAX-2`.
fn parse(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let realtime = if let Some(offset) = name.strip_prefix("RTMIN") {
        Some(FIRST_REALTIME + offset_of(offset, '+')?)
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        Some(LAST - offset_of(offset, '-')?)
    } else {
        None
    };
    match realtime {
        Some(number) => (FIRST_REALTIME..=LAST).contains(&number).then_some(number),
        None => Signal::from_str(&format!("SIG{name}"))
            .ok()
            .map(|signal| signal as i32),
    }
}

/// The number after `sign`; nothing at all counts as 0.
fn offset_of(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    // At most two digits: sums stay far from overflow.
    (digits.len() <= 2).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals_are_read_as_images_write_them() {
        for (text, number) in [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("SIGQUIT", Some(3)),
            ("SIGWINCH", Some(28)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-2", Some(62)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN+-1", None),
            ("SIGRTMIN+999999999999", None),
            ("0", None),
            ("65", None),
            ("SIGNOTHING", None),
            ("", None),
        ] {
            assert_eq!(parse(text), number, "{text:?}");
        }
    }
}
