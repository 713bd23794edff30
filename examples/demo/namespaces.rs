//! The demo's own network and mount namespace: this program starts itself again below `unshare` of util-linux.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::error::DemoError;

/// Marks the second start.
const INSIDE: &str = "CARPEL_DEMO_INSIDE";

/// Returns inside the namespaces. Outside, this process becomes the one inside, with the same pid.
pub(crate) fn enter() -> Result<(), DemoError> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(DemoError::NotRoot);
    }
    // Not /proc/self/exe: that would be unshare, when unshare looks.
    let own = std::env::current_exe().map_err(DemoError::file("find", "/proc/self/exe"))?;
    let program = "unshare".to_owned();
    let source = Command::new(&program)
        .args(["--net", "--mount", "--propagation", "private", "--"])
        .arg(own)
        .env(INSIDE, "1")
        .exec();
    Err(DemoError::Run { program, source })
}
