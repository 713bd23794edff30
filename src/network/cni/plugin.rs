//! One plugin, one verb: a process in a group of its own, with a deadline, a bound on what it may say, and an
//! environment that has nothing of the daemon's but PATH.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{PluginError, Stderr};

/// A result with a thousand addresses has 100 kB.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// How much of the end of stderr an error tells.
const STDERR_TAIL: usize = 2000;
/// How long pipes are read after the plugin has ended: a child of it may hold them for ever.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a killed plugin may take to go.
const REAP: Duration = Duration::from_secs(2);
/// Where plugins look for iptables and the like if the daemon itself was given no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a plugin is started with.
#[derive(Debug)]
pub(super) struct Invocation<'a> {
    /// The program.
    pub(super) program: &'a Path,
    /// The variables of the specification.
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// What it reads.
    pub(super) input: &'a [u8],
    /// When it is killed.
    pub(super) deadline: Instant,
}

/// Runs it. What it wrote, as JSON; `Null` if it wrote nothing.
pub(super) async fn run(invocation: Invocation<'_>) -> Result<Value, PluginError> {
    let started = Instant::now();
    let mut child = spawn(&invocation)?;
    let group = Group::of(&child);
    let mut said = Said::default();
    let talk = talk(&mut child, invocation.input, &mut said);
    let ended = match timeout_at(invocation.deadline, talk).await {
        Ok(ended) => ended,
        Err(_late) => Err(PluginError::Deadline {
            after: started.elapsed(),
            stderr: Stderr::default(),
        }),
    };
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            group.kill();
            // What was killed is reaped; tokio goes on with it if it hangs in the kernel.
            if timeout(REAP, child.wait()).await.is_err() {
                tracing::warn!(program = %invocation.program.display(), "a killed CNI plugin does not end");
            }
            return Err(match error {
                PluginError::Deadline { after, .. } => PluginError::Deadline {
                    after,
                    stderr: said.stderr(),
                },
                other => other,
            });
        }
    };
    group.ended();
    answer(status, &said)
}

fn spawn(invocation: &Invocation<'_>) -> Result<Child, PluginError> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    Command::new(invocation.program)
        .env_clear()
        .env("PATH", path)
        .envs(
            invocation
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| PluginError::Start {
            program: invocation.program.display().to_string(),
            source,
        })
}

/// The plugin's process group: killed when this is dropped before the plugin has ended, so that an attach that is given
/// up leaves nobody behind.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    fn kill(mut self) {
        self.send();
    }

    /// The number may belong to others from now on.
    fn ended(mut self) {
        self.0 = None;
    }

    fn send(&mut self) {
        if let Some(leader) = self.0.take()
            && let Err(errno) = kill_process_group(leader, Signal::KILL)
        {
            tracing::warn!(group = leader.as_raw_nonzero().get(), %errno, "kill a CNI plugin");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send();
    }
}

/// What a plugin wrote.
#[derive(Debug, Default)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    fn stderr(&self) -> Stderr {
        Stderr(String::from_utf8_lossy(&self.stderr).into_owned())
    }
}

/// Feeds the plugin, listens to it, and waits for its end.
async fn talk(child: &mut Child, input: &[u8], said: &mut Said) -> Result<ExitStatus, PluginError> {
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A plugin may end, or answer, without having read it all.
            let fed = stdin.write_all(input).await;
            tracing::trace!(?fed, "a CNI plugin was fed");
        }
    };
    let listen = async {
        tokio::join!(
            feed,
            read_answer(stdout, &mut said.stdout),
            read_tail(stderr, &mut said.stderr)
        )
    };
    tokio::pin!(listen);
    let status = tokio::select! {
        ((), answered, tail) = &mut listen => {
            answered?;
            tail?;
            return child.wait().await.map_err(PluginError::Pipe);
        }
        status = child.wait() => status.map_err(PluginError::Pipe)?,
    };
    // It has ended. What it left in the pipes is read; whoever else holds them is not waited for.
    if let Ok(((), answered, tail)) = timeout(DRAIN, listen).await {
        answered?;
        tail?;
    }
    Ok(status)
}

async fn read_answer(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> Result<(), PluginError> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    loop {
        let count = pipe.read_buf(into).await.map_err(PluginError::Pipe)?;
        if into.len() > LONGEST_ANSWER {
            return Err(PluginError::TooMuch {
                limit: LONGEST_ANSWER,
            });
        }
        if count == 0 {
            return Ok(());
        }
    }
}

/// Reads all, keeps the end.
async fn read_tail(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> Result<(), PluginError> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    while pipe.read_buf(into).await.map_err(PluginError::Pipe)? > 0 {
        let surplus = into.len().saturating_sub(STDERR_TAIL);
        into.drain(..surplus);
    }
    Ok(())
}

fn answer(status: ExitStatus, said: &Said) -> Result<Value, PluginError> {
    if !status.success() {
        return Err(
            refusal(&said.stdout).unwrap_or_else(|| PluginError::Failed {
                status,
                stderr: said.stderr(),
            }),
        );
    }
    if said.stdout.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&said.stdout).map_err(|source| {
        let beginning = said.stdout.get(..80).unwrap_or(&said.stdout);
        PluginError::Garbage {
            answer: String::from_utf8_lossy(beginning).into_owned(),
            source,
        }
    })
}

/// An error as the specification has it: an object with at least a code or a message.
fn refusal(stdout: &[u8]) -> Option<PluginError> {
    let value: Value = serde_json::from_slice(stdout).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::trim);
    let code = value.get("code").and_then(Value::as_u64);
    let message = text("msg");
    if code.is_none() && message.is_none() {
        return None;
    }
    Some(PluginError::Refused {
        code: code.unwrap_or(0),
        message: message.unwrap_or("no message").to_owned(),
        details: match text("details") {
            None | Some("") => String::new(),
            Some(details) => format!(": {details}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    use super::super::error::chain;
    use super::*;

    /// A plugin of a few lines of shell.
    fn script(directory: &Path, text: &str) -> PathBuf {
        let path = directory.join("plugin");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        write!(file, "#!/bin/sh\n{text}\n").unwrap();
        path
    }

    async fn run_script(text: &str, limit: Duration) -> Result<Value, PluginError> {
        let directory = tempfile::tempdir().unwrap();
        let program = script(directory.path(), text);
        run(Invocation {
            program: &program,
            environment: vec![("CNI_COMMAND", "ADD".into())],
            input: br#"{"name":"n"}"#,
            deadline: Instant::now() + limit,
        })
        .await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_plugin_gets_its_input_and_an_environment_of_its_own() {
        let text = r#"cat >/dev/null; echo "{\"verb\":\"$CNI_COMMAND\",\"home\":\"$HOME\",\"path\":\"${PATH:+set}\"}""#;
        let answer = run_script(text, LONG).await.unwrap();
        assert_eq!(
            answer,
            serde_json::json!({ "verb": "ADD", "home": "", "path": "set" })
        );
        assert_eq!(run_script("exec cat", LONG).await.unwrap()["name"], "n");
        assert_eq!(run_script("exit 0", LONG).await.unwrap(), Value::Null);
    }

    #[tokio::test]
    async fn each_way_to_fail_is_told() {
        for (text, expected) in [
            (
                r#"echo '{"code":11,"msg":"later","details":"pool is full"}'; exit 1"#,
                "later (code 11): pool is full",
            ),
            ("echo broken >&2; exit 3", "exit status: 3; stderr: broken"),
            (
                "echo no; echo why >&2; exit 3",
                "exit status: 3; stderr: why",
            ),
            ("kill -SEGV $$", "signal: 11 (SIGSEGV)"),
        ] {
            let error = run_script(text, LONG).await.unwrap_err();
            assert!(
                chain(&error).starts_with(expected),
                "{expected}: {}",
                chain(&error)
            );
        }
        let error = run_script("echo nonsense", LONG).await.unwrap_err();
        assert!(
            chain(&error).starts_with("its answer \"nonsense\\n\" is not JSON: expected"),
            "{}",
            chain(&error)
        );
        let error = run_script("exec yes", LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "killed: wrote more than 1048576 bytes");
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let text = format!(
            "sleep 1000 & echo $! $$ >{0}.new; mv {0}.new {0}; echo waiting >&2; wait",
            pids.display()
        );
        let error = run_script(&text, Duration::from_millis(700))
            .await
            .unwrap_err();
        assert!(matches!(error, PluginError::Deadline { .. }), "{error:?}");
        assert!(error.to_string().ends_with("; stderr: waiting"), "{error}");
        for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
            let gone = || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            };
            let deadline = Instant::now() + Duration::from_secs(5);
            while !gone() && Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
            assert!(gone(), "{pid} is alive");
        }
    }

    #[tokio::test]
    async fn one_that_leaves_a_child_with_its_pipes_is_not_waited_for() {
        let started = Instant::now();
        let answer = run_script("sleep 5 & echo '{\"ips\":[]}'", LONG)
            .await
            .unwrap();
        assert!(answer["ips"].is_array());
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_is_named() {
        let invocation = Invocation {
            program: Path::new("/no/such/plugin"),
            environment: Vec::new(),
            input: b"",
            deadline: Instant::now() + LONG,
        };
        let error = run(invocation).await.unwrap_err();
        assert_eq!(error.to_string(), "start /no/such/plugin");
    }
}
