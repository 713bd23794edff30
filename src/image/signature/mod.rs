//! Signatures: which images may be pulled, by a policy for each part of the world of names.
//!
//! The policy is a file of the administrator, read anew at each pull. It is asked before a registry is, and again once
//! the digest is known and before anything else of the image is fetched. A policy that cannot be read lets nothing in.
//! Two forms of cosign's signatures are understood, by public keys only: the older one under a tag made of the digest
//! (`simple`), and bundles that refer to the manifest (`bundle`). Imports are root's own doing and are not asked about.

mod bundle;
mod error;
mod fetch;
mod identity;
mod key;
mod policy;
mod simple;
#[cfg(test)]
mod tests;

use std::path::Path;

use oci_spec::image::Digest;

pub use error::{PolicyError, SignatureError};
pub use policy::{AppliedPolicy, Rule};

use self::error::Problem;
use self::policy::{Policy, Scope};
use super::ImageError;
use super::error::Failure;
use super::reference::Name;
use crate::registry::{ErrorKind, RegistryError, Session};

/// What an image of some name has to prove.
#[derive(Debug)]
pub(super) struct Requirement {
    reference: String,
    name: Name,
    scope: Option<Scope>,
}

/// Reads the policy for a name; a file that is not there accepts everything.
///
/// # Errors
/// `Configuration` if the policy is broken, `SignatureInvalid` if it rejects the name.
pub(super) fn requirement(file: Option<&Path>, name: &Name) -> Result<Requirement, ImageError> {
    let scope = match file.map(Policy::read).transpose() {
        Ok(policy) => policy.flatten().map(|policy| policy.scope_of(name)),
        Err(source) => return Err(Failure::Policy { source }.into()),
    };
    let reference = name.canonical();
    if let Some(scope) = &scope
        && matches!(scope.rule, Rule::Reject)
    {
        let source = SignatureError::Rejected {
            scope: scope.prefix.clone(),
        };
        return Err(Failure::Signature { reference, source }.into());
    }
    Ok(Requirement {
        reference,
        name: name.clone(),
        scope,
    })
}

/// What the policy says of a name, for those who want to know.
pub(super) fn applied(
    file: Option<&Path>,
    name: &Name,
) -> Result<Option<AppliedPolicy>, ImageError> {
    let Some(file) = file else {
        return Ok(None);
    };
    let policy = Policy::read(file).map_err(|source| Failure::Policy { source })?;
    Ok(policy.map(|policy| AppliedPolicy::new(file, &policy.scope_of(name))))
}

impl Requirement {
    /// Looks for a good signature of what the name turned out to mean.
    ///
    /// # Errors
    /// `SignatureInvalid` if there is none, what the registry said if it could not be asked.
    pub(super) async fn verify(
        &self,
        session: &Session,
        digest: &Digest,
    ) -> Result<(), ImageError> {
        let Some(scope) = &self.scope else {
            return Ok(());
        };
        if !matches!(scope.rule, Rule::Cosign { .. }) {
            return Ok(());
        }
        let claim = Claim {
            name: &self.name,
            scope,
            digest,
        };
        let mut search = Search::default();
        search.simple(session, &claim).await;
        if !search.is_good {
            search.bundles(session, &claim).await;
        }
        search.judge(&self.reference, &claim)
    }
}

/// What a signature has to speak of.
struct Claim<'a> {
    name: &'a Name,
    scope: &'a Scope,
    digest: &'a Digest,
}

/// Signatures that were looked at.
#[derive(Debug, Default)]
struct Search {
    is_good: bool,
    seen: usize,
    last: Option<Problem>,
    refused: Option<RegistryError>,
}

impl Search {
    /// Takes what came of some signatures, until one is good.
    fn take(&mut self, found: Result<Vec<Result<(), Problem>>, RegistryError>) {
        match found {
            Ok(found) => {
                for outcome in found {
                    self.seen += 1;
                    match outcome {
                        Ok(()) => self.is_good = true,
                        Err(problem) => self.last = Some(problem),
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => self.refused = Some(error),
        }
    }

    async fn simple(&mut self, session: &Session, claim: &Claim<'_>) {
        let found = simple::find(session, claim).await;
        self.take(found);
    }

    async fn bundles(&mut self, session: &Session, claim: &Claim<'_>) {
        let found = bundle::find(session, claim).await;
        self.take(found);
    }

    fn judge(self, reference: &str, claim: &Claim<'_>) -> Result<(), ImageError> {
        if self.is_good {
            return Ok(());
        }
        let reference = reference.to_owned();
        let digest = claim.digest.clone();
        let scope = claim.scope.prefix.clone();
        // A registry that did not answer may have the good one.
        if let Some(source) = self.refused {
            return Err(Failure::Registry { reference, source }.into());
        }
        let source = match self.last {
            None => SignatureError::Unsigned { digest, scope },
            Some(problem) => SignatureError::Untrusted {
                digest,
                scope,
                seen: self.seen,
                problem,
            },
        };
        Err(Failure::Signature { reference, source }.into())
    }
}
