//! Random archives against a model: a tree in memory that follows links, hides and replaces as layers do.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LINKS_MAX: u32 = 40;

/// An entry of a random archive; names may contain `..` and lead through links.
#[derive(Debug, Clone)]
enum Step {
    Directory(String, u32),
    File(String, String),
    Symlink(String, String),
    HardLink(String, String),
    Whiteout(String),
    Opaque(String),
}

/// What is at a name; the number of a node is its inode.
#[derive(Debug)]
enum Node {
    Directory {
        names: BTreeMap<String, usize>,
        /// What its entry says of it, if it has one.
        mode: Option<u32>,
        is_opaque: bool,
    },
    File(String),
    Symlink(String),
    Whiteout,
}

/// The tree; the target itself is node 0. Every error is the same to it.
struct Model(Vec<Node>);

fn parts(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect()
}

/// The parts of a name as if it began at the root.
fn cleaned(path: &str) -> Vec<String> {
    let mut cleaned = Vec::new();
    for part in parts(path) {
        if part == ".." {
            cleaned.pop();
        } else {
            cleaned.push(part);
        }
    }
    cleaned
}

#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Make,
    Fail,
}

impl Model {
    fn new() -> Self {
        let mut model = Self(Vec::new());
        model.directory(false);
        model
    }

    fn directory(&mut self, is_opaque: bool) -> usize {
        self.add(Node::Directory {
            names: BTreeMap::new(),
            mode: None,
            is_opaque,
        })
    }

    fn add(&mut self, node: Node) -> usize {
        self.0.push(node);
        self.0.len() - 1
    }

    fn names(&mut self, directory: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.0[directory] {
            Node::Directory { names, .. } => names,
            other => panic!("{other:?}"),
        }
    }

    fn child(&mut self, directory: usize, name: &str) -> Option<usize> {
        self.names(directory).get(name).copied()
    }

    /// The directory that `path` leads to.
    fn find(&mut self, path: &[String], missing: Missing) -> Option<usize> {
        let mut ahead: Vec<String> = path.iter().rev().cloned().collect();
        let mut way = vec![0];
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                way.truncate(way.len().saturating_sub(1).max(1));
                continue;
            }
            let here = *way.last()?;
            let child = self.child(here, &name);
            match child.map(|child| &self.0[child]) {
                Some(Node::Directory { .. }) => way.extend(child),
                Some(Node::Symlink(target)) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return None;
                    }
                    if target.starts_with('/') {
                        way.truncate(1);
                    }
                    let target = target.clone();
                    ahead.extend(parts(&target).into_iter().rev());
                }
                Some(Node::File(_)) => return None,
                Some(Node::Whiteout) | None if missing == Missing::Fail => return None,
                Some(Node::Whiteout) | None => {
                    let made = self.directory(child.is_some());
                    self.names(here).insert(name, made);
                    way.push(made);
                }
            }
        }
        way.pop()
    }

    /// The directory of an entry, and its name in there.
    fn place(&mut self, path: &str) -> Option<(usize, String)> {
        let mut path = cleaned(path);
        let name = path.pop()?;
        Some((self.find(&path, Missing::Make)?, name))
    }

    /// Removes a name, and what is below it for good: somebody may still hold its number.
    fn detach(&mut self, directory: usize, name: &str) {
        let Some(gone) = self.names(directory).remove(name) else {
            return;
        };
        if let Node::Directory { names, .. } = &self.0[gone] {
            let below: Vec<String> = names.keys().cloned().collect();
            for name in below {
                self.detach(gone, &name);
            }
        }
    }

    fn replace(&mut self, path: &str, node: Node) -> Option<()> {
        let (directory, name) = self.place(path)?;
        self.detach(directory, &name);
        let node = self.add(node);
        self.names(directory).insert(name, node);
        Some(())
    }

    fn apply(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Directory(path, mode) => self.describe(path, *mode),
            Step::File(path, text) => self.replace(path, Node::File(text.clone())),
            Step::Symlink(path, target) => self.replace(path, Node::Symlink(target.clone())),
            Step::HardLink(path, target) => self.link(path, target),
            Step::Whiteout(path) => {
                let (directory, name) = self.place(path)?;
                match self.child(directory, &name) {
                    None => {
                        let whiteout = self.add(Node::Whiteout);
                        self.names(directory).insert(name, whiteout);
                    }
                    Some(own) => self.hide(own),
                }
                Some(())
            }
            Step::Opaque(path) => {
                let directory = self.find(&cleaned(path), Missing::Make)?;
                self.hide(directory);
                Some(())
            }
        }
    }

    fn hide(&mut self, node: usize) {
        if let Node::Directory { is_opaque, .. } = &mut self.0[node] {
            *is_opaque = true;
        }
    }

    fn describe(&mut self, path: &str, described: u32) -> Option<()> {
        let node = if cleaned(path).is_empty() {
            0
        } else {
            let (directory, name) = self.place(path)?;
            let before = self.child(directory, &name);
            match before.map(|before| &self.0[before]) {
                Some(Node::Directory { .. }) => before?,
                other => {
                    let is_opaque = matches!(other, Some(Node::Whiteout));
                    self.detach(directory, &name);
                    let made = self.directory(is_opaque);
                    self.names(directory).insert(name, made);
                    made
                }
            }
        };
        if let Node::Directory { mode, .. } = &mut self.0[node] {
            *mode = Some(described);
        }
        Some(())
    }

    fn link(&mut self, path: &str, target: &str) -> Option<()> {
        let mut target = cleaned(target);
        let target_name = target.pop()?;
        let target_parent = self.find(&target, Missing::Fail)?;
        let linked = self.child(target_parent, &target_name)?;
        if matches!(self.0[linked], Node::Whiteout) {
            return None;
        }
        let (directory, name) = self.place(path)?;
        if self.child(directory, &name) == Some(linked) {
            return Some(());
        }
        self.detach(directory, &name);
        // The target may have been below what is replaced.
        self.child(target_parent, &target_name)?;
        if matches!(self.0[linked], Node::Directory { .. }) {
            return None;
        }
        self.names(directory).insert(name, linked);
        Some(())
    }

    /// A line for each name; names of one file show the first of them.
    fn listing(&self) -> Vec<String> {
        let mut first = BTreeMap::new();
        let mut lines = Vec::new();
        self.list(0, "", &mut first, &mut lines);
        lines
    }

    fn list(
        &self,
        node: usize,
        path: &str,
        first: &mut BTreeMap<usize, String>,
        lines: &mut Vec<String>,
    ) {
        let what = match &self.0[node] {
            Node::Directory {
                mode, is_opaque, ..
            } => describe(*mode, *is_opaque),
            Node::File(text) => format!("file {text}"),
            Node::Symlink(target) => format!("link {target}"),
            Node::Whiteout => "whiteout".to_owned(),
        };
        let first_name = first.entry(node).or_insert_with(|| path.to_owned());
        lines.push(format!("{path}: {what} (as {first_name})"));
        if let Node::Directory { names, .. } = &self.0[node] {
            for (name, child) in names {
                self.list(*child, &format!("{path}/{name}"), first, lines);
            }
        }
    }
}

fn describe(mode: Option<u32>, is_opaque: bool) -> String {
    let mode = mode.map_or("implied".to_owned(), |mode| format!("{mode:o}"));
    format!("directory {mode} opaque {is_opaque}")
}

/// The same of a real folder.
fn real_listing(target: &Target, implied: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut first = BTreeMap::new();
    let mut lines = Vec::new();
    real_list(target, "", implied, &mut first, &mut lines);
    lines
}

fn real_list(
    target: &Target,
    path: &str,
    implied: &BTreeSet<PathBuf>,
    first: &mut BTreeMap<u64, String>,
    lines: &mut Vec<String>,
) {
    let inside = path.trim_start_matches('/');
    let real = target.path(inside);
    let status = fs::symlink_metadata(&real).unwrap();
    let kind = status.file_type();
    let what = if kind.is_dir() {
        let is_described = !implied.contains(Path::new(inside));
        if is_described {
            assert_eq!(status.mtime(), 1_000_000, "{path}");
        }
        let mode = is_described.then_some(status.mode() & 0o7777);
        describe(mode, attribute(&real, "trusted.overlay.opaque").is_some())
    } else if kind.is_file() {
        format!("file {}", fs::read_to_string(&real).unwrap())
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(&real).unwrap().display())
    } else {
        assert_eq!(status.rdev(), 0);
        "whiteout".to_owned()
    };
    let first_name = first.entry(status.ino()).or_insert_with(|| path.to_owned());
    lines.push(format!("{path}: {what} (as {first_name})"));
    if kind.is_dir() {
        let mut names: Vec<String> = fs::read_dir(&real)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        for name in names {
            real_list(target, &format!("{path}/{name}"), implied, first, lines);
        }
    }
}

fn archive(steps: &[Step]) -> Vec<u8> {
    let whiteout = |path: &str| {
        let path = cleaned(path);
        let (name, parent) = path.split_last().unwrap();
        [parent, &[format!(".wh.{name}")]].concat().join("/")
    };
    let archive = steps
        .iter()
        .fold(Tar::default(), |archive, step| match step {
            Step::Directory(path, mode) => archive.directory(path, *mode),
            Step::File(path, text) => archive.file(path, text),
            Step::Symlink(path, target) => archive.symlink(path, target),
            Step::HardLink(path, target) => archive.hard_link(path, target),
            Step::Whiteout(path) => archive.file(&whiteout(path), ""),
            Step::Opaque(path) => archive.file(&format!("{path}/.wh..wh..opq"), ""),
        });
    archive.finish()
}

/// Few names, so that they meet often; never the target itself.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => "[a-d]", 1 => Just("..".to_owned())];
    (prop::collection::vec(part, 0..3), "[a-d]").prop_map(|(mut parts, last)| {
        parts.push(last);
        parts.join("/")
    })
}

fn link_target() -> impl Strategy<Value = String> {
    (
        prop_oneof![Just(""), Just("/"), Just("../"), Just("../../outside/")],
        name(),
    )
        .prop_map(|(start, name)| format!("{start}{name}"))
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![Just(0o755_u32), Just(0o700), Just(0o1777)];
    prop_oneof![
        3 => (name(), mode.clone()).prop_map(|(path, mode)| Step::Directory(path, mode)),
        1 => mode.prop_map(|mode| Step::Directory("./".to_owned(), mode)),
        4 => (name(), "[x-z]{1,3}").prop_map(|(path, text)| Step::File(path, text)),
        4 => (name(), link_target()).prop_map(|(path, target)| Step::Symlink(path, target)),
        3 => (name(), name()).prop_map(|(path, target)| Step::HardLink(path, target)),
        2 => name().prop_map(Step::Whiteout),
        1 => name().prop_map(Step::Opaque),
    ]
}

#[test]
fn root_random_archives_become_what_the_model_says_and_never_leave_the_target() {
    needs_root!();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec(step(), 1..14);
    let outcome = runner.run(&steps, |steps| {
        let mut model = Model::new();
        let expected = steps.iter().try_for_each(|step| model.apply(step));
        let target = Target::new();
        let unpacked = target.unpack(&archive(&steps));
        prop_assert!(target.is_confined());
        match (unpacked, expected) {
            (Ok(unpacked), Some(())) => {
                let implied = unpacked.implied.into_iter().collect();
                prop_assert_eq!(real_listing(&target, &implied), model.listing());
            }
            (Err(_), None) => {}
            (real, model) => prop_assert!(false, "{real:?} but the model says {model:?}"),
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn root_random_damage_to_an_archive_is_an_error_or_harmless() {
    needs_root!();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let input = (prop::collection::vec(step(), 1..8), damage);
    let outcome = runner.run(&input, |(steps, damage)| {
        let mut bytes = archive(&steps);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            // With a right sum, so that the damage is read.
            let start = place / 512 * 512;
            let mut header = Header::new_old();
            header
                .as_mut_bytes()
                .copy_from_slice(&bytes[start..start + 512]);
            if header.as_bytes().iter().any(|byte| *byte != 0) {
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
            }
        }
        let target = Target::new();
        // A device may be one outcome, which nobody opens.
        drop(target.unpack(&bytes));
        prop_assert!(target.is_confined());
        Ok(())
    });
    outcome.unwrap();
}
