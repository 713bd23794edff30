//! What a node holds: processes, mounts, cgroups, network namespaces and
//! directories, counted before and after something that must leave nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::node::Node;
use crate::node::Runtime;
use crate::wait::try_for;

/// How long a runtime may take to clear up after the reply.
const CLEAR_UP_DEADLINE: Duration = Duration::from_secs(15);

/// The things of a node, a line each.
pub type Inventory = BTreeSet<String>;

impl Node {
    /// Everything of the node that a call could leave behind.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let mut found = Inventory::new();
        found.extend(self.processes().keys().map(|pid| format!("process {pid}")));
        self.add_mounts(&mut found);
        let cgroups = self.path_inside(self.cgroup2.to_str().unwrap());
        add_directories(&mut found, "cgroup", &cgroups, usize::MAX);
        let namespaces = self.path_inside("/run/netns");
        for entry in std::fs::read_dir(namespaces).into_iter().flatten() {
            found.insert(format!(
                "network namespace {:?}",
                entry.unwrap().file_name()
            ));
        }
        // Below this depth are the contents of images and of layers. containerd
        // collects its garbage there when it likes.
        if self.runtime == Runtime::Carpel {
            add_directories(&mut found, "directory", &self.work.join("root"), 4);
        }
        add_directories(&mut found, "directory", &self.work.join("run"), usize::MAX);
        found
    }

    /// Asserts that the node holds nothing more than it did before, giving the
    /// runtime a moment for what it does after its reply.
    pub fn assert_nothing_left_since(&self, before: &Inventory) {
        let mut left = Vec::new();
        let clear = try_for(CLEAR_UP_DEADLINE, || {
            left = self.inventory().difference(before).cloned().collect();
            left.is_empty().then_some(())
        });
        assert!(
            clear.is_some(),
            "left behind:\n  {}\nof the processes {:?}",
            left.join("\n  "),
            self.processes()
        );
    }

    /// The processes of the node by their pids there, with their names. A process
    /// that execs keeps its pid and gets another name.
    #[must_use]
    pub fn processes(&self) -> BTreeMap<u32, String> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(self.proc()).unwrap() {
            let entry = entry.unwrap();
            let Ok(pid) = entry.file_name().into_string().unwrap().parse::<u32>() else {
                continue;
            };
            // A process may end at any moment, and a zombie has ended.
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if self.is_running(pid) {
                found.insert(pid, name.trim().to_owned());
            }
        }
        found
    }

    fn add_mounts(&self, found: &mut Inventory) {
        let table = format!("/proc/{}/mountinfo", self.init_pid);
        for line in std::fs::read_to_string(table).unwrap().lines() {
            let mut entry = format!("mount {}", line.split(' ').nth(4).unwrap());
            // Several mounts can lie on one another.
            while found.contains(&entry) {
                entry.push_str(", once more");
            }
            found.insert(entry);
        }
    }
}

fn add_directories(found: &mut Inventory, kind: &str, folder: &Path, depth: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return; // Removed while we looked: then it is not there.
    };
    for entry in entries.flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(format!("{kind} {}", entry.path().display()));
            add_directories(found, kind, &entry.path(), depth.saturating_sub(1));
        }
    }
}
