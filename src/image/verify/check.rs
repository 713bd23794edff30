//! The order of a verification: for each image its record, its blobs, what they say, its layers from the bottom up.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::image::Digest;

use super::super::error::Failure;
use super::super::images::Inner;
use super::super::manifest::Layer;
use super::super::{Image, ImageError};
use super::finding::{Finding, Outcome, Problem, Repair, Subject, Summary};
use super::report::Report;
use super::{layers, repair};
use crate::content;
use crate::snapshot::ChainId;

/// A verification that goes on.
pub(super) struct Checker {
    inner: Arc<Inner>,
    repair: Repair,
    report: Arc<Report>,
    summary: Summary,
    /// Blobs that were looked at: whether they are right now.
    blobs: HashMap<Digest, bool>,
    /// The same of layers.
    layers: HashMap<ChainId, bool>,
}

impl Checker {
    pub(super) fn new(inner: Arc<Inner>, repair: Repair, report: Arc<Report>) -> Self {
        Self {
            inner,
            repair,
            report,
            summary: Summary::default(),
            blobs: HashMap::new(),
            layers: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> Summary {
        self.summary
    }

    /// Checks one image.
    pub(super) async fn image(&mut self, image: &Arc<Image>) -> Result<(), ImageError> {
        let name = called(image);
        self.report.begin(&name);
        self.record(image).await?;
        let mut absent = Vec::new();
        for digest in &image.blobs {
            if !self.blob(image, digest).await? {
                absent.push(digest.clone());
            }
        }
        // What is missing is told apart only by those that are here; the two that every image needs are known.
        let documents = [image.id.parse().ok(), Some(image.manifest_digest.clone())];
        for digest in documents.into_iter().flatten() {
            if absent.contains(&digest) || !image.blobs.contains(&digest) {
                absent.retain(|known| *known != digest);
                self.missing(image, &digest).await?;
            }
        }
        let inner = Arc::clone(&self.inner);
        let own = match on_disk({
            let image = Arc::clone(image);
            move || Ok(layers::of_image(&inner, &image))
        })
        .await?
        {
            Ok(own) => own,
            Err(error) => {
                // A blob that is broken or missing was told already.
                let is_told = |digest: &Digest| self.blobs.get(digest) == Some(&false);
                if !documents_of(image).iter().any(is_told) {
                    let problem = Problem::Document(error);
                    self.tell(
                        image,
                        (Subject::Record, &image.id),
                        problem,
                        Outcome::Broken,
                    )
                    .await;
                }
                self.summary.images += 1;
                return Ok(());
            }
        };
        self.consistency(image, &own).await?;
        let all = self.all_layers(image).await?;
        for digest in absent {
            let chain = all.iter().find(|layer| layer.blob == digest);
            let has_another =
                chain.is_some_and(|layer| self.blob_of(&all, &layer.chain_id).is_some());
            if !has_another {
                self.missing(image, &digest).await?;
            }
        }
        let mut below = Vec::new();
        for layer in &own {
            self.layer(image, layer, &all, &below).await?;
            below.push(layer.chain_id.clone());
        }
        self.summary.images += 1;
        Ok(())
    }

    async fn record(&mut self, image: &Arc<Image>) -> Result<(), ImageError> {
        let (inner, id) = (Arc::clone(&self.inner), image.id.clone());
        let Some(problem) = on_disk(move || Ok(inner.check_record(&id))).await? else {
            return Ok(());
        };
        let (inner, id) = (Arc::clone(&self.inner), image.id.clone());
        let outcome = match self.repair {
            Repair::No => Outcome::Broken,
            Repair::Yes => outcome_of(on_disk(move || inner.rewrite_record(&id, |_same| {})).await),
        };
        self.tell(image, (Subject::Record, &image.id), problem, outcome)
            .await;
        Ok(())
    }

    /// Checks a blob and repairs it; false if it is not there at all.
    async fn blob(&mut self, image: &Arc<Image>, digest: &Digest) -> Result<bool, ImageError> {
        if let Some(is_good) = self.blobs.get(digest) {
            return Ok(*is_good || self.inner.content.contains(digest));
        }
        match self.read(digest).await? {
            Ok(()) => {
                self.summary.blobs += 1;
                self.blobs.insert(digest.clone(), true);
                Ok(true)
            }
            Err(error) if error.kind() == content::ErrorKind::Missing => Ok(false),
            Err(error) => {
                self.summary.blobs += 1;
                self.fetch(image, digest, Problem::Blob(error)).await;
                Ok(true)
            }
        }
    }

    /// A blob that the image needs and that is not there.
    async fn missing(&mut self, image: &Arc<Image>, digest: &Digest) -> Result<(), ImageError> {
        if let Err(error) = self.read(digest).await? {
            self.fetch(image, digest, Problem::Blob(error)).await;
        }
        Ok(())
    }

    async fn fetch(&mut self, image: &Arc<Image>, digest: &Digest, problem: Problem) {
        let outcome = match self.repair {
            Repair::No => Outcome::Broken,
            Repair::Yes => outcome_of(repair::fetch(&self.inner, image, digest).await),
        };
        let is_good = matches!(outcome, Outcome::Repaired);
        self.blobs.insert(digest.clone(), is_good);
        self.tell(image, (Subject::Blob, digest.as_ref()), problem, outcome)
            .await;
    }

    async fn read(&self, digest: &Digest) -> Result<Result<(), content::ContentError>, ImageError> {
        let (inner, digest) = (Arc::clone(&self.inner), digest.clone());
        let report = Arc::clone(&self.report);
        let checked =
            on_disk(move || Ok(inner.content.check(&digest, |bytes| report.advance(bytes))))
                .await?;
        self.go_on()?;
        Ok(checked)
    }

    /// The record must name what the manifest does.
    async fn consistency(&mut self, image: &Arc<Image>, own: &[Layer]) -> Result<(), ImageError> {
        let chain_ids: Vec<ChainId> = own.iter().map(|layer| layer.chain_id.clone()).collect();
        let mut needed = documents_of(image);
        needed.extend(own.iter().map(|layer| layer.blob.clone()));
        let is_named = needed.iter().all(|digest| image.blobs.contains(digest));
        if chain_ids == image.chain_ids && is_named {
            return Ok(());
        }
        let outcome = match self.repair {
            Repair::No => Outcome::Broken,
            Repair::Yes => {
                let (inner, id) = (Arc::clone(&self.inner), image.id.clone());
                outcome_of(
                    on_disk(move || {
                        inner.rewrite_record(&id, |image| {
                            image.chain_ids = chain_ids;
                            image.blobs.extend(needed);
                            image.blobs.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
                            image.blobs.dedup();
                        })
                    })
                    .await,
                )
            }
        };
        self.tell(
            image,
            (Subject::Record, &image.id),
            Problem::Inconsistent,
            outcome,
        )
        .await;
        // Its blobs were not among those that were read.
        for layer in own {
            if !image.blobs.contains(&layer.blob) && !self.blob(image, &layer.blob).await? {
                self.missing(image, &layer.blob).await?;
            }
        }
        Ok(())
    }

    async fn all_layers(&self, image: &Arc<Image>) -> Result<Vec<Layer>, ImageError> {
        let good = self.blobs.iter().filter(|(_, is_good)| **is_good);
        let good: Vec<Digest> = good
            .map(|(digest, _)| digest.clone())
            .filter(|digest| image.blobs.contains(digest))
            .collect();
        let (inner, image) = (Arc::clone(&self.inner), Arc::clone(image));
        on_disk(move || Ok(layers::of_all_manifests(&inner, &image, &good))).await
    }

    /// The layer with a blob that is right.
    fn blob_of<'a>(&self, all: &'a [Layer], chain_id: &ChainId) -> Option<&'a Layer> {
        let mut of_chain = all.iter().filter(|layer| layer.chain_id == *chain_id);
        of_chain.find(|layer| self.blobs.get(&layer.blob) == Some(&true))
    }

    async fn layer(
        &mut self,
        image: &Arc<Image>,
        layer: &Layer,
        all: &[Layer],
        below: &[ChainId],
    ) -> Result<(), ImageError> {
        if self.layers.contains_key(&layer.chain_id) {
            return Ok(());
        }
        let with_blob = self.blob_of(all, &layer.chain_id).cloned();
        let lower = self.lower(below);
        let Some(problem) = self.compare(layer, with_blob.clone(), &lower).await? else {
            self.layers.insert(layer.chain_id.clone(), true);
            return Ok(());
        };
        let outcome = match (self.repair, with_blob) {
            (Repair::No, _) => Outcome::Broken,
            (Repair::Yes, None) => Outcome::Failed(
                Failure::Unusable {
                    what: "blob",
                    digest: layer.blob.clone(),
                    problem: "it is broken itself",
                }
                .into(),
            ),
            (Repair::Yes, Some(layer)) => {
                let inner = Arc::clone(&self.inner);
                outcome_of(on_disk(move || repair::unpack(&inner, &layer, &lower)).await)
            }
        };
        let is_good = matches!(outcome, Outcome::Repaired);
        self.layers.insert(layer.chain_id.clone(), is_good);
        let id = layer.chain_id.to_string();
        self.tell(image, (Subject::Layer, &id), problem, outcome)
            .await;
        Ok(())
    }

    /// The directories of the layers below, top first.
    fn lower(&self, below: &[ChainId]) -> Vec<PathBuf> {
        let from_top = below.iter().rev();
        from_top
            .filter_map(|chain_id| self.inner.snapshots.layer(chain_id))
            .collect()
    }

    async fn compare(
        &mut self,
        layer: &Layer,
        with_blob: Option<Layer>,
        lower: &[PathBuf],
    ) -> Result<Option<Problem>, ImageError> {
        if let Err(error) = self.inner.snapshots.check(&layer.chain_id) {
            return Ok(Some(Problem::Snapshot(error)));
        }
        // Without its archive nothing can be said of a layer, and that the archive is broken was told already.
        let (Some(layer), Some(path)) = (with_blob, self.inner.snapshots.layer(&layer.chain_id))
        else {
            self.summary.unchecked_layers += 1;
            return Ok(None);
        };
        let (inner, report) = (Arc::clone(&self.inner), Arc::clone(&self.report));
        let lower = lower.to_owned();
        let compared = on_disk(move || {
            let reader = inner.content.open_blob(&layer.blob)?;
            let watched = Watched { reader, report };
            let compared = repair::compare(watched, &path, &layer, &lower);
            Ok(compared.map(|comparison| match comparison.differences {
                none if none.is_empty() => none,
                some => repair::damage(&inner, &layer, &lower, some),
            }))
        })
        .await?;
        self.go_on()?;
        self.summary.layers += 1;
        Ok(match compared {
            Ok(differences) if differences.is_empty() => None,
            Ok(differences) => Some(Problem::Files(differences)),
            Err(error) => Some(Problem::Archive(error)),
        })
    }

    /// Checks a blob that belongs to no image. Broken, it is removed unless a pull counts on it: it is of no use.
    pub(super) async fn stranger(&mut self, digest: Digest) -> Result<(), ImageError> {
        self.report.begin(digest.as_ref());
        let Err(error) = self.read(&digest).await? else {
            self.summary.blobs += 1;
            return Ok(());
        };
        if error.kind() == content::ErrorKind::Missing {
            return Ok(());
        }
        self.summary.blobs += 1;
        let outcome = match self.repair {
            Repair::No => Outcome::Broken,
            Repair::Yes => {
                let inner = Arc::clone(&self.inner);
                let digest = digest.clone();
                outcome_of(
                    on_disk(move || {
                        let table = inner.state.lock();
                        match table.is_live(&digest) {
                            true => Err(Failure::Unusable {
                                what: "blob",
                                digest: digest.clone(),
                                problem: "a pull counts on it",
                            }
                            .into()),
                            false => Ok(inner.content.remove(&digest)?),
                        }
                    })
                    .await,
                )
            }
        };
        let finding = Finding {
            subject: Subject::Blob,
            id: digest.to_string(),
            image: String::new(),
            problem: Problem::Blob(error),
            outcome,
        };
        self.count(&finding);
        self.report.find(finding).await;
        Ok(())
    }

    /// Layers that only containers have.
    pub(super) async fn layers_without_image(
        &mut self,
        images: &[Arc<Image>],
    ) -> Result<(), ImageError> {
        for chain_id in self.inner.snapshots.chain_ids() {
            let has_image = images
                .iter()
                .any(|image| image.chain_ids.contains(&chain_id));
            if has_image || !self.inner.state.lock().is_live(&chain_id) {
                continue;
            }
            let Err(error) = self.inner.snapshots.check(&chain_id) else {
                self.summary.unchecked_layers += 1;
                continue;
            };
            let outcome = match self.repair {
                Repair::No => Outcome::Broken,
                Repair::Yes => Outcome::Failed(
                    Failure::NoOrigin {
                        digest: chain_id.clone(),
                    }
                    .into(),
                ),
            };
            let finding = Finding {
                subject: Subject::Layer,
                id: chain_id.to_string(),
                image: String::new(),
                problem: Problem::Snapshot(error),
                outcome,
            };
            self.count(&finding);
            self.report.find(finding).await;
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        image: &Image,
        (subject, id): (Subject, &str),
        problem: Problem,
        outcome: Outcome,
    ) {
        let finding = Finding {
            subject,
            id: id.to_owned(),
            image: called(image),
            problem,
            outcome,
        };
        self.count(&finding);
        self.report.find(finding).await;
    }

    fn count(&mut self, finding: &Finding) {
        match finding.outcome {
            Outcome::Repaired => self.summary.repaired += 1,
            Outcome::Broken | Outcome::Failed(_) => self.summary.broken += 1,
        }
    }

    fn go_on(&self) -> Result<(), ImageError> {
        match self.report.is_heard() {
            true => Ok(()),
            false => Err(Failure::Abandoned.into()),
        }
    }
}

/// Manifest and configuration, which every image needs.
fn documents_of(image: &Image) -> Vec<Digest> {
    let mut documents = vec![image.manifest_digest.clone()];
    documents.extend(image.id.parse());
    documents
}

/// The name that people know an image by.
fn called(image: &Image) -> String {
    let mut names = image.repo_tags.iter().chain(&image.repo_digests);
    names.next().unwrap_or(&image.id).clone()
}

fn outcome_of(repaired: Result<(), ImageError>) -> Outcome {
    match repaired {
        Ok(()) => Outcome::Repaired,
        Err(error) => Outcome::Failed(error),
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await?
}

/// Counts what is read of a blob, and ends when nobody listens any more.
struct Watched {
    reader: std::fs::File,
    report: Arc<Report>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.report.advance(count as u64)?;
        Ok(count)
    }
}
