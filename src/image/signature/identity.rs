//! For which name a signature was made, and whether that is the one it is shown for.

use super::Claim;
use super::error::Problem;
use super::policy::{Identity, Rule};
use crate::image::reference::Name;

/// Compares the name in a signature with the one that is pulled, as the policy says.
pub(super) fn check(claim: &Claim<'_>, signed: &str) -> Result<(), Problem> {
    let Rule::Cosign { identity, .. } = &claim.scope.rule else {
        return Ok(());
    };
    let repository = claim.scope.signed_repository(claim.name);
    let tag = claim.name.tagged().and(claim.name.reference().tag());
    let expected = match (identity, tag) {
        (Identity::Any, _) => return Ok(()),
        // A digest says what is pulled better than any tag.
        (Identity::Exact, Some(tag)) => format!("{repository}:{tag}"),
        (Identity::Exact, None) | (Identity::Repository, _) => repository,
    };
    let found = Name::parse(signed).ok();
    let is_same = found.is_some_and(|found| match (identity, tag) {
        (Identity::Exact, Some(tag)) => {
            // Without a tag in the signature the parser would put one there.
            let has_tag = signed.ends_with(&format!(":{tag}"));
            has_tag && found.tagged().as_ref() == Some(&expected)
        }
        _ => found.repository() == expected,
    });
    match is_same {
        true => Ok(()),
        false => Err(Problem::Identity {
            found: signed.to_owned(),
            expected,
        }),
    }
}

/// The same for a form that need not say a name: cosign's bundles say the digest only, which binds no less. A policy
/// that wants the exact name does not take them.
pub(super) fn check_optional(claim: &Claim<'_>, signed: &str) -> Result<(), Problem> {
    let wants_name = matches!(
        claim.scope.rule,
        Rule::Cosign {
            identity: Identity::Exact,
            ..
        }
    );
    match signed.is_empty() && !wants_name {
        true => Ok(()),
        false => check(claim, signed),
    }
}
