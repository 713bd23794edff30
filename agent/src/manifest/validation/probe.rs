//! Probes and lifecycle handlers: what they do, exactly one thing, and how often.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::{Place, is_passing};
use super::found::Found;
use crate::manifest::names;

const ONE_HANDLER: &str = "may not specify more than 1 handler type";
const SOME_HANDLER: &str = "must specify a handler type";

pub(super) fn validate(found: &mut Found, place: &Place<'_>, container: &Container) {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (name, probe) in probes {
        let Some(probe) = probe else { continue };
        let path = format!("{}.{name}", place.path);
        if is_passing(place, container) {
            found.forbidden(
                path,
                "may not be set for init containers without restartPolicy=Always",
            );
            continue;
        }
        self::probe(found, &path, container, probe);
        if name != "readinessProbe" && probe.success_threshold != Some(1) {
            found.invalid(
                format!("{path}.successThreshold"),
                probe.success_threshold,
                "must be 1",
            );
        }
        if name == "readinessProbe" && probe.termination_grace_period_seconds.is_some() {
            found.invalid(
                format!("{path}.terminationGracePeriodSeconds"),
                probe.termination_grace_period_seconds,
                "must not be set for readinessProbes",
            );
        }
    }
}

fn probe(found: &mut Found, path: &str, container: &Container, probe: &Probe) {
    let actions = Actions {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        others: usize::from(probe.grpc.is_some()),
    };
    actions.validate(found, path, container);
    if let Some(grpc) = &probe.grpc {
        found.between(
            format!("{path}.grpc.port"),
            Some(i64::from(grpc.port)),
            1,
            65535,
        );
    }
    let at_least = [
        ("initialDelaySeconds", probe.initial_delay_seconds, 0),
        ("timeoutSeconds", probe.timeout_seconds, 0),
        ("periodSeconds", probe.period_seconds, 0),
        ("successThreshold", probe.success_threshold, 0),
        ("failureThreshold", probe.failure_threshold, 0),
    ];
    for (field, value, least) in at_least {
        found.at_least(format!("{path}.{field}"), value.map(i64::from), least);
    }
    found.at_least(
        format!("{path}.terminationGracePeriodSeconds"),
        probe.termination_grace_period_seconds,
        1,
    );
}

/// A handler of `postStart` or `preStop`.
pub(super) fn handler(
    found: &mut Found,
    path: &str,
    container: &Container,
    handler: &LifecycleHandler,
    grace_seconds: Option<i64>,
) {
    let actions = Actions {
        exec: handler.exec.as_ref(),
        http_get: handler.http_get.as_ref(),
        tcp_socket: handler.tcp_socket.as_ref(),
        others: usize::from(handler.sleep.is_some()),
    };
    actions.validate(found, path, container);
    if let Some(sleep) = &handler.sleep {
        let most = grace_seconds.unwrap_or_default();
        if !(0..=most).contains(&sleep.seconds) {
            let detail = format!(
                "must be non-negative and less than terminationGracePeriodSeconds ({most})"
            );
            found.invalid(format!("{path}.sleep.seconds"), sleep.seconds, detail);
        }
    }
}

struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    others: usize,
}

impl Actions<'_> {
    fn validate(&self, found: &mut Found, path: &str, container: &Container) {
        let count = usize::from(self.exec.is_some())
            + usize::from(self.http_get.is_some())
            + usize::from(self.tcp_socket.is_some())
            + self.others;
        match count {
            0 => found.required(path, SOME_HANDLER),
            1 => {}
            _ => found.forbidden(path, ONE_HANDLER),
        }
        if let Some(exec) = self.exec
            && exec.command.as_ref().is_none_or(Vec::is_empty)
        {
            found.required(format!("{path}.exec.command"), "");
        }
        if let Some(action) = self.http_get {
            port(
                found,
                &format!("{path}.httpGet.port"),
                container,
                &action.port,
            );
            let schemes = &["HTTP", "HTTPS"];
            found.one_of(
                format!("{path}.httpGet.scheme"),
                action.scheme.as_deref(),
                schemes,
            );
            for (index, header) in action.http_headers.iter().flatten().enumerate() {
                if !is_header(&header.name) {
                    let field = format!("{path}.httpGet.httpHeaders[{index}].name");
                    found.invalid(field, &header.name, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
                }
            }
        }
        if let Some(action) = self.tcp_socket {
            port(
                found,
                &format!("{path}.tcpSocket.port"),
                container,
                &action.port,
            );
        }
    }
}

fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A number, or the name of a port of the container.
fn port(found: &mut Found, path: &str, container: &Container, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => {
            found.between(path, Some(i64::from(*number)), 1, 65535);
        }
        IntOrString::String(name) => {
            found.check(path, name, names::port_name);
            let mut ports = container.ports.iter().flatten();
            if names::port_name(name).is_none()
                && !ports.any(|port| port.name.as_deref() == Some(name))
            {
                // The API server lets this pass and the probe then fails for ever.
                found.invalid(path, name, "must be the name of a port of this container");
            }
        }
    }
}
