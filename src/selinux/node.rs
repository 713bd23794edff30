//! SELinux of this node: is it on, and what are a container's labels.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::categories::Categories;
use super::contexts::Contexts;
use super::error::SelinuxError;
use super::label::{Label, Parts};

/// There if the kernel has SELinux, and it is the module in force.
const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Takes what is a label by the policy, and refuses what is none.
const CONTEXT: &str = "/sys/fs/selinux/context";
/// The label of this process; `kernel` without a policy.
const OWN: &str = "/proc/self/attr/current";
/// Configuration and policies.
const FOLDER: &str = "/etc/selinux";

/// SELinux of this node; off by default.
#[derive(Debug, Default)]
pub struct Selinux {
    on: Option<Contexts>,
    categories: Mutex<Categories>,
}

/// What a container asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The options of its pod.
    pub pod: Parts<'a>,
    /// Its own, which go before the pod's.
    pub container: Parts<'a>,
    /// Its processes are not confined: it is privileged.
    pub privileged: bool,
    /// It sees the node's processes or their shared memory, which a label of its own would keep it from.
    pub sees_the_node: bool,
}

/// The labels of a container; empty: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// Of its processes.
    pub process: String,
    /// Of its files.
    pub mount: String,
}

impl Selinux {
    /// Looks at this node.
    #[must_use]
    pub fn of_this_node() -> Self {
        if !Path::new(ENFORCE).exists() {
            return Self::default();
        }
        let own = std::fs::read_to_string(OWN).unwrap_or_default();
        if Label::parse(own.trim_end_matches(['\0', '\n'])).is_none() {
            tracing::info!("SELinux has no policy: containers get no labels");
            return Self::default();
        }
        let Some(contexts) = Contexts::of_policy(Path::new(FOLDER)) else {
            tracing::warn!(
                "SELinux is on, but its policy has no contexts/lxc_contexts: containers get no labels"
            );
            return Self::default();
        };
        // The file may be there without the module that has its types.
        let labels = calculate(&contexts, "c0,c1", Wanted::default());
        for label in [&labels.process, &labels.mount] {
            if let Err(errno) = is_of_the_policy(label) {
                tracing::warn!(
                    label,
                    %errno,
                    "SELinux is on, but its policy does not know the label of containers: they get none"
                );
                return Self::default();
            }
        }
        Self::with(Some(contexts))
    }

    fn with(contexts: Option<Contexts>) -> Self {
        Self {
            on: contexts,
            ..Self::default()
        }
    }

    /// Are containers labelled?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// The categories of a pod, which are its own until it is released; empty: none.
    ///
    /// # Errors
    ///
    /// `NoCategories`.
    pub fn categories_of(&self, sandbox_id: &str) -> Result<String, SelinuxError> {
        match &self.on {
            None => Ok(String::new()),
            Some(_) => self
                .locked()
                .of(sandbox_id)
                .ok_or(SelinuxError::NoCategories),
        }
    }

    /// A pod that was found has these.
    pub fn remember(&self, sandbox_id: &str, categories: &str) {
        if self.is_on() && !categories.is_empty() {
            self.locked().remember(sandbox_id, categories);
        }
    }

    /// A pod is gone, and another one may have its categories.
    pub fn release(&self, sandbox_id: &str) {
        self.locked().release(sandbox_id);
    }

    /// The labels of a container of that pod. Where SELinux is off there are none, whatever is asked for.
    ///
    /// # Errors
    ///
    /// `Part` for what is no part of a label, `NoCategories`.
    pub fn labels(&self, sandbox_id: &str, wanted: Wanted<'_>) -> Result<Labels, SelinuxError> {
        let asked = wanted.container.or(wanted.pod);
        asked.check()?;
        match &self.on {
            Some(contexts) => {
                let categories = self.categories_of(sandbox_id)?;
                Ok(calculate(contexts, &categories, wanted))
            }
            None => {
                if !asked.is_empty() {
                    tracing::debug!(sandbox = sandbox_id, ?asked, "SELinux is off: no labels");
                }
                Ok(Labels::default())
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Categories> {
        self.categories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the kernel.
fn is_of_the_policy(label: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(CONTEXT, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, label.as_bytes()).map(|_written| ())
}

/// The node's labels for containers, with the pod's categories, and over them what is asked for. User and level of the
/// processes are those of the files, too: else they could not reach them.
fn calculate(contexts: &Contexts, categories: &str, wanted: Wanted<'_>) -> Labels {
    let asked = wanted.container.or(wanted.pod);
    let put = |part: &mut String, value: &str| {
        if !value.is_empty() {
            value.clone_into(part);
        }
    };
    let own = |label: &Label| {
        let mut label = label.clone();
        if !label.level.is_empty() {
            label.level = format!("{}:{categories}", label.sensitivity());
        }
        put(&mut label.user, asked.user);
        put(&mut label.level, asked.level);
        label
    };
    let mut process = own(&contexts.process);
    put(&mut process.role, asked.role);
    put(&mut process.type_, asked.type_);
    let unconfined = wanted.privileged || (wanted.sees_the_node && asked.is_empty());
    Labels {
        process: match unconfined {
            true => String::new(),
            false => process.to_string(),
        },
        mount: own(&contexts.file).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Selinux {
        let label = |text: &str| Label::parse(text).unwrap();
        Selinux::with(Some(Contexts {
            process: label("system_u:system_r:container_t:s0"),
            file: label("system_u:object_r:container_file_t:s0"),
        }))
    }

    fn level(level: &str) -> Parts<'_> {
        Parts {
            level,
            ..Parts::default()
        }
    }

    #[test]
    fn containers_of_a_pod_share_its_categories_and_pods_do_not() {
        let node = node();
        let labels = |pod| node.labels(pod, Wanted::default()).unwrap();
        let categories = node.categories_of("a").unwrap();
        assert_eq!(
            labels("a"),
            Labels {
                process: format!("system_u:system_r:container_t:s0:{categories}"),
                mount: format!("system_u:object_r:container_file_t:s0:{categories}"),
            }
        );
        assert_eq!(labels("a"), labels("a"));
        assert_ne!(labels("a"), labels("b"));
        // As another daemon finds them.
        let next = self::node();
        next.remember("a", &categories);
        let again = next.labels("a", Wanted::default()).unwrap();
        assert_eq!(again, labels("a"));
    }

    #[test]
    fn what_is_asked_for_goes_before_and_the_containers_before_the_pods() {
        let node = node();
        let wanted = Wanted {
            pod: Parts {
                user: "staff_u",
                role: "staff_r",
                type_: "pod_t",
                level: "s0:c5,c6",
            },
            container: Parts {
                type_: "spc_t",
                ..level("s0:c7,c8")
            },
            ..Wanted::default()
        };
        let labels = node.labels("a", wanted).unwrap();
        assert_eq!(labels.process, "staff_u:staff_r:spc_t:s0:c7,c8");
        assert_eq!(labels.mount, "staff_u:object_r:container_file_t:s0:c7,c8");
    }

    #[test]
    fn a_container_that_must_reach_the_node_is_not_confined() {
        let node = node();
        let process = |wanted| node.labels("a", wanted).unwrap().process;
        let mut wanted = Wanted {
            sees_the_node: true,
            ..Wanted::default()
        };
        assert_eq!(process(wanted), "");
        wanted.pod = level("s0:c1,c2");
        assert_eq!(process(wanted), "system_u:system_r:container_t:s0:c1,c2");
        wanted.privileged = true;
        assert_eq!(process(wanted), "");
        assert!(
            node.labels("a", wanted)
                .unwrap()
                .mount
                .ends_with(":s0:c1,c2")
        );
    }

    #[test]
    fn without_selinux_there_are_no_labels_but_faults_are_told() {
        let node = Selinux::default();
        let labels = |parts| {
            let wanted = Wanted {
                container: parts,
                ..Wanted::default()
            };
            node.labels("a", wanted)
        };
        assert_eq!(labels(level("s0:c1,c2")).unwrap(), Labels::default());
        assert_eq!(node.categories_of("a").unwrap(), "");
        let error = labels(level("c1\"")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "selinux_options.level: \"c1\\\"\" is not one of a label"
        );
    }

    #[test]
    fn a_policy_without_levels_has_none() {
        let label = |text: &str| Label::parse(text).unwrap();
        let node = Selinux::with(Some(Contexts {
            process: label("u:r:t"),
            file: label("u:r:f"),
        }));
        let labels = node.labels("a", Wanted::default()).unwrap();
        assert_eq!(
            (labels.process.as_str(), labels.mount.as_str()),
            ("u:r:t", "u:r:f")
        );
    }
}
