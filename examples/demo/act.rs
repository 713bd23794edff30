//! The play: one scene after the other, each with what a person would look at.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::busybox::{self, run};
use super::client::Client;
use super::error::DemoError;
use super::image;
use super::processes;
use super::screen::Screen;
use super::specification;
use super::stage::{Stage, write};
use crate::runtime_v1 as cri;

/// The pod, once it is up.
struct Pod {
    sandbox_id: String,
    web_id: String,
    client_id: String,
}

pub(crate) async fn play(stage: &mut Stage, screen: &mut Screen) -> Result<(), DemoError> {
    let mut client = daemon(stage, screen).await?;
    import(stage, screen)?;
    let pod = bring_up(stage, &mut client, screen).await?;
    status(&mut client, &pod, screen).await?;
    logs(stage, screen).await?;
    exec(&mut client, &pod, screen).await?;
    tree(screen);
    stop(&mut client, &pod, screen).await
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
    screen.command("carpel image list");
    let output = run(stage.carpel().args(["image", "list"]))?;
    screen.quote(&output);
    Ok(())
}

async fn bring_up(
    stage: &mut Stage,
    client: &mut Client,
    screen: &mut Screen,
) -> Result<Pod, DemoError> {
    screen.heading("A pod with two containers that share network and ipc");
    let settings = stage.path("config/web.conf");
    write(&settings, specification::SETTINGS)?;
    screen.command("cat config/web.conf");
    screen.quote(specification::SETTINGS);
    screen.say(&format!(
        "web reads it as {}, mounted read-only, and serves it; client asks over 127.0.0.1.",
        specification::SETTINGS_PATH
    ));
    let sandbox = specification::sandbox(&stage.path("logs"));
    let start = Instant::now();
    let sandbox_id = client.run_sandbox(sandbox.clone()).await?;
    let sandbox_took = start.elapsed();
    stage.note(&sandbox_id);
    let config = specification::web(&settings);
    let web_id = client.create(&sandbox_id, sandbox.clone(), config).await?;
    stage.note(&web_id);
    client.start(&web_id).await?;
    let first_took = start.elapsed();
    let config = specification::client();
    let client_id = client.create(&sandbox_id, sandbox, config).await?;
    stage.note(&client_id);
    client.start(&client_id).await?;
    screen.check(&format!(
        "sandbox ready after {}, first container running after {}, second after {}",
        milliseconds(sandbox_took),
        milliseconds(first_took),
        milliseconds(start.elapsed())
    ));
    Ok(Pod {
        sandbox_id,
        web_id,
        client_id,
    })
}

async fn status(client: &mut Client, pod: &Pod, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Its status");
    let sandbox = client.sandbox_status(&pod.sandbox_id).await?;
    let metadata = sandbox.metadata.unwrap_or_default();
    screen.table(
        ["POD ID", "NAME", "NAMESPACE", "STATE", "IP"],
        &[[
            short(&pod.sandbox_id),
            metadata.name,
            metadata.namespace,
            match cri::PodSandboxState::try_from(sandbox.state) {
                Ok(cri::PodSandboxState::SandboxReady) => "Ready".to_owned(),
                _ => "NotReady".to_owned(),
            },
            sandbox.network.unwrap_or_default().ip,
        ]],
    );
    screen.say("");
    containers(client, pod, screen).await
}

async fn containers(client: &mut Client, pod: &Pod, screen: &mut Screen) -> Result<(), DemoError> {
    let mut rows = Vec::new();
    for id in [&pod.web_id, &pod.client_id] {
        let status = client.container_status(id).await?;
        let state = match cri::ContainerState::try_from(status.state) {
            Ok(cri::ContainerState::ContainerCreated) => "Created",
            Ok(cri::ContainerState::ContainerRunning) => "Running",
            Ok(cri::ContainerState::ContainerExited) => "Exited",
            _ => "Unknown",
        };
        let exit = if state == "Exited" {
            format!("{} ({})", status.exit_code, status.reason)
        } else {
            String::new()
        };
        rows.push([
            short(id),
            status.metadata.unwrap_or_default().name,
            status.image.unwrap_or_default().image,
            state.to_owned(),
            exit,
        ]);
    }
    screen.table(["CONTAINER", "NAME", "IMAGE", "STATE", "EXIT"], &rows);
    Ok(())
}

async fn logs(stage: &Stage, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Its logs, as the kubelet reads them");
    let client_log = stage.path("logs/client.log");
    wait_for("an answer in the client's log", || {
        let text = fs::read_to_string(&client_log).unwrap_or_default();
        text.matches("hello from a file of the host").count() >= 2
    })
    .await?;
    for name in ["web.log", "client.log"] {
        screen.command(&format!("tail -n 4 logs/{name}"));
        screen.quote(&last_lines(&stage.path("logs").join(name), 4));
    }
    Ok(())
}

async fn exec(client: &mut Client, pod: &Pod, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Commands inside");
    let (output, took) = client
        .exec(&pod.web_id, &["ps", "-o", "pid,user,comm"])
        .await?;
    screen.command("exec in web: ps -o pid,user,comm");
    screen.quote(&output);
    screen.say(&format!(
        "(took {}: no runtime is started for it)",
        milliseconds(took)
    ));
    for namespace in ["net", "ipc", "uts", "pid", "mnt"] {
        let link = format!("/proc/self/ns/{namespace}");
        let command = ["readlink", link.as_str()];
        let (of_web, _) = client.exec(&pod.web_id, &command).await?;
        let (of_client, _) = client.exec(&pod.client_id, &command).await?;
        let word = if of_web == of_client {
            "shared"
        } else {
            "own to each"
        };
        screen.say(&format!("    {namespace:4} {word}"));
    }
    client
        .exec(&pod.web_id, &["sh", "-c", "echo from web > /dev/shm/note"])
        .await?;
    let (note, _) = client
        .exec(&pod.client_id, &["cat", "/dev/shm/note"])
        .await?;
    screen.say(&format!(
        "    /dev/shm/note, written in web, read in client: {}",
        note.trim_end()
    ));
    Ok(())
}

fn tree(screen: &mut Screen) {
    screen.heading("Its processes on the host, with their memory");
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

async fn stop(client: &mut Client, pod: &Pod, screen: &mut Screen) -> Result<(), DemoError> {
    screen.heading("Stop and removal");
    for (name, id) in [("client", &pod.client_id), ("web", &pod.web_id)] {
        let start = Instant::now();
        client.stop(id, 5).await?;
        screen.say(&format!(
            "{name} ended by itself {} after SIGTERM",
            milliseconds(start.elapsed())
        ));
    }
    containers(client, pod, screen).await?;
    let start = Instant::now();
    client.remove(&pod.client_id).await?;
    client.remove(&pod.web_id).await?;
    client.stop_sandbox(&pod.sandbox_id).await?;
    client.remove_sandbox(&pod.sandbox_id).await?;
    screen.check(&format!(
        "containers and sandbox removed in {}",
        milliseconds(start.elapsed())
    ));
    Ok(())
}

async fn wait_for(what: &'static str, mut holds: impl FnMut() -> bool) -> Result<(), DemoError> {
    const PATIENCE: Duration = Duration::from_secs(10);
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

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(count);
    lines.get(start..).unwrap_or_default().join("\n")
}

/// As crictl shortens ids.
fn short(id: &str) -> String {
    id.chars().take(13).collect()
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
