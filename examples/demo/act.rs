//! The play: one scene after the other, each with what a person would look at. Everything is done by the program `carpel`
//! and plain manifests, those of `examples/manifests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::busybox::{self, run};
use super::client::Client;
use super::error::DemoError;
use super::image;
use super::processes;
use super::screen::Screen;
use super::stage::{Stage, write};
use super::timeline::Timeline;

/// How long a pod may take; the demo as a whole takes seconds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn play(stage: &mut Stage, screen: &mut Screen) -> Result<(), DemoError> {
    let mut client = daemon(stage, screen).await?;
    import(stage, screen)?;
    let timeline = Timeline::begin(stage)?;
    apply(stage, &mut client, screen).await?;
    projected(stage, screen).await?;
    host_aliases(stage, screen).await?;
    who_am_i(stage, screen)?;
    lifecycle(stage, screen)?;
    timeline.end(screen)?;
    tree(screen);
    delete(stage, screen)
}

/// The folder of manifests.
pub(crate) fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/manifests")
}

async fn daemon(stage: &mut Stage, screen: &mut Screen) -> Result<Client, DemoError> {
    screen.heading("A daemon with a configuration of its own");
    screen.say(
        "It runs in a network and a mount namespace of the demo; this machine's are untouched.",
    );
    let text = stage.configure()?;
    screen.command("cat carpel.toml");
    screen.quote(&text);
    screen.command("carpel serve --config carpel.toml &");
    let start = Instant::now();
    let mut client = stage.start_daemon().await?;
    let took = start.elapsed();
    let version = client.version().await?;
    screen.check(&format!(
        "{} {} answers after {}",
        version.runtime_name,
        version.runtime_version,
        milliseconds(took)
    ));
    Ok(client)
}

fn import(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("An image from Debian's static busybox");
    let program = busybox::find(&stage.path(""), screen)?;
    let archive = stage.path("busybox.tar");
    image::build(&program, &archive)?;
    screen.command("carpel image import busybox.tar");
    let start = Instant::now();
    let output = run(stage.carpel().args(["image", "import"]).arg(&archive))?;
    screen.quote(&output);
    screen.check(&format!("imported in {}", milliseconds(start.elapsed())));
    Ok(())
}

/// Runs `carpel` and shows what was typed and what came.
fn show(stage: &Stage, screen: &mut Screen, words: &[&str]) -> Result<String, DemoError> {
    screen.command(&format!("carpel {}", words.join(" ")));
    let output = run(stage.carpel().args(words))?;
    screen.quote(output.trim_end());
    Ok(output)
}

async fn apply(
    stage: &mut Stage,
    client: &mut Client,
    screen: &mut Screen,
) -> Result<(), DemoError> {
    screen.heading("Kubernetes manifests, without a cluster");
    let start = Instant::now();
    screen.command("carpel apply -f examples/manifests");
    let output = run(stage.carpel().args(["apply", "-f"]).arg(manifests()))?;
    screen.quote(output.trim_end());
    let ready = ["pod/test-projected-volume", "pod/who-am-i"];
    let words = ["wait", "--for=condition=Ready", ready[0], ready[1]];
    show(stage, screen, &words)?;
    screen.check(&format!(
        "ready {} after the apply began",
        milliseconds(start.elapsed())
    ));
    for id in client.sandboxes().await? {
        stage.note(&id);
    }
    show(stage, screen, &["get", "pods", "-o", "wide"]).map(drop)
}

async fn projected(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Two Secrets as files, and one of them is changed");
    let inside = ["exec", "--sync", "test-projected-volume", "--"];
    let with =
        |words: &[&'static str]| -> Vec<&str> { inside.iter().chain(words).copied().collect() };
    show(stage, screen, &with(&["ls", "-l", "/projected-volume"]))?;
    let password = with(&["cat", "/projected-volume/password.txt"]);
    let before = show(stage, screen, &password)?;
    let manifest = manifests().join("test-projected-volume.yaml");
    let text = fs::read_to_string(&manifest).map_err(DemoError::file("read", &manifest))?;
    let changed = stage.path("test-projected-volume.yaml");
    write(&changed, &text.replace("1f2d1e2e67df", "another-password"))?;
    screen.command("sed -i s/1f2d1e2e67df/another-password/ test-projected-volume.yaml");
    screen.command("carpel apply -f test-projected-volume.yaml");
    let start = Instant::now();
    let output = run(stage.carpel().args(["apply", "-f"]).arg(&changed))?;
    screen.quote(output.trim_end());
    wait_for("the new password in the pod", || {
        run(stage.carpel().args(&password)).is_ok_and(|now| now != before)
    })
    .await?;
    let took = start.elapsed();
    show(stage, screen, &password)?;
    screen.check(&format!(
        "the running pod sees it after {}",
        milliseconds(took)
    ));
    Ok(())
}

async fn host_aliases(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Names of its own in /etc/hosts");
    let words = [
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/hostaliases-pod",
    ];
    show(stage, screen, &words)?;
    let logs = show(stage, screen, &["logs", "hostaliases-pod"])?;
    match logs.contains("10.1.2.3\tfoo.remote\tbar.remote") {
        true => screen.check("foo.remote and bar.remote are 10.1.2.3"),
        false => {
            return Err(DemoError::Late {
                what: "the names in /etc/hosts",
                seconds: 0,
            });
        }
    }
    Ok(())
}

fn who_am_i(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("A ConfigMap, what the pod is, and a token, in one volume");
    let script = "cd /etc/everything && head -n 9 config/colour labels uid && env | grep POD_";
    let words = ["exec", "--sync", "who-am-i", "--", "sh", "-c", script];
    show(stage, screen, &words)?;
    let words = [
        "exec",
        "--sync",
        "who-am-i",
        "--",
        "cat",
        "/etc/everything/token",
    ];
    screen.command(&format!(
        "carpel {} | cut -d. -f2 | base64 -d",
        words.join(" ")
    ));
    let token = run(stage.carpel().args(words))?;
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    screen.quote(&String::from_utf8_lossy(&claims));
    show(stage, screen, &["token", "jwks"]).map(drop)
}

fn lifecycle(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("An init container, hooks, and a probe that says when the pod is ready");
    let words = ["wait", "--for=condition=Initialized", "pod/lifecycle"];
    show(stage, screen, &words)?;
    // The hook's work is there once the container counts as running.
    let words = [
        "wait",
        "--for=jsonpath={.status.phase}=Running",
        "pod/lifecycle",
    ];
    run(stage.carpel().args(words))?;
    let script = "cat /site/index.html /site/started";
    let words = ["exec", "--sync", "lifecycle", "--", "sh", "-c", script];
    show(stage, screen, &words)?;
    show(stage, screen, &["get", "pods", "lifecycle"])?;
    screen.say("It runs, but /ready is not there yet: the readiness probe says no.");
    let words = ["exec", "--sync", "lifecycle", "--", "touch", "/site/ready"];
    show(stage, screen, &words)?;
    let start = Instant::now();
    show(
        stage,
        screen,
        &["wait", "--for=condition=Ready", "pod/lifecycle"],
    )?;
    screen.check(&format!("ready {} later", milliseconds(start.elapsed())));
    show(stage, screen, &["describe", "pod", "lifecycle"])?;
    Ok(())
}

fn tree(screen: &mut Screen) {
    screen.heading("Their processes on the host, with their memory");
    let rows: Vec<[String; 3]> = processes::descendants()
        .into_iter()
        .map(|process| {
            [
                process.pid.to_string(),
                process
                    .proportional_kib
                    .map_or_else(|| "-".to_owned(), |kib| format!("{kib} KiB")),
                format!("{}{}", "   ".repeat(process.depth - 1), process.command),
            ]
        })
        .collect();
    screen.table(["PID", "PSS", "COMMAND"], &rows);
}

fn delete(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("The end of the pods");
    screen.command("carpel delete --now -f examples/manifests");
    let start = Instant::now();
    let mut command = stage.carpel();
    command.args(["delete", "--now", "-f"]).arg(manifests());
    let output = run(&mut command)?;
    screen.quote(output.trim_end());
    screen.check(&format!("all gone in {}", milliseconds(start.elapsed())));
    show(stage, screen, &["pods"]).map(drop)
}

async fn wait_for(what: &'static str, mut holds: impl FnMut() -> bool) -> Result<(), DemoError> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return Err(DemoError::Late {
                what,
                seconds: PATIENCE.as_secs(),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
