//! A plugin written for the tests, which fails as it is told to.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::Network;
use super::Node;

/// A plugin that notes each call, `VERB CONTAINER NETNS`, and acts as the file `act-VERB` says. Under another name than
/// `script` its files are in a folder of that name.
const SCRIPT: &str = r#"#!/bin/sh
here=HERE
verb=$CNI_COMMAND
name=${0##*/}
[ "$name" = script ] || here=$here/$name
cat >"$here/input-$verb"
[ $verb = VERSION ] || echo "$verb $CNI_CONTAINERID $CNI_NETNS" >>"$here/calls"
case $(cat "$here/act-$verb" 2>/dev/null) in
fail) echo '{"code":100,"msg":"made to fail","details":"by the test"}'; exit 1 ;;
unready) echo '{"code":50,"msg":"no route yet"}'; exit 1 ;;
hang) sleep 1000 & sleep 1000; exit 0 ;;
garbage) echo 'no JSON'; exit 0 ;;
die) kill -KILL $$ ;;
esac
case $verb in
ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}' ;;
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
esac
"#;

impl Node {
    /// Installs the plugin and a configuration with it.
    pub(super) fn install(&self) {
        self.write("plugin/calls", "");
        self.install_program("script");
        self.configure("1.1.0", &json!([{ "type": "script" }]));
    }

    /// Installs the program under a name; a new file each time.
    pub(super) fn install_program(&self, name: &str) {
        let here = self.directory.path().join("plugin");
        self.write(
            "bin/text",
            &SCRIPT.replace("HERE", &here.display().to_string()),
        );
        // Written by another process: a child of another test that has our descriptor for a moment would make it busy.
        let copy = format!(
            "mkdir -p {0}/{name}; cp text {name}.new; chmod 755 {name}.new; mv {name}.new {name}",
            here.display()
        );
        let status = Command::new("sh")
            .args(["-ec", &copy])
            .current_dir(self.directory.path().join("bin"))
            .status();
        assert!(status.unwrap().success());
    }

    pub(super) fn act(&self, verb: &str, how: &str) {
        self.write(&format!("plugin/act-{verb}"), how);
    }

    /// The verbs that were called since the last time, with the container; without the GC of a start.
    pub(super) fn calls(&self) -> Vec<String> {
        let mut calls = self.all_calls();
        calls.retain(|call| call != "GC ");
        calls
    }

    pub(super) fn all_calls(&self) -> Vec<String> {
        let path = self.directory.path().join("plugin/calls");
        let text = fs::read_to_string(&path).unwrap();
        self.write("plugin/calls", "");
        text.lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }

    pub(super) fn input(&self, verb: &str) -> Value {
        let path = self.directory.path().join(format!("plugin/input-{verb}"));
        // Half of it, while the plugin is writing, is as good as nothing.
        serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or_default()
    }

    /// How errors name the plugin at a verb: with the network and its file.
    pub(super) fn named(&self, verb: &str) -> String {
        let file = self.directory.path().join("net.d/10-test.conflist");
        format!(
            "CNI {verb} by plugin \"script\" of network \"test\" ({}): ",
            file.display()
        )
    }

    /// The processes of plugins that are left: they have the node's plugin directory in their environment.
    pub(super) fn plugins_left(&self) -> Vec<String> {
        let own = format!("CNI_PATH={}", self.directory.path().display());
        let left = |process: &Path| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable.starts_with(own.as_bytes()))
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let left = processes.filter(|entry| left(&entry.path()));
        left.map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    /// A patience that tests can wait for.
    pub(super) async fn start_impatient(&self, live: &[&str]) -> Network {
        let mut config = self.cni_config();
        config.cni.timeout = Duration::from_millis(700);
        let live = live.iter().map(ToString::to_string).collect();
        Network::start(config, &live).await.unwrap()
    }
}

pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn message(error: &(dyn std::error::Error + 'static)) -> String {
    super::super::cni::chain(error)
}
