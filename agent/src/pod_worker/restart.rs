//! When a container that has ended is started again: kubelet, `ContainerShouldRestart`.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

/// Its own policy, or the pod's.
pub(crate) fn policy<'a>(spec: &'a PodSpec, container: &'a Container) -> &'a str {
    let own = container.restart_policy.as_deref();
    own.or(spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// Is a container started again that ended with this code? The first of its rules that speaks of the code decides, and
/// else the policy.
pub(crate) fn begins_again(spec: &PodSpec, container: &Container, exit_code: i32) -> bool {
    let mut rules = container.restart_policy_rules.iter().flatten();
    if container.restart_policy.is_some()
        && let Some(rule) = rules.find(|rule| speaks_of(rule, exit_code))
        && rule.action == "Restart"
    {
        return true;
    }
    match policy(spec, container) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

fn speaks_of(rule: &ContainerRestartRule, exit_code: i32) -> bool {
    rule.exit_codes.as_ref().is_some_and(|codes| {
        let is_in = codes.values.iter().flatten().any(|it| *it == exit_code);
        match codes.operator.as_str() {
            "In" => is_in,
            "NotIn" => !is_in,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn again(of_pod: &str, container: Value, exit_code: i32) -> bool {
        let mut container = container;
        container["name"] = json!("main");
        let spec = json!({ "restartPolicy": of_pod, "containers": [container] });
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        begins_again(&spec, &spec.containers[0], exit_code)
    }

    #[test]
    fn a_policy_of_its_own_goes_before_the_pods() {
        for (of_pod, own, after_0, after_1) in [
            ("Always", None, true, true),
            ("OnFailure", None, false, true),
            ("Never", None, false, false),
            ("Always", Some("Never"), false, false),
            ("Always", Some("OnFailure"), false, true),
            ("Never", Some("Always"), true, true),
            ("Never", Some("OnFailure"), false, true),
        ] {
            let of = |code| again(of_pod, json!({ "restartPolicy": own }), code);
            assert_eq!((of(0), of(1)), (after_0, after_1), "{of_pod} {own:?}");
        }
    }

    #[test]
    fn a_rule_that_speaks_of_the_code_restarts() {
        let rule = |operator: &str, values: &[i32]| json!({ "action": "Restart", "exitCodes": { "operator": operator, "values": values } });
        let of = |rules: Value, code| {
            let own = json!({ "restartPolicy": "Never", "restartPolicyRules": rules });
            again("Always", own, code)
        };
        assert!(of(json!([rule("In", &[42, 43])]), 43));
        assert!(!of(json!([rule("In", &[42, 43])]), 1));
        assert!(of(json!([rule("NotIn", &[0])]), 1));
        assert!(!of(json!([rule("NotIn", &[0])]), 0));
        assert!(of(json!([rule("In", &[1]), rule("In", &[2])]), 2));
        assert!(!of(json!([]), 2));
    }
}
