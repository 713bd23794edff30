//! Why a policy cannot be used, and why an image does not satisfy one.

use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is there and cannot be read.
    #[error("read the signature policy {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file breaks a rule.
    #[error("signature policy {path}:{line}: {key}: {problem}", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The key, with the scope that it is in; `policy` for the whole file.
        key: String,
        /// Which rule.
        problem: Flaw,
    },
}

/// What is wrong with a key of a policy file.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key")]
    Unknown,
    /// Another type.
    #[error("not a {0}")]
    Type(&'static str),
    /// A word that means nothing here.
    #[error("{found:?} is none of {expected}")]
    Word {
        /// In the file.
        found: String,
        /// Those that mean something.
        expected: &'static str,
    },
    /// Fulcio and Rekor.
    #[error("signatures without a key are not supported: name public keys")]
    Keyless,
    /// A key that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key that means nothing with this policy.
    #[error("only for policy \"cosign\"")]
    Useless,
    /// No scope holds for all other images.
    #[error("scope \"*\" is missing: it says what holds for all other images")]
    NoDefault,
    /// A scope that is no beginning of a name.
    #[error("not a registry, or a registry and the beginning of a repository")]
    Scope,
    /// A public key that is a file.
    #[error("key {path}: {source}", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A public key.
    #[error("not a public key in PEM (ECDSA P-256 or P-384, Ed25519, RSA)")]
    PublicKey,
}

/// Why an image is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The policy does not want it.
    #[error("the policy for {scope} rejects it")]
    Rejected {
        /// The part of the policy.
        scope: String,
    },
    /// It has no signature.
    #[error("{digest} has no signature, and the policy for {scope} wants one")]
    Unsigned {
        /// Of what the reference names.
        digest: Digest,
        /// The part of the policy.
        scope: String,
    },
    /// None of its signatures is good.
    #[error("none of the {seen} signatures of {digest} satisfies the policy for {scope}")]
    Untrusted {
        /// Of what the reference names.
        digest: Digest,
        /// The part of the policy.
        scope: String,
        /// How many were looked at.
        seen: usize,
        /// What is wrong with the last one.
        #[source]
        problem: Problem,
    },
}

/// What is wrong with a signature.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its form.
    #[error("{0} is not what the format wants")]
    Form(&'static str),
    /// What was signed is not JSON of this form.
    #[error("parse what was signed")]
    Parse(#[source] serde_json::Error),
    /// None of the keys made it.
    #[error("no key of the policy made it")]
    Key,
    /// It is about something else than an image.
    #[error("it is a signature of another type: {found}")]
    Type {
        /// What it says.
        found: String,
    },
    /// It is about another image.
    #[error("it is of another image: {found}")]
    Digest {
        /// What it says.
        found: String,
    },
    /// It was made for another name.
    #[error("it was made for {found}, not for {expected}")]
    Identity {
        /// What it says.
        found: String,
        /// What the policy wants.
        expected: String,
    },
}
