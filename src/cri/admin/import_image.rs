//! ImportImage: an archive comes in as a stream, is kept in a file without a name, and imported from there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tonic::{Code, Status, Streaming};

use crate::cri::status;
use crate::cri::wire::carpel::import_image_request::Part;
use crate::cri::wire::carpel::{
    ImportImageOptions, ImportImageRequest, ImportImageResponse, ImportedImage,
};
use crate::image::{Image, Images, ImportOptions};

/// Makes two imports at once use two names.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(super) async fn import_image(
    images: &Images,
    spool_directory: &Path,
    mut stream: Streaming<ImportImageRequest>,
) -> Result<ImportImageResponse, Status> {
    let options = first(&mut stream).await?;
    let file = spool(spool_directory, &mut stream, &options).await?;
    let images = import(images.clone(), file, options).await?;
    Ok(ImportImageResponse {
        images: images.iter().map(|image| imported(image)).collect(),
    })
}

async fn first(stream: &mut Streaming<ImportImageRequest>) -> Result<ImportImageOptions, Status> {
    let message = stream.message().await?.and_then(|message| message.part);
    match message {
        Some(Part::Options(options)) => Ok(options),
        Some(Part::Chunk(_)) | None => Err(Status::invalid_argument(
            "options: missing in the first message",
        )),
    }
}

/// Writes the archive to a file without a name: whatever ends the import, and be it SIGKILL, nothing stays.
async fn spool(
    directory: &Path,
    stream: &mut Streaming<ImportImageRequest>,
    options: &ImportImageOptions,
) -> Result<File, Status> {
    let file = nameless_file(directory).map_err(|error| refused(directory, &error))?;
    let mut writer = tokio::fs::File::from_std(file);
    let mut written: u64 = 0;
    while let Some(message) = stream.message().await? {
        let chunk = chunk(message)?;
        written = written.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if written > options.length_bytes {
            break;
        }
        let outcome = writer.write_all(&chunk).await;
        outcome.map_err(|error| refused(directory, &error))?;
    }
    if written != options.length_bytes {
        return Err(Status::invalid_argument(format!(
            "length_bytes: {} were announced for {}, and {written} came",
            options.length_bytes, options.file_name
        )));
    }
    let outcome = writer.flush().await;
    outcome.map_err(|error| refused(directory, &error))?;
    Ok(writer.into_std().await)
}

fn chunk(message: ImportImageRequest) -> Result<Bytes, Status> {
    match message.part {
        Some(Part::Chunk(chunk)) => Ok(chunk),
        Some(Part::Options(_)) | None => Err(Status::invalid_argument(
            "chunk: missing in a message after the first",
        )),
    }
}

fn nameless_file(directory: &Path) -> io::Result<File> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".import-{}-{number}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn refused(directory: &Path, error: &io::Error) -> Status {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(
        code,
        format!("keep the archive in {}: {error}", directory.display()),
    )
}

/// Imports in a task of its own: it goes on if the client leaves, and keeps the file open, whose path is its descriptor.
async fn import(
    images: Images,
    file: File,
    options: ImportImageOptions,
) -> Result<Vec<Arc<Image>>, Status> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let settings = ImportOptions {
        reference: Some(options.reference).filter(|reference| !reference.is_empty()),
    };
    let task = tokio::spawn(async move {
        let outcome = images.import(path, settings).await;
        drop(file);
        outcome
    });
    let outcome = task
        .await
        .map_err(|error| Status::internal(status::chain(&error)))?;
    outcome.map_err(|error| {
        let inner = status::of_image(&error);
        let message = format!("import {}: {}", options.file_name, inner.message());
        Status::new(inner.code(), message)
    })
}

fn imported(image: &Image) -> ImportedImage {
    ImportedImage {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
    }
}
