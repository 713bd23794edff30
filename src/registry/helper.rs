//! Credential helpers: programs `docker-credential-<name>` that keep or make credentials.
//!
//! The only programs that the daemon runs, and only where an auth file names one (docs/decisions/0012). What one
//! prints is a secret: it is neither logged nor part of an error.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::RegistryError;
use super::credentials::Proof;

/// How long a helper may take: some ask a cloud.
const DEADLINE: Duration = Duration::from_secs(30);

/// As much of its answer as is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What helpers print when they have nothing for a server (docker-credential-helpers, credentials/error.go).
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Where helpers are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Helpers<'a> {
    /// The directories, in their order.
    pub(super) directories: &'a [PathBuf],
}

impl Helpers<'_> {
    /// Asks a helper for the credentials of a server; `None` if it has none.
    pub(super) async fn ask(
        self,
        name: &str,
        server: &str,
    ) -> Result<Option<Proof>, RegistryError> {
        self.ask_within(name, server, DEADLINE).await
    }

    async fn ask_within(
        self,
        name: &str,
        server: &str,
        deadline: Duration,
    ) -> Result<Option<Proof>, RegistryError> {
        let refused = |problem| RegistryError::Helper {
            name: name.to_owned(),
            problem,
        };
        let program = self
            .find(name)
            .ok_or_else(|| refused("there is no such program in the PATH of the daemon"))?;
        let failed = |source| RegistryError::HelperProcess {
            name: name.to_owned(),
            source,
        };
        let child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (status, printed) = tokio::time::timeout(deadline, talk(child, server))
            .await
            .map_err(|_elapsed| refused("it did not answer in time"))?
            .map_err(failed)?;
        if !status.success() {
            return match printed.trim_ascii().starts_with(NOT_FOUND) {
                true => Ok(None),
                false => Err(refused("it failed")),
            };
        }
        let answer: Answer = serde_json::from_slice(&printed)
            .map_err(|_may_hold_a_secret| refused("its answer is not one"))?;
        Ok(Some(match answer.username.as_str() {
            "<token>" => Proof::Identity(answer.secret),
            _ => Proof::Password {
                username: answer.username,
                password: answer.secret,
            },
        }))
    }

    fn find(self, name: &str) -> Option<PathBuf> {
        let is_safe = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let file = format!("docker-credential-{name}");
        let mut paths = self.directories.iter().map(|folder| folder.join(&file));
        is_safe.then(|| paths.find(|path| path.is_file())).flatten()
    }
}

/// The absolute directories of the `PATH` of this process.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .collect()
}

async fn talk(mut child: Child, server: &str) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input says so by what it answers.
        drop(input.write_all(server.as_bytes()).await);
    }
    let mut printed = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut printed)
            .await?;
    }
    Ok((child.wait().await?, printed))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Written by another process: a file that this one has open for writing cannot be run by it.
    fn helper(folder: &std::path::Path, name: &str, script: &str) {
        let path = folder.join(format!("docker-credential-{name}"));
        let written = Command::new("sh")
            .args(["-c", "printf '%s' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(&path)
            .arg(format!("#!/bin/sh\n{script}\n"))
            .status();
        assert!(written.unwrap().success());
    }

    async fn ask(script: &str) -> Result<Option<Proof>, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        helper(folder.path(), "x", script);
        let directories = [PathBuf::from("/nonexistent"), folder.path().to_owned()];
        let helpers = Helpers {
            directories: &directories,
        };
        helpers
            .ask_within("x", "r.example", Duration::from_secs(5))
            .await
    }

    #[tokio::test]
    async fn a_helper_is_told_the_server_and_gives_a_password_or_a_token() {
        let script = r#"[ "$1" = get ] && read server || true
            printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$server" "$server""#;
        let password = Proof::Password {
            username: "r.example".to_owned(),
            password: "s".to_owned(),
        };
        assert!(ask(script).await.unwrap() == Some(password));
        let script = r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"t"}'"#;
        assert!(ask(script).await.unwrap() == Some(Proof::Identity("t".to_owned())));
        let script = "echo credentials not found in native keychain; exit 1";
        assert!(ask(script).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_helper_that_fails_says_nothing_secret() {
        for script in [
            "echo hunter2; exit 1",
            "echo hunter2",
            "echo '{\"Secret\": \"hunter2\"}'",
        ] {
            let Err(error) = ask(script).await else {
                panic!("{script}");
            };
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        helper(
            folder.path(),
            "x",
            "echo $$ >\"${0%/*}/pid\"; exec sleep 100",
        );
        let directories = [folder.path().to_owned()];
        let helpers = Helpers {
            directories: &directories,
        };
        let deadline = Duration::from_secs(2);
        let Err(error) = helpers.ask_within("x", "r", deadline).await else {
            panic!("it answered");
        };
        assert!(error.to_string().contains("in time"), "{error}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        let end = std::time::Instant::now() + Duration::from_secs(10);
        // Tokio reaps it a little later; a zombie has been killed.
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(std::time::Instant::now() < end, "it still runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn only_names_are_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        helper(folder.path(), "x", "");
        std::fs::create_dir(folder.path().join("docker-credential-")).unwrap();
        let directories = [folder.path().join("docker-credential-")];
        let helpers = Helpers {
            directories: &directories,
        };
        for name in [
            "",
            "/../../docker-credential-x",
            "../docker-credential-x",
            "x y",
            "x",
        ] {
            assert_eq!(helpers.find(name), None, "{name}");
        }
        assert!(search_path().iter().all(|folder| folder.is_absolute()));
    }
}
