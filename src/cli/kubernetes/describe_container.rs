//! The part of `carpel describe pod` about a container.

use std::fmt::Write as _;

use serde_json::Value;

use super::api::{list, text};

/// The lines about a container; `status` may be nothing.
pub(super) fn lines(container: &Value, status: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Text in memory takes any text.
        writeln!(out, "    {:<16}{value}", format!("{name}:")).ok();
    };
    line("Container ID", text(status, "/containerID"));
    line("Image", text(container, "/image"));
    line("Image ID", text(status, "/imageID"));
    line("Port", &ports(container, "containerPort"));
    line("Host Port", &ports(container, "hostPort"));
    for (name, pointer) in [("Command", "/command"), ("Args", "/args")] {
        for (index, word) in list(container, pointer).iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let word = word.as_str().unwrap_or_default();
            match name {
                "" => line(" ", word),
                name => line(name, word),
            }
        }
    }
    state(&mut line, "State", &status["state"]);
    if status["lastState"]
        .as_object()
        .is_some_and(|it| !it.is_empty())
    {
        state(&mut line, "Last State", &status["lastState"]);
    }
    line(
        "Ready",
        if status["ready"] == true {
            "True"
        } else {
            "False"
        },
    );
    line(
        "Restart Count",
        &status["restartCount"].as_i64().unwrap_or(0).to_string(),
    );
    for (name, pointer) in [
        ("Limits", "/resources/limits"),
        ("Requests", "/resources/requests"),
    ] {
        if let Some(amounts) = container.pointer(pointer).and_then(Value::as_object) {
            let amounts: Vec<String> = amounts
                .iter()
                .map(|(name, amount)| format!("{name}={}", amount.as_str().unwrap_or_default()))
                .collect();
            line(name, &amounts.join(" "));
        }
    }
    for (name, field) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if container[field].is_object() {
            line(name, &probe(&container[field]));
        }
    }
    variables(&mut line, container);
    mounts(&mut line, container);
    out
}

fn ports(container: &Value, field: &str) -> String {
    let ports: Vec<String> = list(container, "/ports")
        .iter()
        .map(|port| {
            let number = port[field].as_i64().unwrap_or(0);
            format!("{number}/{}", port["protocol"].as_str().unwrap_or("TCP"))
        })
        .collect();
    match ports.is_empty() {
        true => "<none>".to_owned(),
        false => ports.join(", "),
    }
}

fn state(line: &mut impl FnMut(&str, &str), name: &str, state: &Value) {
    if let Some(waiting) = state["waiting"].as_object() {
        line(name, "Waiting");
        for (field, name) in [("reason", "  Reason"), ("message", "  Message")] {
            if let Some(value) = waiting.get(field).and_then(Value::as_str) {
                line(name, value);
            }
        }
    } else if state["running"].is_object() {
        line(name, "Running");
        line("  Started", text(state, "/running/startedAt"));
    } else if state["terminated"].is_object() {
        let ended = &state["terminated"];
        line(name, "Terminated");
        line("  Reason", text(ended, "/reason"));
        if !text(ended, "/message").is_empty() {
            line("  Message", text(ended, "/message").trim_end());
        }
        line("  Exit Code", &ended["exitCode"].to_string());
        line("  Started", text(ended, "/startedAt"));
        line("  Finished", text(ended, "/finishedAt"));
    } else {
        line(name, "Waiting");
    }
}

/// `http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3`
fn probe(probe: &Value) -> String {
    let action = if probe["exec"].is_object() {
        let words = list(probe, "/exec/command")
            .iter()
            .filter_map(Value::as_str);
        format!("exec [{}]", words.collect::<Vec<_>>().join(" "))
    } else if let Some(get) = probe["httpGet"].as_object() {
        let scheme = get.get("scheme").and_then(Value::as_str).unwrap_or("HTTP");
        format!(
            "http-get {}://{}:{}{}",
            scheme.to_lowercase(),
            text(probe, "/httpGet/host"),
            plain(&probe["httpGet"]["port"]),
            text(probe, "/httpGet/path")
        )
    } else if probe["tcpSocket"].is_object() {
        format!(
            "tcp-socket {}:{}",
            text(probe, "/tcpSocket/host"),
            plain(&probe["tcpSocket"]["port"])
        )
    } else {
        format!(
            "grpc <pod>:{} {}",
            probe["grpc"]["port"],
            text(probe, "/grpc/service")
        )
    };
    let number = |field: &str| probe[field].as_i64().unwrap_or(0);
    format!(
        "{action} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    )
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn variables(line: &mut impl FnMut(&str, &str), container: &Value) {
    for source in list(container, "/envFrom") {
        let (kind, name) = match source["configMapRef"].is_object() {
            true => ("ConfigMap", text(source, "/configMapRef/name")),
            false => ("Secret", text(source, "/secretRef/name")),
        };
        line("Environment from", &format!("{name}  {kind}"));
    }
    let variables = list(container, "/env");
    line(
        "Environment",
        if variables.is_empty() { "<none>" } else { "" },
    );
    for variable in variables {
        let from = &variable["valueFrom"];
        let value = if from["secretKeyRef"].is_object() {
            let reference = &from["secretKeyRef"];
            format!(
                "<set to the key '{}' in secret '{}'>",
                text(reference, "/key"),
                text(reference, "/name")
            )
        } else if from["configMapKeyRef"].is_object() {
            let reference = &from["configMapKeyRef"];
            format!(
                "<set to the key '{}' of config map '{}'>",
                text(reference, "/key"),
                text(reference, "/name")
            )
        } else if from["fieldRef"].is_object() {
            format!(" (v1:{})", text(from, "/fieldRef/fieldPath"))
        } else if from["resourceFieldRef"].is_object() {
            format!(" ({})", text(from, "/resourceFieldRef/resource"))
        } else {
            text(variable, "/value").to_owned()
        };
        line(&format!("  {}", text(variable, "/name")), &value);
    }
}

fn mounts(line: &mut impl FnMut(&str, &str), container: &Value) {
    let mounts = list(container, "/volumeMounts");
    line("Mounts", if mounts.is_empty() { "<none>" } else { "" });
    for mount in mounts {
        let right = if mount["readOnly"] == true {
            "ro"
        } else {
            "rw"
        };
        let sub_path = match text(mount, "/subPath") {
            "" => String::new(),
            path => format!(",path={path:?}"),
        };
        line(
            " ",
            &format!(
                "{} from {} ({right}{sub_path})",
                text(mount, "/mountPath"),
                text(mount, "/name")
            ),
        );
    }
}
