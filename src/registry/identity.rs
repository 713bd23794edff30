//! Who we are to a host: the credentials of the request, else those of the auth files.

use std::fmt;

use super::auth_file::{Candidate, How, candidates};
use super::credentials::Proof;
use super::helper::Helpers;
use super::hosts::Host;
use super::{Credentials, RegistryConfig, RegistryError};

/// Where a proof is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The request that asks for the image.
    Request,
    /// A key of an auth file.
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The key in it.
        key: String,
    },
    /// A credential helper that an auth file names.
    Helper {
        /// The file.
        path: std::path::PathBuf,
        /// The key in it.
        key: String,
        /// The program, without `docker-credential-`.
        name: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => formatter.write_str("the request"),
            Self::File { path, key } => write!(formatter, "{} ({key})", path.display()),
            Self::Helper { path, key, name } => {
                write!(
                    formatter,
                    "docker-credential-{name}, by {} ({key})",
                    path.display()
                )
            }
        }
    }
}

/// A proof and where it is from.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) proof: Proof,
    pub(super) source: Source,
}

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inquiry<'a> {
    pub(super) config: &'a RegistryConfig,
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) credentials: Option<&'a Credentials>,
}

impl Inquiry<'_> {
    /// Who we are to `host`; `None` for nobody. The first source that has anything counts: credentials that a host
    /// refuses are not followed by others, so that a wrong secret shows.
    pub(super) async fn identity(self, host: &Host) -> Result<Option<Identity>, RegistryError> {
        let given = self
            .credentials
            .filter(|given| given.are_for(host, self.registry));
        if let Some(proof) = given.and_then(Credentials::form) {
            return Ok(Some(Identity {
                proof,
                source: Source::Request,
            }));
        }
        for candidate in self.candidates(host)? {
            let source = source(&candidate);
            let proof = match candidate.how {
                How::Inline(credentials) => credentials.form(),
                How::Helper { name, server } => {
                    let helpers = Helpers {
                        directories: &self.config.helper_directories,
                    };
                    helpers.ask(&name, &server).await?
                }
            };
            if let Some(proof) = proof {
                return Ok(Some(Identity { proof, source }));
            }
        }
        Ok(None)
    }

    /// Where [`Self::identity`] would look first, without asking a helper.
    pub(super) fn first_source(self, host: &Host) -> Result<Option<Source>, RegistryError> {
        Ok(self.candidates(host)?.first().map(source))
    }

    fn candidates(self, host: &Host) -> Result<Vec<Candidate>, RegistryError> {
        candidates(&self.config.auth_files, &host.authority, self.repository)
    }
}

fn source(candidate: &Candidate) -> Source {
    let (path, key) = (candidate.path.clone(), candidate.key.clone());
    match &candidate.how {
        How::Inline(_) => Source::File { path, key },
        How::Helper { name, .. } => Source::Helper {
            path,
            key,
            name: name.clone(),
        },
    }
}
