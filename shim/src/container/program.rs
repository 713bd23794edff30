//! The last step of a child: it becomes the program. What can be known to fail is prepared before the release.

use crate::failure;
use crate::failure::Failure;
use crate::failure::Outcome;
use crate::failure::invalid;
use carpel_linux::process;
use carpel_linux::signal;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::ResolvedUser;
use rustix::io::Errno;
use std::ffi::CString;

/// Where programs are looked for without a PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What execve wants.
#[derive(Debug)]
pub(crate) struct Program {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    candidates: Vec<CString>,
}

/// Builds what execve wants.
pub(crate) fn prepare(process: &Process, user: &ResolvedUser) -> Outcome<Program> {
    let nul = |_error| invalid("read the process", "an argument or variable holds a NUL");
    let strings = |all: &[Vec<u8>]| -> Outcome<Vec<CString>> {
        let strings = all
            .iter()
            .map(|bytes| CString::new(bytes.as_slice()).map_err(nul));
        strings.collect()
    };
    let arguments = strings(&process.arguments)?;
    let mut environment = strings(&process.environment)?;
    if variable(&process.environment, b"HOME=").is_none() {
        environment.push(CString::new(format!("HOME={}", user.home)).map_err(nul)?);
    }
    let program = process.arguments.first().map_or(&b""[..], Vec::as_slice);
    let path = variable(&process.environment, b"PATH=").unwrap_or(DEFAULT_PATH);
    let candidates = candidates(program, path)
        .into_iter()
        .map(|path| CString::new(path).map_err(nul));
    Ok(Program {
        arguments,
        environment,
        candidates: candidates.collect::<Outcome<_>>()?,
    })
}

fn variable<'a>(environment: &'a [Vec<u8>], prefix: &[u8]) -> Option<&'a [u8]> {
    // The last one holds, as for a shell.
    environment
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix(prefix))
}

/// The paths that execvp would try.
fn candidates(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let directories = path.split(|byte| *byte == b':');
    directories
        .map(|directory| match directory {
            // An empty entry is the working directory.
            b"" => [b"./", program].concat(),
            _ => [directory, b"/", program].concat(),
        })
        .collect()
}

/// Tries the candidates as execvp does: what is missing is passed over, what is not allowed is remembered. Returns only
/// when all fail.
pub(crate) fn execute(process: &Process, program: &Program) -> Failure {
    signal::block_only(&[]);
    let mut errno = Errno::NOENT;
    for candidate in &program.candidates {
        let error = process::execute(candidate, &program.arguments, &program.environment);
        match error.errno() {
            Errno::NOENT | Errno::NOTDIR if program.candidates.len() > 1 => {}
            Errno::ACCESS => errno = Errno::ACCESS,
            other => {
                errno = other;
                break;
            }
        }
    }
    let name = process.arguments.first().map_or(&b""[..], Vec::as_slice);
    failure::execute(name, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_as_execvp_does() {
        let found = |program: &str, path: &str| -> Vec<String> {
            let paths = candidates(program.as_bytes(), path.as_bytes());
            paths
                .into_iter()
                .map(|path| String::from_utf8(path).unwrap())
                .collect()
        };
        assert_eq!(found("sh", "/bin:/usr/bin"), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(found("./sh", "/bin"), ["./sh"]);
        assert_eq!(found("/x/sh", "/bin"), ["/x/sh"]);
        assert_eq!(found("sh", ":/bin"), ["./sh", "/bin/sh"]);
    }

    #[test]
    fn home_comes_from_the_user_database_unless_it_is_set() {
        let user = ResolvedUser {
            home: "/home/a".into(),
            ..Default::default()
        };
        let mut process = Process {
            arguments: vec![b"x".to_vec()],
            ..Default::default()
        };
        let program = prepare(&process, &user).unwrap();
        assert_eq!(program.environment, [c"HOME=/home/a".to_owned()]);
        process.environment.push(b"HOME=/other".to_vec());
        let program = prepare(&process, &user).unwrap();
        assert_eq!(program.environment, [c"HOME=/other".to_owned()]);
    }
}
