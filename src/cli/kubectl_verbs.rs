//! What kubectl can do and Carpel cannot, and what to do instead: for those whose fingers know the words.

use clap::error::{ContextKind, ContextValue, ErrorKind};

const NO_CONTROLLERS: &str = "There are no Deployments or other controllers here: a manifest is one pod, and `carpel apply -f` \
     takes as many as there should be. To start a pod anew: `carpel delete pod NAME`, and apply its manifest again.";
const CHANGE_MANIFEST: &str = "Objects are what their manifests say: change the manifest, or what `carpel get TYPE NAME -o yaml` \
     prints, and `carpel apply -f` it.";
const NO_SCHEDULER: &str = "Nothing schedules pods onto this node: they are on it until they are deleted. `carpel delete pods --all -A` \
     ends all of them.";
const NO_API_SERVER: &str = "There is no API server and no user but root. `carpel get TYPE` lists objects, `carpel version` tells \
     versions; docs/manifests.md has the kinds, and how to ask the agent by its socket.";

/// Words of kubectl, with what does the same here.
const VERBS: &[(&[&str], &str)] = &[
    (
        &["run"],
        "Pods come from manifests: `carpel apply -f pod.yaml`, or `carpel apply -f -` from standard input. \
         `kubectl run NAME --image=IMAGE --dry-run=client -o yaml` prints one.",
    ),
    (
        &["edit", "patch", "set", "label", "annotate"],
        CHANGE_MANIFEST,
    ),
    (
        &["replace"],
        "`carpel apply -f FILE` makes objects be what the file says; `carpel delete -f FILE` before it makes them anew.",
    ),
    (&["scale", "autoscale", "rollout"], NO_CONTROLLERS),
    (
        &["expose"],
        "There are no Services: `hostPort` of a container's ports opens a port of this machine, and \
         `carpel port-forward POD PORT` forwards one for a while.",
    ),
    (&["drain", "cordon", "uncordon", "taint"], NO_SCHEDULER),
    (
        &["debug"],
        "`carpel exec -it POD -- sh` runs a shell in a container, `carpel inspect` tells all about it, and `nsenter` on \
         this machine enters its namespaces.",
    ),
    (
        &["kustomize"],
        "`kustomize build FOLDER | carpel apply -f -` applies what it makes.",
    ),
    (
        &["proxy"],
        "The API is on a socket: `curl --unix-socket /run/carpel/agent.sock http://localhost/api/v1/pods`.",
    ),
    (
        &[
            "cluster-info",
            "api-resources",
            "api-versions",
            "auth",
            "certificate",
            "options",
            "plugin",
        ],
        NO_API_SERVER,
    ),
];

/// What to do instead of a command that is kubectl's and not Carpel's; nothing if it is neither's.
pub(super) fn instead_of(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    // `Usage: carpel image <COMMAND>`: below which command the word stands.
    let usage = error.get(ContextKind::Usage)?.to_string();
    let words = usage.split_whitespace().skip_while(|it| *it != "Usage:");
    let above: Vec<&str> = words
        .skip(2)
        .take_while(|it| !it.starts_with(['<', '[']))
        .collect();
    match above.as_slice() {
        [] => {}
        ["create"] => {
            return Some(format!(
                "`carpel create {word}` is not here: write a manifest, and `carpel apply -f` it."
            ));
        }
        _ => return None,
    }
    let (_, instead) = VERBS.iter().find(|(verbs, _)| verbs.contains(&&**word))?;
    Some(format!("`{word}` is kubectl's. {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use clap::{CommandFactory, Parser};

    fn instead(line: &str) -> Option<String> {
        let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
        instead_of(&error)
    }

    #[test]
    fn words_of_kubectl_are_answered_with_what_to_do() {
        let said = instead("carpel scale deployment/web --replicas=3").unwrap();
        assert!(
            said.contains("`scale`") && said.contains("carpel apply -f"),
            "{said}"
        );
        let said = instead("carpel create configmap a --from-literal=b=c").unwrap();
        assert!(said.contains("create configmap"), "{said}");
        for line in ["carpel nonsense", "carpel image scale", "carpel get"] {
            assert_eq!(instead(line), None, "{line}");
        }
    }

    #[test]
    fn no_word_is_answered_that_is_a_command() {
        let command = Arguments::command();
        for word in VERBS.iter().flat_map(|(verbs, _)| verbs.iter()) {
            assert!(command.find_subcommand(word).is_none(), "{word}");
        }
    }
}
