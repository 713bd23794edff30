//! Answers DEADLINE_EXCEEDED when the time is over that the client gave (`grpc-timeout`).
//!
//! tonic ends such calls too, but with CANCELLED, which the kubelet and critest do not take for a timeout. This layer
//! is inside tonic's, so it must be a little earlier. What the call started goes on: only the waiting ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

/// How much earlier than the client's deadline the answer is given: the granularity of tokio's timers is 1 ms.
const LEAD: Duration = Duration::from_millis(2);

/// Puts [`Deadline`] around a service.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DeadlineLayer;

/// A service that ends calls at the client's deadline.
#[derive(Debug, Clone)]
pub(super) struct Deadline<S> {
    inner: S,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let timeout = timeout(request.headers());
        let call = self.inner.call(request);
        let Some(timeout) = timeout else {
            return Box::pin(call);
        };
        Box::pin(async move {
            // The call is polled first, so it has begun even if no time was given at all.
            match tokio::time::timeout(timeout.saturating_sub(LEAD), call).await {
                Ok(response) => response,
                Err(_elapsed) => {
                    let message = format!("not done within the client's {timeout:?}; it goes on");
                    Ok(Status::deadline_exceeded(message).into_http())
                }
            }
        })
    }
}

/// At most 8 digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::service_fn;

    fn request(timeout: &'static str) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        request
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        request
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_deadline_exceeded() {
        let slow =
            service_fn(|_request| std::future::pending::<Result<Response<Body>, Infallible>>());
        let call = DeadlineLayer.layer(slow).call(request("20m"));
        let response = call.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "4");
    }

    #[tokio::test]
    async fn a_call_in_time_is_answered() {
        let quick = service_fn(|_request| async { Ok(Status::not_found("gone").into_http()) });
        // Also one that has no time at all, if it does not wait.
        for timeout in ["10S", "0m"] {
            let response = DeadlineLayer
                .layer(quick)
                .call(request(timeout))
                .await
                .unwrap();
            assert_eq!(response.headers()["grpc-status"], "5", "{timeout}");
        }
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("-1m", None),
            ("1x", None),
        ] {
            let headers = request(text).headers().clone();
            assert_eq!(timeout(&headers), expected, "{text}");
        }
    }
}
