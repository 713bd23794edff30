//! A call of gRPC's health service (`grpc.health.v1.Health/Check`): kubelet, `pkg/probe/grpc`.

use std::time::Duration;

use k8s_openapi::api::core::v1::GRPCAction;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::act::{Answer, Place};

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

/// `grpc.health.v1.HealthCheckResponse.ServingStatus`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

impl ServingStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

/// Asks.
pub(super) async fn check(
    place: &Place,
    action: &GRPCAction,
    timeout: Duration,
) -> Result<Answer, String> {
    let (host, port) = place.address(None, &IntOrString::Int(action.port))?;
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let service = action.service.clone().unwrap_or_default();
    match tokio::time::timeout(timeout, call(&authority, service)).await {
        Ok(answer) => answer,
        Err(_) => Ok(Answer::failure(format!(
            "timeout: failed to connect service {authority:?} within {}s: context deadline exceeded",
            timeout.as_secs()
        ))),
    }
}

async fn call(authority: &str, service: String) -> Result<Answer, String> {
    let endpoint =
        Endpoint::from_shared(format!("http://{authority}")).map_err(|error| error.to_string())?;
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => {
            return Ok(Answer::failure(format!(
                "error: failed to connect service at {authority:?}: {error}"
            )));
        }
    };
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let request = Request::new(HealthCheckRequest { service });
    Ok(match client.unary(request, path, codec).await {
        Ok(response) => match response.into_inner().status() {
            ServingStatus::Serving => Answer::success("service healthy"),
            other => Answer::failure(format!(
                "service unhealthy (responded with {:?})",
                other.name()
            )),
        },
        Err(status) if status.code() == Code::Unimplemented => Answer::failure(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)",
        ),
        Err(status) => Answer::failure(format!("error: health rpc failed: {}", status.message())),
    })
}
