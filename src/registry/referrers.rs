//! What refers to a manifest: signatures and other attachments (distribution spec v1.1, "Listing Referrers").

use futures_util::FutureExt;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderMap, LINK};
use oci_spec::image::{Descriptor, Digest, ImageIndex};

use super::session::{Endpoint, MANIFEST_BYTES_MAX};
use super::token::encode;
use super::transport::{Ask, follow, shown};
use super::{ErrorKind, RegistryError, Session};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// As many pages of an answer as are read: more descriptors than any image has attachments.
const PAGES_MAX: usize = 16;

impl Session {
    /// The manifests that refer to `subject`, of one artifact type if that is given. Hosts that do not know the
    /// question are asked for the tag `sha256-<hex>` instead, as the specification says. Nothing of the answer is
    /// verified but its form.
    ///
    /// # Errors
    /// What the hosts said, if none could tell; that nothing refers to `subject` is an empty answer.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let outcome = self
            .on_each_host("resolve", |endpoint| {
                self.referrers_once(endpoint, subject, artifact_type)
                    .boxed()
            })
            .await;
        let found = match outcome {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            outcome => outcome?,
        };
        // Registries need not filter, and some that say that they did have not.
        let is_wanted = |descriptor: &Descriptor| match artifact_type {
            None => true,
            Some(wanted) => descriptor
                .artifact_type()
                .as_ref()
                .is_some_and(|found| found.to_string() == wanted),
        };
        Ok(found.into_iter().filter(is_wanted).collect())
    }

    async fn referrers_once(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        match self.pages(endpoint, subject, artifact_type).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.tagged_referrers(endpoint, subject).await
            }
            outcome => outcome,
        }
    }

    async fn pages(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let filter = artifact_type
            .map(|wanted| format!("?artifactType={}", encode(wanted)))
            .unwrap_or_default();
        let mut next = Some(self.uri(endpoint, &format!("referrers/{subject}{filter}"))?);
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(asked) = next.take() else {
                return Ok(found);
            };
            let answer = self.get(endpoint, Ask::get(asked, INDEX_TYPE)).await?;
            let uri = answer.body.uri.clone();
            next = next_page(&uri, &answer.headers);
            let media_type = answer.header(CONTENT_TYPE.as_str());
            // A page for people, or of something that takes every path: the question is not known there.
            if media_type.is_none_or(|found| !found.starts_with(INDEX_TYPE)) {
                return Err(RegistryError::NoReferrers { url: shown(&uri) });
            }
            let bytes = answer.body.whole(MANIFEST_BYTES_MAX).await?;
            found.extend(descriptors(&uri, &bytes)?);
        }
        Err(RegistryError::TooLarge {
            url: format!("referrers of {subject}"),
            limit: MANIFEST_BYTES_MAX * PAGES_MAX as u64,
        })
    }

    /// The tag schema: an index under a tag that is made of the subject's digest.
    async fn tagged_referrers(
        &self,
        endpoint: &Endpoint,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let tag = format!("{}-{}", subject.algorithm(), subject.digest());
        let path = format!("manifests/{}", tag.get(..128).unwrap_or(&tag));
        let manifest = self.manifest_once(endpoint, &path, None).await?;
        descriptors(&self.uri(endpoint, &path)?, &manifest.bytes)
    }
}

fn descriptors(uri: &Uri, bytes: &[u8]) -> Result<Vec<Descriptor>, RegistryError> {
    let index: ImageIndex =
        serde_json::from_slice(bytes).map_err(|source| RegistryError::Referrers {
            url: shown(uri),
            source,
        })?;
    Ok(index.manifests().clone())
}

/// `Link: </v2/…?last=…>; rel="next"` (RFC 8288); only of the same host, because our credentials go with it.
fn next_page(from: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = links.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|parameter| {
        matches!(
            parameter.trim().to_ascii_lowercase().as_str(),
            "rel=\"next\"" | "rel=next"
        )
    });
    let next = follow(from, target)?;
    (is_next && next.scheme() == from.scheme() && next.authority() == from.authority())
        .then_some(next)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_host() {
        let from: Uri = "https://r.example/v2/x/referrers/d".parse().unwrap();
        for (link, expected) in [
            (
                "</v2/x/referrers/d?last=1>; rel=\"next\"",
                Some("https://r.example/v2/x/referrers/d?last=1"),
            ),
            (
                "<https://r.example/2>; rel=next",
                Some("https://r.example/2"),
            ),
            ("<https://other.example/2>; rel=\"next\"", None),
            ("<http://r.example/2>; rel=\"next\"", None),
            ("</2>; rel=\"prev\"", None),
            ("/2", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(link));
            let next = next_page(&from, &headers).map(|uri| uri.to_string());
            assert_eq!(next.as_deref(), expected, "{link}");
        }
    }
}
