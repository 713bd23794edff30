//! The labels that the node's policy has for containers: `contexts/lxc_contexts` of the policy's folder, which every
//! runtime reads.

use std::path::Path;

use super::label::Label;

/// What processes and files of a container are labelled, without categories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts {
    /// Of processes.
    pub process: Label,
    /// Of files.
    pub file: Label,
}

impl Contexts {
    /// Of the file; `None` if it does not have both.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let (_, value) = lines.find(|(found, _)| found.trim() == key)?;
            Label::parse(value.trim().trim_matches('"'))
        };
        Some(Self {
            process: value("process")?,
            file: value("file")?,
        })
    }

    /// Of the policy that a folder like /etc/selinux is configured for.
    pub(super) fn of_policy(folder: &Path) -> Option<Self> {
        let configuration = std::fs::read_to_string(folder.join("config")).ok()?;
        let policy = configuration
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .find(|(key, _)| key.trim() == "SELINUXTYPE")?;
        let policy = policy.1.trim().trim_matches('"');
        let contexts = folder.join(policy).join("contexts/lxc_contexts");
        Self::parse(&std::fs::read_to_string(contexts).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "process = \"system_u:system_r:container_t:s0\"\n\
                        content = \"system_u:object_r:virt_var_lib_t:s0\"\n\
                        file = \"system_u:object_r:container_file_t:s0\"\n\
                        ro_file=\"system_u:object_r:container_ro_file_t:s0\"\n";

    #[test]
    fn the_labels_for_processes_and_files_are_read() {
        let contexts = Contexts::parse(FILE).unwrap();
        assert_eq!(
            contexts.process.to_string(),
            "system_u:system_r:container_t:s0"
        );
        assert_eq!(contexts.file.type_, "container_file_t");
        assert_eq!(Contexts::parse("process = \"a:b:c:s0\"\n"), None);
        assert_eq!(Contexts::parse("process = x\nfile = y\n"), None);
    }

    #[test]
    fn they_are_those_of_the_configured_policy() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = std::fs::File::create(path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        };
        assert_eq!(Contexts::of_policy(folder.path()), None);
        write(
            "config",
            "# SELINUXTYPE=no\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
        );
        assert_eq!(Contexts::of_policy(folder.path()), None);
        write("targeted/contexts/lxc_contexts", FILE);
        assert_eq!(Contexts::of_policy(folder.path()), Contexts::parse(FILE));
    }
}
