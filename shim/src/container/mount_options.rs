//! The options of mount(8) and of the OCI runtime specification (config-linux.md, mount options) as kernel flags. Pure.

use carpel_linux::mount::Attributes;
use carpel_linux::mount::Depth;
use carpel_linux::mount::Propagation;

/// MOUNT_ATTR__ATIME of linux/mount.h: the field that the three access time modes share.
const ATIME_FIELD: u64 = 0x70;

/// What the options of one mount say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// MS_* for a file system.
    pub(crate) flags: u32,
    /// MOUNT_ATTR_* of a bind, of its top mount.
    pub(crate) attributes: Attributes,
    /// MOUNT_ATTR_* of a bind and all mounts below it ("rro").
    pub(crate) recursive: Attributes,
    /// "bind" or "rbind" is among them.
    pub(crate) bind: Option<Depth>,
    pub(crate) propagation: Option<(Propagation, Depth)>,
    /// What the file system itself is to understand, joined by commas.
    pub(crate) data: String,
}

/// A flag by its name, and by that of its opposite.
struct Flag {
    on: &'static str,
    off: &'static str,
    /// MS_*
    mount: u32,
    /// MOUNT_ATTR_*; 0: not a property of a mount.
    attribute: u64,
    /// The bits that exclude each other with this one.
    field: u64,
}

const fn flag(on: &'static str, off: &'static str, mount: u32, attribute: u64) -> Flag {
    Flag {
        on,
        off,
        mount,
        attribute,
        field: attribute,
    }
}

const fn time(on: &'static str, off: &'static str, mount: u32, attribute: u64) -> Flag {
    Flag {
        on,
        off,
        mount,
        attribute,
        field: ATIME_FIELD,
    }
}

/// linux/mount.h
const FLAGS: [Flag; 12] = [
    flag("ro", "rw", 1, 1),
    flag("nosuid", "suid", 2, 2),
    flag("nodev", "dev", 4, 4),
    flag("noexec", "exec", 8, 8),
    flag("sync", "async", 16, 0),
    flag("mand", "nomand", 64, 0),
    flag("dirsync", "", 128, 0),
    flag("nosymfollow", "symfollow", 256, 0x20_0000),
    time("noatime", "atime", 1 << 10, 0x10),
    flag("nodiratime", "diratime", 1 << 11, 0x80),
    time("relatime", "norelatime", 1 << 21, 0),
    time("strictatime", "nostrictatime", 1 << 24, 0x20),
];

const PROPAGATIONS: [(&str, Propagation); 4] = [
    ("private", Propagation::Private),
    ("slave", Propagation::Slave),
    ("shared", Propagation::Shared),
    ("unbindable", Propagation::Unbindable),
];

/// Reads the options of a mount; those that are not known here are the file system's data.
pub(crate) fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options {
        if !parsed.take_flag(option) && !parsed.take_word(option) {
            if !parsed.data.is_empty() {
                parsed.data.push(',');
            }
            parsed.data.push_str(option);
        }
    }
    parsed
}

impl MountOptions {
    fn take_flag(&mut self, option: &str) -> bool {
        for flag in &FLAGS {
            if option == flag.on {
                self.flags |= flag.mount;
                set(&mut self.attributes, flag);
            } else if option == flag.off {
                self.flags &= !flag.mount;
                clear(&mut self.attributes, flag);
            } else {
                match option.strip_prefix('r') {
                    Some(name) if flag.attribute != 0 && name == flag.on => {
                        set(&mut self.recursive, flag);
                    }
                    Some(name) if flag.attribute != 0 && name == flag.off => {
                        clear(&mut self.recursive, flag);
                    }
                    _ => continue,
                }
            }
            return true;
        }
        false
    }

    fn take_word(&mut self, option: &str) -> bool {
        match option {
            "defaults" | "" => {}
            "bind" => self.bind = Some(self.bind.unwrap_or(Depth::Single)),
            "rbind" => self.bind = Some(Depth::Recursive),
            _ => {
                let (name, depth) = match option.strip_prefix('r') {
                    Some(name) => (name, Depth::Recursive),
                    None => (option, Depth::Single),
                };
                let Some((_, propagation)) = PROPAGATIONS.iter().find(|(known, _)| *known == name)
                else {
                    return false;
                };
                self.propagation = Some((*propagation, depth));
            }
        }
        true
    }
}

fn set(attributes: &mut Attributes, flag: &Flag) {
    attributes.set &= !flag.field;
    attributes.set |= flag.attribute;
    // An access time mode is set by clearing the whole field (mount_setattr(2)); what is set must not be cleared else.
    attributes.clear &= !flag.field;
    if flag.field == ATIME_FIELD {
        attributes.clear |= ATIME_FIELD;
    }
}

fn clear(attributes: &mut Attributes, flag: &Flag) {
    attributes.set &= !flag.field;
    attributes.clear |= flag.field;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_flags_and_data() {
        let parsed = parse(["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]);
        assert_eq!(parsed.flags, 2 | 1 << 24 | 1);
        assert_eq!(parsed.data, "mode=755,size=65536k");
        assert_eq!(parsed.bind, None);
    }

    #[test]
    fn the_last_of_two_opposites_holds() {
        let parsed = parse(["ro", "rw", "noexec"]);
        assert_eq!(parsed.flags, 8);
        assert_eq!((parsed.attributes.set, parsed.attributes.clear), (8, 1));
    }

    #[test]
    fn binds_have_depth_and_propagation() {
        let parsed = parse(["rbind", "rprivate", "ro"]);
        assert_eq!(parsed.bind, Some(Depth::Recursive));
        assert_eq!(
            parsed.propagation,
            Some((Propagation::Private, Depth::Recursive))
        );
        assert_eq!(parse(["bind"]).bind, Some(Depth::Single));
        let slave = parse(["slave"]).propagation;
        assert_eq!(slave, Some((Propagation::Slave, Depth::Single)));
    }

    #[test]
    fn recursive_read_only_is_a_property_of_the_tree() {
        let parsed = parse(["rbind", "rro"]);
        assert_eq!(parsed.recursive.set, 1);
        assert_eq!(parsed.attributes, Attributes::default());
        // Names that only begin with r.
        assert_eq!(parse(["relatime"]).recursive, Attributes::default());
    }

    #[test]
    fn access_time_modes_exclude_each_other() {
        let parsed = parse(["noatime", "strictatime"]);
        assert_eq!(parsed.attributes.set, 0x20);
        assert_eq!(parsed.attributes.clear, ATIME_FIELD);
    }
}
