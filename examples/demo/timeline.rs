//! How phases and conditions of pods change: `carpel get pods --watch`, collected from the first apply on and shown at the end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::error::DemoError;
use super::screen::Screen;
use super::stage::Stage;

/// A watch that runs.
pub(crate) struct Timeline {
    watch: Child,
    path: PathBuf,
    began: Instant,
}

impl Timeline {
    /// Begins to watch.
    pub(crate) fn begin(stage: &Stage) -> Result<Self, DemoError> {
        let path = stage.path("watch.json");
        let file = File::create(&path).map_err(DemoError::file("make", &path))?;
        let watch = stage
            .carpel()
            .args(["get", "pods", "--watch", "-o", "json"])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .map_err(|source| DemoError::Run {
                program: "carpel".to_owned(),
                source,
            })?;
        Ok(Self {
            watch,
            path,
            began: Instant::now(),
        })
    }

    /// Ends it, and shows what it has seen.
    pub(crate) fn end(mut self, screen: &mut Screen) -> Result<(), DemoError> {
        screen.heading("Phases and conditions, as they changed");
        screen.command("carpel get pods --watch -o json");
        self.watch.kill().and_then(|()| self.watch.wait()).ok();
        let text = fs::read_to_string(&self.path).map_err(DemoError::file("read", &self.path))?;
        let mut rows: Vec<[String; 3]> = Vec::new();
        for line in text.lines() {
            let Ok(pod) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let row = row(&pod);
            let known = rows.iter().rev().find(|known| known[0] == row[0]);
            if known != Some(&row) {
                rows.push(row);
            }
        }
        screen.table(["POD", "PHASE", "CONDITIONS THAT HOLD"], &rows);
        screen.check(&format!(
            "{} changes within {:.1} s",
            rows.len(),
            self.began.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // It may have ended already.
        self.watch.kill().and_then(|()| self.watch.wait()).ok();
    }
}

fn row(pod: &Value) -> [String; 3] {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let conditions = pod["status"]["conditions"].as_array();
    let holding: Vec<String> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .map(|condition| text(&condition["type"]))
        .collect();
    [
        text(&pod["metadata"]["name"]),
        text(&pod["status"]["phase"]),
        holding.join(" "),
    ]
}
