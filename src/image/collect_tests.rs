//! What collection removes and what it never does: all orders of pulling, removing, leasing, collecting and restarting,
//! on a store whose blobs and layers are made here, so that no registry is needed and no privilege.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use oci_spec::image::Digest;
use proptest::prelude::*;

use super::images::Inner;
use super::pull::Arrival;
use super::state::Hold;
use super::{Image, Images, ImagesConfig, PruneMode, PruneOptions, PruneScope, manifest};
use crate::snapshot::ChainId;

/// How many images there are: each has a configuration and a blob of its own, and shares layers with its neighbours.
const IMAGES: usize = 4;
const CONTAINERS: usize = 3;

fn digest_of(text: &str) -> Digest {
    manifest::digest_of(text.as_bytes()).unwrap()
}

fn configuration(number: usize) -> String {
    serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "author": number.to_string(),
        "rootfs": {"type": "layers", "diff_ids": []},
    })
    .to_string()
}

/// What image `number` consists of: texts of blobs, and chains.
fn parts(number: usize) -> (Vec<String>, Vec<ChainId>) {
    let shared = |number: usize| format!("layer {}", number / 2);
    let own = format!("layer of {number}");
    let blobs = vec![configuration(number), shared(number), own.clone()];
    let chains = [format!("chain {}", shared(number)), format!("chain {own}")];
    (blobs, chains.iter().map(|chain| digest_of(chain)).collect())
}

fn image(number: usize) -> Image {
    let (blobs, chain_ids) = parts(number);
    let id = digest_of(&blobs[0]);
    Image {
        id: id.to_string(),
        kind: super::ImageKind::Image,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size: 1,
        config: manifest::configuration(&id, blobs[0].as_bytes()).unwrap(),
        chain_ids,
        pinned: false,
        manifest_digest: id,
        blobs: blobs.iter().map(|blob| digest_of(blob)).collect(),
    }
}

/// A pull that runs: what it holds, and how many of its parts it has.
#[derive(Default)]
struct Pull {
    _holds: Vec<Hold>,
    fetched: usize,
}

/// A daemon's image side, with what goes on in it.
struct Node {
    folder: tempfile::TempDir,
    images: Images,
    pulls: BTreeMap<usize, Pull>,
    /// The image of each container.
    leases: BTreeMap<usize, usize>,
}

#[derive(Debug, Clone)]
enum Act {
    Begin(usize),
    Fetch(usize),
    Finish(usize),
    Abort(usize),
    Remove(usize),
    Lease(usize, usize),
    Release(usize),
    Collect,
    /// Dies in the middle of a collection.
    DieCollecting(usize),
    Prune,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let image = 0..IMAGES;
    let act = prop_oneof![
        3 => image.clone().prop_map(Act::Begin),
        8 => image.clone().prop_map(Act::Fetch),
        4 => image.clone().prop_map(Act::Finish),
        1 => image.clone().prop_map(Act::Abort),
        2 => image.clone().prop_map(Act::Remove),
        3 => (image, 0..CONTAINERS).prop_map(|(image, container)| Act::Lease(image, container)),
        2 => (0..CONTAINERS).prop_map(Act::Release),
        3 => Just(Act::Collect),
        1 => (0_usize..6).prop_map(Act::DieCollecting),
        1 => Just(Act::Prune),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

impl Node {
    fn new() -> Self {
        // In memory: a sync of a disk would take most of the time.
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let images = open(&folder);
        Self {
            folder,
            images,
            pulls: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.images.inner
    }

    fn act(&mut self, act: &Act) {
        let inner = Arc::clone(self.inner());
        match *act {
            Act::Begin(number) => self.begin(number),
            Act::Fetch(number) => self.fetch(number),
            Act::Finish(number) => self.finish(number),
            Act::Abort(number) => drop(self.pulls.remove(&number)),
            Act::Remove(number) => {
                inner.forget(&image(number).id).unwrap();
            }
            Act::Lease(number, container) => {
                if let Some(image) = self.images.find(&image(number).id) {
                    inner.lease(&[&image], &format!("c{container}")).unwrap();
                    self.leases.insert(container, number);
                }
            }
            Act::Release(container) => {
                inner.release(&format!("c{container}")).unwrap();
                self.leases.remove(&container);
            }
            Act::Collect => inner.collect(),
            Act::DieCollecting(after) => {
                for garbage in inner.garbage().iter().take(after) {
                    inner.discard(garbage);
                }
                self.restart();
            }
            Act::Prune => self.prune(),
            Act::Restart => self.restart(),
        }
    }

    /// As a pull does: what it will count on is held before anybody looks whether it is there.
    fn begin(&mut self, number: usize) {
        let (blobs, chains) = parts(number);
        let state = &self.inner().state;
        let blobs = blobs.iter().map(|blob| state.hold(&digest_of(blob)));
        let holds = blobs.chain(chains.iter().map(|chain| state.hold(chain)));
        let _holds = holds.collect();
        self.pulls
            .entry(number)
            .or_insert(Pull { _holds, fetched: 0 });
    }

    fn fetch(&mut self, number: usize) {
        let inner = Arc::clone(self.inner());
        let Some(pull) = self.pulls.get_mut(&number) else {
            return;
        };
        let (blobs, chains) = parts(number);
        if let Some(blob) = blobs.get(pull.fetched) {
            inner
                .content
                .put(&digest_of(blob), blob.as_bytes())
                .unwrap();
        } else if let Some(chain_id) = chains.get(pull.fetched - blobs.len())
            && inner.snapshots.layer(chain_id).is_none()
        {
            let staging = inner.snapshots.stage(chain_id).unwrap();
            staging.commit().unwrap();
        }
        pull.fetched = (pull.fetched + 1).min(blobs.len() + chains.len());
    }

    fn finish(&mut self, number: usize) {
        let (blobs, chains) = parts(number);
        let is_whole = |pull: &&Pull| pull.fetched == blobs.len() + chains.len();
        if self.pulls.get(&number).filter(is_whole).is_some() {
            let arrival = Arrival {
                image: image(number),
                tag: number
                    .is_multiple_of(2)
                    .then(|| format!("localhost/image:{number}")),
                repo_digest: None,
            };
            self.inner().keep_now(arrival).unwrap();
            self.pulls.remove(&number);
        }
    }

    fn prune(&self) {
        let tell = PruneOptions {
            scope: PruneScope::All,
            mode: PruneMode::Tell,
            ..PruneOptions::default()
        };
        let told = self.inner().prune(tell).unwrap();
        let remove = PruneOptions {
            mode: PruneMode::Remove,
            ..tell
        };
        assert_eq!(self.inner().prune(remove).unwrap(), told);
        for image in &told.images {
            assert_eq!(self.images.find(&image.id), None);
        }
        // What is left is in use, or pinned.
        for image in self.images.list() {
            let table = self.inner().state.lock();
            assert!(image.pinned || table.is_in_use(&image), "{}", image.id);
        }
    }

    fn restart(&mut self) {
        self.pulls.clear();
        self.images = open(&self.folder);
    }

    /// Nothing is missing of what an image, a container or a pull needs.
    fn check(&self) {
        let inner = self.inner();
        for image in self.images.list() {
            for blob in &image.blobs {
                assert!(inner.content.contains(blob), "blob of {}", image.id);
            }
            for chain_id in &image.chain_ids {
                assert!(inner.snapshots.layer(chain_id).is_some(), "{}", image.id);
            }
        }
        for number in self.leases.values() {
            for chain_id in parts(*number).1 {
                assert!(inner.snapshots.layer(&chain_id).is_some(), "of a container");
            }
        }
        for (number, pull) in &self.pulls {
            let (blobs, chains) = parts(*number);
            for blob in blobs.iter().take(pull.fetched) {
                assert!(inner.content.contains(&digest_of(blob)), "of a pull");
            }
            for chain_id in chains.iter().take(pull.fetched.saturating_sub(blobs.len())) {
                assert!(inner.snapshots.layer(chain_id).is_some(), "of a pull");
            }
        }
    }

    /// When nobody needs anything, nothing stays.
    fn check_empty_at_the_end(mut self) {
        self.pulls.clear();
        for number in 0..IMAGES {
            self.act(&Act::Remove(number));
        }
        for container in 0..CONTAINERS {
            self.act(&Act::Release(container));
        }
        self.act(&Act::Collect);
        assert_eq!(self.inner().content.digests().unwrap(), []);
        assert_eq!(self.inner().snapshots.chain_ids(), []);
    }
}

fn open(folder: &tempfile::TempDir) -> Images {
    Images::open(ImagesConfig {
        root: folder.path().to_owned(),
        pinned: vec!["*/image:2".to_owned()],
        ..ImagesConfig::default()
    })
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_is_needed_is_ever_collected_and_nothing_else_stays(acts in acts()) {
        let mut node = Node::new();
        for act in &acts {
            node.act(act);
            node.check();
        }
        node.check_empty_at_the_end();
    }
}

fn pulled(node: &mut Node, number: usize) {
    node.act(&Act::Begin(number));
    for _ in 0..5 {
        node.act(&Act::Fetch(number));
    }
    node.act(&Act::Finish(number));
    assert!(node.images.find(&image(number).id).is_some());
}

#[test]
fn a_collection_that_dies_after_any_removal_is_finished_by_the_next_start() {
    for after in 0.. {
        let mut node = Node::new();
        pulled(&mut node, 0);
        pulled(&mut node, 1);
        node.act(&Act::Remove(1));
        let garbage = node.inner().garbage().len();
        assert_eq!(garbage, 3, "a configuration, a blob and a layer of its own");
        node.act(&Act::DieCollecting(after));
        node.check();
        assert_eq!(node.inner().garbage(), []);
        assert_eq!(node.images.list().len(), 1);
        if after > garbage {
            break;
        }
    }
}

#[test]
fn pruning_spares_tagged_pinned_used_and_recent_images() {
    let ids = |pruned: &super::Pruned| -> Vec<String> {
        pruned.images.iter().map(|image| image.id.clone()).collect()
    };
    let mut node = Node::new();
    for number in 0..IMAGES {
        pulled(&mut node, number);
    }
    // 1 and 3 have no tag, and 3 is in use; 2 is pinned.
    node.act(&Act::Lease(3, 0));
    let untagged = PruneOptions::default();
    let recent = PruneOptions {
        unchanged_for: std::time::Duration::from_secs(3600),
        ..untagged
    };
    assert_eq!(
        node.inner().prune(recent).unwrap(),
        super::Pruned::default()
    );
    let pruned = node.inner().prune(untagged).unwrap();
    assert_eq!(ids(&pruned), [image(1).id]);
    // Its own configuration, blob and layer: a block each at least, on a file system with blocks.
    assert!(pruned.bytes > 0);
    // Also for the next daemon, which reads whose the lease is.
    node.restart();
    let all = PruneOptions {
        scope: PruneScope::All,
        ..untagged
    };
    assert_eq!(ids(&node.inner().prune(all).unwrap()), [image(0).id]);
    assert_eq!(node.images.list().len(), 2);
    node.check();
}
