//! A machine that is switched off and on again, as far as a node in a box can be.

use crate::node::Node;
use crate::request::write_new;

/// What a reboot leaves of the node: its root folder. Every process but the
/// node's own and the registry dies, what is mounted goes, `/run` is empty, and
/// the kernel has another boot id.
const REBOOT: &str = r#"set -e
for stat in /proc/[0-9]*/stat; do
    read -r pid name _ <"$stat" || continue
    case $name in
    "(inside)" | "(bash)" | "(testimages)" | "(kubelet-api)") ;;
    *) kill -KILL "$pid" ;;
    esac
done 2>/dev/null
while read -r _ _ _ _ target _; do
    case $target in
    /run/netns/* | "$NODE_WORK"/*) echo "$target" ;;
    esac
done </proc/self/mountinfo | sort -r | while read -r target; do
    # Of two mounts that share, one takes the other with it.
    umount -l "$target" 2>/dev/null || true
done
umount -l /run/netns 2>/dev/null || true
find /run -mindepth 1 -delete
find "$NODE_WORK/run" -mindepth 1 -delete
find "$NODE_CGROUP2" -mindepth 1 -depth -type d ! -name self -exec rmdir {} + 2>/dev/null || true
ip -o link show | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -v '^lo$' | while read -r link; do
    ip link delete "$link" 2>/dev/null || true
done
mount --bind "$1" /proc/sys/kernel/random/boot_id
"#;

impl Node {
    /// Reboots the node; nothing of it runs afterwards but its registry. [`Self::undo_boot_id`] before it finishes.
    ///
    /// # Panics
    ///
    /// When it cannot be done.
    pub fn reboot(&self) {
        let boot_id = self.work.join("boot_id");
        write_new(&boot_id, b"11111111-2222-4333-8444-555555555555\n");
        let output = self
            .command("bash")
            .args(["-c", REBOOT, "reboot", boot_id.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Gives the node the machine's own boot id again: what is mounted for another one is no leak of the runtime.
    ///
    /// # Panics
    ///
    /// When the node was not rebooted.
    pub fn undo_boot_id(&self) {
        let undone = self
            .command("umount")
            .arg("/proc/sys/kernel/random/boot_id")
            .status()
            .unwrap();
        assert!(undone.success());
    }
}
