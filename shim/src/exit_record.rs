//! exit.json: a container's exit on the disk, for a daemon that was dead when it happened. Replaced by rename, without
//! fsync: it must survive the daemon and the shim, not the machine.

use crate::failure::ignore;
use carpel_shim_protocol::message::ContainerExited;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

const NAME: &str = "exit.json";
const TEMPORARY: &str = ".exit.json.tmp";

/// Makes `containers/<id>` below the pod's directory.
pub(crate) fn make_directory(pod: BorrowedFd<'_>, container_id: &str) -> Result<(), Errno> {
    for path in [
        "containers".to_owned(),
        format!("containers/{container_id}"),
    ] {
        match rustix::fs::mkdirat(pod, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    // What an earlier container of this name left must not be taken for this one's.
    let record = format!("containers/{container_id}/{NAME}");
    match rustix::fs::unlinkat(pod, record, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Writes the record below the pod's directory.
pub(crate) fn write(pod: BorrowedFd<'_>, exit: &ContainerExited) -> Result<(), Errno> {
    let directory = format!("containers/{}", exit.container_id);
    let temporary = format!("{directory}/{TEMPORARY}");
    let result = write_temporary(pod, &temporary, render(exit).as_bytes())
        .and_then(|()| rustix::fs::renameat(pod, &temporary, pod, format!("{directory}/{NAME}")));
    if result.is_err() {
        // A torn temporary file takes room that the next try needs.
        let removed = rustix::fs::unlinkat(pod, &temporary, rustix::fs::AtFlags::empty());
        ignore(removed, "it may not even be there");
    }
    result
}

fn write_temporary(pod: BorrowedFd<'_>, path: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::openat(pod, path, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn render(exit: &ContainerExited) -> String {
    let mut text = String::from("{\"version\":1,\"container_id\":");
    push_quoted(&mut text, &exit.container_id);
    let written = write!(
        text,
        ",\"exit_code\":{},\"signal\":{},\"exited_at_nanoseconds\":{},\"killed_on_request\":{},\"oom_kill\":{},\
         \"oom_group_kill\":{},\"last_oom_at_nanoseconds\":{},\"lost_log_lines\":{},\"oom_levels_above\":{},\
         \"oom_cgroup\":",
        exit.exit_code,
        exit.signal,
        exit.exited_at_nanoseconds,
        exit.killed_on_request,
        exit.oom_kill,
        exit.oom_group_kill,
        exit.last_oom_at_nanoseconds,
        exit.lost_log_lines,
        exit.oom_levels_above,
    );
    ignore(written, "writing to a String cannot fail");
    push_quoted(&mut text, &exit.oom_cgroup);
    text.push_str("}\n");
    text
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') || character.is_control() {
            let written = write!(text, "\\u{:04x}", u32::from(character));
            ignore(written, "writing to a String cannot fail");
        } else {
            text.push(character);
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn exit() -> ContainerExited {
        ContainerExited {
            container_id: "a\"b".into(),
            exit_code: 137,
            signal: 9,
            exited_at_nanoseconds: 1_700_000_000_000_000_001,
            killed_on_request: true,
            oom_kill: 1,
            oom_cgroup: "/c\"d".into(),
            oom_levels_above: 1,
            ..Default::default()
        }
    }

    #[test]
    fn golden_record() {
        assert_eq!(
            render(&exit()),
            "{\"version\":1,\"container_id\":\"a\\u0022b\",\"exit_code\":137,\"signal\":9,\
             \"exited_at_nanoseconds\":1700000000000000001,\"killed_on_request\":true,\"oom_kill\":1,\
             \"oom_group_kill\":0,\"last_oom_at_nanoseconds\":0,\"lost_log_lines\":0,\"oom_levels_above\":1,\
             \"oom_cgroup\":\"/c\\u0022d\"}\n"
        );
    }

    #[test]
    fn the_record_replaces_an_older_one_and_leaves_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let pod = std::fs::File::open(directory.path()).unwrap();
        let exit = ContainerExited {
            container_id: "a".into(),
            ..exit()
        };
        make_directory(pod.as_fd(), "a").unwrap();
        write(pod.as_fd(), &exit).unwrap();
        write(pod.as_fd(), &exit).unwrap();
        let path = directory.path().join("containers/a");
        let names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["exit.json"]);
        make_directory(pod.as_fd(), "a").unwrap();
        assert!(!path.join("exit.json").exists());
    }
}
