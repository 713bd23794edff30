//! Tokens that pods have: issued once, kept in memory, and issued again when four fifths of their time are over, or a day
//! (kubelet, `token_manager.go`). An agent that starts again issues new ones.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::token::{Issued, Issuer, Request, TokenError};

/// A token is not kept longer, whatever its time.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The tokens of all pods.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: Mutex<HashMap<Request, Issued>>,
}

impl Tokens {
    /// A token that is fresh, and when it will not be any more.
    pub(super) fn get(
        &self,
        issuer: &Issuer,
        request: Request,
        node_name: &str,
        now: Timestamp,
    ) -> Result<(String, Timestamp), TokenError> {
        let mut tokens = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = tokens.get(&request) {
            let due = due(current);
            // A clock that was set back makes a token that is not valid yet.
            if (current.issued_at..due).contains(&now) {
                return Ok((current.token.clone(), due));
            }
        }
        let issued = issuer.issue(&request, Some(node_name), now)?;
        let due = due(&issued);
        let token = issued.token.clone();
        tokens.insert(request, issued);
        Ok((token, due))
    }

    /// Forgets the tokens of a pod.
    pub(super) fn forget(&self, uid: &str) {
        let mut tokens = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|request, _| request.pod.as_ref().is_none_or(|pod| pod.uid != uid));
    }
}

/// When a token is to be replaced.
fn due(issued: &Issued) -> Timestamp {
    let life = issued.expires_at.duration_since(issued.issued_at);
    let age = (life / 5 * 4).min(AGE_MAX);
    issued
        .issued_at
        .saturating_add(age)
        .unwrap_or(issued.issued_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::BoundPod;

    fn request(uid: &str, expiration_seconds: i64) -> Request {
        Request {
            namespace: "default".to_owned(),
            account: "robot".to_owned(),
            account_uid: "a".to_owned(),
            pod: Some(BoundPod {
                name: "web".to_owned(),
                uid: uid.to_owned(),
            }),
            audiences: Vec::new(),
            expiration_seconds,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_token_is_replaced_after_four_fifths_of_its_time_or_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::open(folder.path(), "https://node").unwrap();
        for (life, until) in [(600, 480), (3600, 2880), (1_000_000, 86_400)] {
            let tokens = Tokens::default();
            let get = |seconds| {
                let issued = tokens.get(&issuer, request("p", life), "node", at(seconds));
                issued.unwrap()
            };
            let (first, due) = get(0);
            assert_eq!(due, at(until));
            assert_eq!(get(until - 1).0, first);
            let (second, due) = get(until);
            assert_ne!(second, first);
            assert_eq!(due, at(2 * until));
            // The clock was set back: a token of the future is worth nothing now.
            assert_ne!(get(1).0, second);
        }
    }

    #[test]
    fn pods_do_not_share_tokens_and_a_forgotten_one_is_issued_again() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::open(folder.path(), "https://node").unwrap();
        let tokens = Tokens::default();
        let get = |uid: &str| {
            tokens
                .get(&issuer, request(uid, 600), "node", at(0))
                .unwrap()
                .0
        };
        let (one, other) = (get("one"), get("other"));
        assert_ne!(one, other);
        tokens.forget("one");
        assert_ne!(get("one"), one);
        assert_eq!(get("other"), other);
    }
}
