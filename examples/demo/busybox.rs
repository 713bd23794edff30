//! Debian's static busybox: the host's, else from Debian's package, unpacked beside the demo and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::DemoError;
use super::screen::Screen;

const INSTALLED: &str = "/bin/busybox";

/// Bytes of a statically linked busybox.
pub(crate) fn find(directory: &Path, screen: &mut Screen) -> Result<Vec<u8>, DemoError> {
    if let Ok(program) = fs::read(INSTALLED)
        && is_static(&program)
    {
        screen.say(&format!(
            "{INSTALLED} of this machine is static: an image is made of it"
        ));
        return Ok(program);
    }
    screen.say("this machine has no static busybox: downloading Debian's package busybox-static");
    screen.say("(it is unpacked into the demo's own directory, not installed)");
    let folder = directory.join("busybox-static");
    fs::create_dir_all(&folder).map_err(DemoError::file("make", &folder))?;
    if download(&folder).is_err() {
        run(Command::new("apt-get").arg("update"))?;
        download(&folder)?;
    }
    let package = only_file(&folder)?;
    let unpacked = folder.join("unpacked");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .args([&package, &unpacked]))?;
    // In trixie and later the program is below /usr.
    let program = ["bin/busybox", "usr/bin/busybox"]
        .map(|path| unpacked.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| unpacked.join("bin/busybox"));
    fs::read(&program).map_err(DemoError::file("read", program))
}

/// Names under which busybox can be called.
pub(crate) fn applets(program: &Path) -> Result<Vec<String>, DemoError> {
    let output = run(Command::new(program).arg("--list"))?;
    Ok(output.lines().map(str::to_owned).collect())
}

fn download(folder: &Path) -> Result<(), DemoError> {
    run(Command::new("apt-get")
        .args(["download", "busybox-static"])
        .current_dir(folder))
    .map(drop)
}

fn only_file(folder: &Path) -> Result<PathBuf, DemoError> {
    let failed = || DemoError::file("list", folder);
    fs::read_dir(folder)
        .map_err(failed())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .ok_or_else(|| failed()(std::io::ErrorKind::NotFound.into()))
}

/// Runs a program to its end; its stdout.
pub(crate) fn run(command: &mut Command) -> Result<String, DemoError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| DemoError::Run {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(DemoError::Program {
            program,
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// A 64-bit ELF program without an interpreter: elf(5), `PT_INTERP` is 3.
fn is_static(program: &[u8]) -> bool {
    let number = |offset: usize, length: usize| -> Option<usize> {
        let bytes = program.get(offset..offset.checked_add(length)?)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).ok()
    };
    let headers = || {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count)
            .map(|index| number(table.checked_add(index * size)?, 4))
            .collect::<Option<Vec<usize>>>()
    };
    program.starts_with(b"\x7fELF\x02\x01") && headers().is_some_and(|kinds| !kinds.contains(&3))
}
