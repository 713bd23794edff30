//! The record of an image on disk against what the daemon knows.

use std::sync::PoisonError;

use oci_spec::image::Digest;

use super::super::images::Inner;
use super::super::record::Record;
use super::super::{Image, ImageError};
use super::finding::Problem;
use crate::persist;

impl Inner {
    /// What is wrong with the record of an image; an image that was removed meanwhile has none, rightly.
    pub(super) fn check_record(&self, id: &str) -> Option<Problem> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (image, id) = self.known(id)?;
        match persist::read_json::<Record>(&self.record_path(&id)) {
            Err(error) => Some(Problem::Record(error)),
            Ok(Some(record)) if record == image.record(id) => None,
            Ok(_) => Some(Problem::OtherRecord),
        }
    }

    /// Changes what is known of an image, and writes its record.
    pub(super) fn rewrite_record(
        &self,
        id: &str,
        change: impl FnOnce(&mut Image),
    ) -> Result<(), ImageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((mut image, _)) = self.known(id) else {
            return Ok(());
        };
        change(&mut image);
        self.write(image)?;
        Ok(())
    }

    fn known(&self, id: &str) -> Option<(Image, Digest)> {
        let image = self.state.lock().images.get(id).cloned()?;
        Some((Image::clone(&image), image.id.parse().ok()?))
    }
}
