//! Profiles that ask a program of the host: SCMP_ACT_NOTIFY with `listenerPath` and `listenerMetadata`.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action};

use super::error::SeccompError;

/// By which the shim's child hands the listener on after it has loaded the filter.
const HANDOVER: (&str, libc::c_long) = ("sendmsg", libc::SYS_sendmsg);

/// Whether the profile needs a listener, and can have one.
pub(super) fn is_wanted(profile: &LinuxSeccomp) -> Result<bool, SeccompError> {
    let mut entries = profile.syscalls().iter().flatten().enumerate();
    let notifying = entries.find(|(_, entry)| entry.action() == Action::ScmpActNotify);
    let field = match notifying {
        _ if profile.default_action() == Action::ScmpActNotify => Some("defaultAction".to_owned()),
        Some((index, _)) => Some(format!("syscalls[{index}].action")),
        None => None,
    };
    let flags = profile.flags().iter().flatten();
    let waits = flags.into_iter().any(|flag| {
        *flag == oci_spec::runtime::LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv
    });
    match (field, profile.listener_path()) {
        (Some(field), None) => Err(SeccompError::Notify { field }),
        (Some(_), Some(path)) if !path.is_absolute() => Err(SeccompError::ListenerPath {
            path: path.display().to_string(),
        }),
        (Some(_), Some(_)) => Ok(true),
        (None, _) if waits => Err(SeccompError::WaitForNothing),
        (None, None) if profile.listener_metadata().is_some() => {
            Err(SeccompError::MetadataForNobody)
        }
        // A listener that is never needed is not asked for: as runc has it.
        (None, _) => Ok(false),
    }
}

/// The call that hands the listener on must pass, whatever its arguments: nobody would answer it.
pub(super) fn check_handover(program: &[u8]) -> Result<(), SeccompError> {
    let (call, number) = HANDOVER;
    match carpel_linux::seccomp::allows(program, number, &[]) {
        true => Ok(()),
        false => Err(SeccompError::Handover { call }),
    }
}
