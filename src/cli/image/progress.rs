//! The progress bar of an archive.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, on a terminal only.
pub(super) fn bar(path: &Path, length_bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let bar = ProgressBar::new(length_bytes).with_message(name.to_string_lossy().into_owned());
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
    {
        bar.set_style(style);
    }
    bar
}
