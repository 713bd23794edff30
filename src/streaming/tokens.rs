//! URLs that are good once and not for long: who has one may do what the CRI call that gave it was for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pod::{PodError, PodErrorKind, StreamRequest, Subject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};

/// How long a URL is good.
const LIFE: Duration = Duration::from_secs(60);

/// So many may wait to be used.
const MAXIMUM_PENDING: usize = 1000;

/// Random bytes of a token.
const RANDOM_BYTES: usize = 18;

#[derive(Debug)]
struct Pending {
    request: StreamRequest,
    until: Instant,
}

/// The URLs that wait to be used.
#[derive(Debug)]
pub struct Tokens {
    /// Scheme, host and port.
    base: String,
    pending: Mutex<HashMap<String, Pending>>,
}

impl Tokens {
    pub(super) fn new(base: String) -> Self {
        Self {
            base,
            pending: Mutex::default(),
        }
    }

    /// A URL for this request.
    ///
    /// # Errors
    /// `ResourceExhausted` while too many wait to be used.
    pub fn admit(&self, request: StreamRequest) -> Result<String, PodError> {
        self.admit_at(Instant::now(), request)
    }

    fn admit_at(&self, now: Instant, request: StreamRequest) -> Result<String, PodError> {
        let mut pending = self.locked();
        pending.retain(|_, pending| pending.until > now);
        if pending.len() >= MAXIMUM_PENDING {
            return Err(PodError::new(
                PodErrorKind::ResourceExhausted,
                Subject::Runtime,
                format!("{MAXIMUM_PENDING} streaming URLs wait to be used"),
            ));
        }
        let token = random_token();
        let url = format!("{}/{}/{token}", self.base, verb(&request));
        let until = now + LIFE;
        pending.insert(token, Pending { request, until });
        Ok(url)
    }

    /// What the path of a URL is for; afterwards it is good for nothing.
    pub(super) fn take(&self, path: &str) -> Option<StreamRequest> {
        self.take_at(Instant::now(), path)
    }

    fn take_at(&self, now: Instant, path: &str) -> Option<StreamRequest> {
        let (asked, token) = path.strip_prefix('/')?.split_once('/')?;
        let pending = self.locked().remove(token)?;
        let is_good = pending.until > now && asked == verb(&pending.request);
        is_good.then_some(pending.request)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verb(request: &StreamRequest) -> &'static str {
    match request {
        StreamRequest::Exec { .. } => "exec",
        StreamRequest::Attach { .. } => "attach",
        StreamRequest::PortForward { .. } => "portforward",
    }
}

fn random_token() -> String {
    let mut bytes = [0_u8; RANDOM_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        // The flags are empty and the buffer is small: only a signal can make this short (getrandom(2)).
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward() -> StreamRequest {
        StreamRequest::PortForward {
            sandbox_id: "4f".to_owned(),
            ports: vec![80],
        }
    }

    fn path(url: &str) -> &str {
        url.strip_prefix("http://127.0.0.1:1").unwrap()
    }

    #[test]
    fn a_url_is_good_once_and_for_its_own_verb() {
        let tokens = Tokens::new("http://127.0.0.1:1".to_owned());
        let url = tokens.admit(forward()).unwrap();
        assert!(url.starts_with("http://127.0.0.1:1/portforward/"), "{url}");
        assert!(
            url.len() >= "http://127.0.0.1:1/portforward/".len() + 22,
            "{url}"
        );
        assert_eq!(tokens.take(path(&url)), Some(forward()));
        assert_eq!(tokens.take(path(&url)), None);
        let other = tokens
            .admit(forward())
            .unwrap()
            .replace("portforward", "exec");
        assert_eq!(tokens.take(path(&other)), None);
        for nonsense in ["", "/", "/exec", "/exec/", "exec/a/b", "/exec/../x"] {
            assert_eq!(tokens.take(nonsense), None);
        }
    }

    #[test]
    fn a_url_is_good_for_a_minute_and_there_is_an_end_to_their_number() {
        let tokens = Tokens::new("http://127.0.0.1:1".to_owned());
        let start = Instant::now();
        let urls: Vec<String> = (0..MAXIMUM_PENDING)
            .map(|_| tokens.admit_at(start, forward()).unwrap())
            .collect();
        let refused = tokens.admit_at(start, forward()).unwrap_err();
        assert_eq!(refused.kind(), PodErrorKind::ResourceExhausted);
        let just = start + LIFE - Duration::from_millis(1);
        assert!(tokens.take_at(just, path(&urls[0])).is_some());
        assert_eq!(tokens.take_at(start + LIFE, path(&urls[1])), None);
        tokens.admit_at(start + LIFE, forward()).unwrap();
        assert_eq!(tokens.locked().len(), 1);
    }
}
