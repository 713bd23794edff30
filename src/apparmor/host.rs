//! What this node's kernel knows of profiles, and loading ours.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::error::AppArmorError;
use super::profile::{DEFAULT_NAME, default_profile};

/// `Y`: the kernel has AppArmor and it is on (Documentation/admin-guide/LSM/apparmor.rst).
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// A line `name (mode)` for each profile that is loaded.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
/// The profile of this process.
const OWN: [&str; 2] = [
    "/proc/self/attr/apparmor/current",
    "/proc/self/attr/current",
];
/// Where distributions have the parser.
const PARSERS: [&str; 3] = [
    "/sbin/apparmor_parser",
    "/usr/sbin/apparmor_parser",
    "/usr/bin/apparmor_parser",
];
/// Compiling takes a tenth of a second, but the node may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what the parser says is told.
const SAID_MAX: usize = 2000;

/// What a container asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// Nothing: the default, where it can be had.
    Unspecified,
    /// The default.
    Default,
    /// A profile that somebody has loaded, with or without `localhost/` before its name.
    Named(&'a str),
    /// None.
    Unconfined,
}

/// AppArmor of this node; off by default.
#[derive(Debug, Default)]
pub struct AppArmor {
    on: Option<Interface>,
    /// One parser at a time.
    loading: Mutex<()>,
    warned: AtomicBool,
}

/// Where the kernel and the parser are reached.
#[derive(Debug)]
struct Interface {
    profiles: PathBuf,
    own: Option<String>,
    parser: Option<PathBuf>,
}

impl AppArmor {
    /// Looks at this node.
    #[must_use]
    pub fn of_this_node() -> Self {
        let enabled = std::fs::read_to_string(ENABLED).is_ok_and(|text| text.trim() == "Y");
        let interface = enabled.then(|| Interface {
            profiles: PROFILES.into(),
            own: OWN
                .iter()
                .find_map(|path| std::fs::read_to_string(path).ok())
                .and_then(|text| confining(&text)),
            parser: PARSERS.iter().map(PathBuf::from).find(|path| path.exists()),
        });
        Self {
            on: interface,
            ..Self::default()
        }
    }

    /// Is it on?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Can it load the default profile, if that is not loaded?
    #[must_use]
    pub fn has_parser(&self) -> bool {
        self.on
            .as_ref()
            .is_some_and(|interface| interface.parser.is_some())
    }

    /// The name of the profile that a container gets, which is loaded then; `None`: it is not confined.
    ///
    /// # Errors
    ///
    /// `Off` and `NotLoaded` for a named profile; the others when the default one is asked for and cannot be loaded.
    pub async fn profile_for(&self, wanted: Wanted<'_>) -> Result<Option<String>, AppArmorError> {
        match (wanted, &self.on) {
            (Wanted::Unconfined, _) | (Wanted::Unspecified | Wanted::Default, None) => Ok(None),
            (Wanted::Named(name), None) => Err(AppArmorError::Off {
                name: short(name).to_owned(),
            }),
            (Wanted::Named(name), Some(interface)) => {
                let name = short(name).to_owned();
                match interface.has(&name)? {
                    true => Ok(Some(name)),
                    false => Err(AppArmorError::NotLoaded { name }),
                }
            }
            (Wanted::Default, Some(interface)) => {
                self.load_default(interface).await?;
                Ok(Some(DEFAULT_NAME.to_owned()))
            }
            (Wanted::Unspecified, Some(interface)) => match self.load_default(interface).await {
                Ok(()) => Ok(Some(DEFAULT_NAME.to_owned())),
                Err(error) => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        let error: &dyn std::error::Error = &error;
                        tracing::warn!(
                            error,
                            "containers that do not ask for an AppArmor profile run without one"
                        );
                    }
                    Ok(None)
                }
            },
        }
    }

    async fn load_default(&self, interface: &Interface) -> Result<(), AppArmorError> {
        if interface.has(DEFAULT_NAME)? {
            return Ok(());
        }
        let _one = self.loading.lock().await;
        if interface.has(DEFAULT_NAME)? {
            return Ok(());
        }
        let parser = interface
            .parser
            .as_deref()
            .ok_or(AppArmorError::NoParser { name: DEFAULT_NAME })?;
        load(parser, &default_profile(interface.own.as_deref())).await?;
        tracing::info!(profile = DEFAULT_NAME, "AppArmor profile loaded");
        Ok(())
    }
}

impl Interface {
    fn has(&self, name: &str) -> Result<bool, AppArmorError> {
        let text =
            std::fs::read_to_string(&self.profiles).map_err(|source| AppArmorError::Read {
                path: self.profiles.clone(),
                source,
            })?;
        Ok(is_loaded(&text, name))
    }
}

/// The kubelet has always sent names with this prefix, and the field that came later has them without.
fn short(name: &str) -> &str {
    name.strip_prefix("localhost/").unwrap_or(name)
}

/// Is a profile in the kernel's list?
fn is_loaded(list: &str, name: &str) -> bool {
    list.lines()
        .filter_map(|line| line.rsplit_once(" ("))
        .any(|(loaded, _mode)| loaded == name)
}

/// The profile that a process is confined by, of its attribute `current`: `name (mode)` or `unconfined`. A name that
/// would not stay one in a profile's text is none that can be written there.
fn confining(current: &str) -> Option<String> {
    let (name, _mode) = current.trim_end_matches(['\n', '\0']).rsplit_once(" (")?;
    let is_plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\');
    name.chars().all(is_plain).then(|| name.to_owned())
}

/// Has the parser load a profile, over one of the same name. It reads it from its standard input, and keeps no file of it.
async fn load(parser: &Path, text: &str) -> Result<(), AppArmorError> {
    let program = parser.to_owned();
    let failed = |source: io::Error| AppArmorError::Start {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let fed = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()).await,
        None => Ok(()),
    };
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .map_err(|_elapsed| AppArmorError::Late {
            program: program.clone(),
            after: PATIENCE,
        })?
        .map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(AppArmorError::Refused {
            program: program.clone(),
            status: output.status,
            stderr: said.trim().chars().take(SAID_MAX).collect(),
        });
    }
    // One that ends well without having read it all has loaded something else.
    fed.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By another process: a child of another test that has our descriptor for a moment would make a program busy.
    fn write(path: &Path, text: &str) {
        let status = std::process::Command::new("sh")
            .args(["-c", "printf %s \"$1\" >\"$0\"; chmod 755 \"$0\""])
            .args([path.as_os_str(), text.as_ref()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// A node whose parser is this script; `$1` of it is the kernel's list of profiles.
    fn node(list: &str, script: Option<&str>) -> (tempfile::TempDir, AppArmor) {
        let folder = tempfile::tempdir().unwrap();
        let profiles = folder.path().join("profiles");
        write(&profiles, list);
        let parser = script.map(|script| {
            let path = folder.path().join("parser");
            let list = profiles.display();
            write(&path, &format!("#!/bin/sh\nset -- {list}\n{script}\n"));
            path
        });
        let apparmor = AppArmor {
            on: Some(Interface {
                profiles,
                own: None,
                parser,
            }),
            ..AppArmor::default()
        };
        (folder, apparmor)
    }

    /// Loads what it reads, as the kernel would list it.
    const LOADS: &str =
        "PATH=/usr/bin:/bin; sed -n 's/^profile \\([^ ]*\\) .*/\\1 (enforce)/p' >>$1";

    #[tokio::test]
    async fn the_default_profile_is_loaded_once() {
        let (_folder, node) = node("", Some(LOADS));
        for wanted in [Wanted::Unspecified, Wanted::Default, Wanted::Default] {
            let name = node.profile_for(wanted).await.unwrap();
            assert_eq!(name.as_deref(), Some("carpel-default"));
        }
        let list = &node.on.as_ref().unwrap().profiles;
        assert_eq!(
            std::fs::read_to_string(list).unwrap(),
            "carpel-default (enforce)\n"
        );
    }

    #[tokio::test]
    async fn a_named_profile_must_be_loaded() {
        let (_folder, node) = node("web (complain)\n/usr/bin/a (b) (enforce)\n", None);
        for (name, found) in [
            ("web", "web"),
            ("localhost/web", "web"),
            ("/usr/bin/a (b)", "/usr/bin/a (b)"),
        ] {
            let profile = node.profile_for(Wanted::Named(name)).await.unwrap();
            assert_eq!(profile.as_deref(), Some(found));
        }
        let error = node.profile_for(Wanted::Named("we")).await.unwrap_err();
        assert!(!error.is_of_the_node());
        assert_eq!(
            error.to_string(),
            "AppArmor profile \"we\" is not loaded on this node"
        );
        assert_eq!(node.profile_for(Wanted::Unconfined).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_loaded_is_an_error_for_whoever_asks_only() {
        for (script, says) in [
            (None, "no apparmor_parser"),
            (Some("cat; echo no such rule >&2; exit 1"), "no such rule"),
        ] {
            let (_folder, node) = node("", script);
            let error = node.profile_for(Wanted::Default).await.unwrap_err();
            assert!(error.is_of_the_node());
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(node.profile_for(Wanted::Unspecified).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn without_apparmor_only_a_named_profile_is_an_error() {
        let node = AppArmor::default();
        for wanted in [Wanted::Unspecified, Wanted::Default, Wanted::Unconfined] {
            assert_eq!(node.profile_for(wanted).await.unwrap(), None);
        }
        let error = node.profile_for(Wanted::Named("web")).await.unwrap_err();
        assert!(error.to_string().contains("not active"), "{error}");
    }

    #[test]
    fn the_profile_of_a_process_is_its_attribute_without_the_mode() {
        for (current, profile) in [
            ("unconfined\n", None),
            ("/usr/bin/carpel (enforce)\n", Some("/usr/bin/carpel")),
            ("carpel (complain)\0", Some("carpel")),
            ("a\" b (enforce)\n", None),
        ] {
            assert_eq!(confining(current).as_deref(), profile, "{current:?}");
        }
    }
}
