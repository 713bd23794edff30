//! When a container is started again, as it says itself.

use k8s_openapi::api::core::v1::Container;

use super::found::Found;
use crate::manifest::error::Problem;

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
const ALL: &str = "RestartAllContainers";
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;

pub(super) fn validate(found: &mut Found, path: &str, container: &Container) {
    let rules = container.restart_policy_rules.as_deref();
    let rules = rules.unwrap_or_default();
    let policy = container.restart_policy.as_deref();
    if policy.is_none() && !rules.is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        found.required(format!("{path}.restartPolicy"), detail);
    }
    found.one_of(format!("{path}.restartPolicy"), policy, POLICIES);
    found.at_most(format!("{path}.restartPolicyRules"), rules.len(), RULES_MAX);
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("{path}.restartPolicyRules[{index}]");
        let action = rule.action.as_str();
        match action {
            ALL => {
                let reason = "containers are started again one by one; use Restart";
                found.note(format!("{path}.action"), Problem::Unsupported { reason });
            }
            _ => found.one_of(format!("{path}.action"), Some(action), ACTIONS),
        }
        match &rule.exit_codes {
            None => found.required(format!("{path}.exitCodes"), "must be specified"),
            Some(codes) => {
                let path = format!("{path}.exitCodes");
                let operator = Some(codes.operator.as_str());
                found.one_of(format!("{path}.operator"), operator, &["In", "NotIn"]);
                let count = codes.values.as_ref().map_or(0, Vec::len);
                found.at_most(format!("{path}.values"), count, CODES_MAX);
            }
        }
    }
}
