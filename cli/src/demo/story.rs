//! How the demo ends: the report, where its artifacts lie, and how long each step took.

use std::{
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use ganger_proto::v1;
use owo_colors::Style;
use serde::Serialize;

use super::new_dir;
use crate::{
    artifact,
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    listing,
    output::{Table, faint, paint, safe_block, safe_line, words},
    task,
};

/// What the verification found, as a file beside the report.
const VERIFICATION_FILE: &str = "verification.md";

/// What came out, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    tasks: &'a [v1::Task],
    files: &'a [PathBuf],
    seconds: f64,
}

/// Keeps what came out, and tells it.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn tell(
    client: &Client,
    out: Option<&Path>,
    began: Instant,
    context: &Context,
) -> Result<Exit, Failure> {
    let tasks = whole_board(client).await?;
    let is_done = tasks
        .iter()
        .all(|task| task.status() == v1::TaskStatus::Completed);
    let dir = match out {
        Some(dir) => dir.to_owned(),
        None => new_dir("ganger-report-")?.keep(),
    };
    let files = save(client, &tasks, &dir).await?;
    let seconds = began.elapsed();

    if context.out.is_json() {
        let told = Told {
            tasks: &tasks,
            files: &files,
            seconds: seconds.as_secs_f64(),
        };
        context.out.record(&told, || None)?;
    } else {
        let report = files.iter().find(|file| file.ends_with("report.md"));
        if let Some(report) = report {
            anstream::println!("\n{}", read_report(report)?);
        }
        anstream::println!("\n{}", steps(&tasks).text(None));
        for task in tasks
            .iter()
            .filter(|task| task.status() == v1::TaskStatus::Failed)
        {
            anstream::println!("{}", why(client, task).await);
        }
        if !files.is_empty() {
            anstream::println!("artifacts:");
        }
        for file in &files {
            anstream::println!("  {}", file.display());
        }
        let verdict = match is_done {
            true => paint(
                "the report is written and verified",
                Style::new().green().bold(),
            ),
            false => paint("not everything could be done", Style::new().red().bold()),
        };
        anstream::println!(
            "{verdict} {}",
            faint(&format!("in {}", words::span(seconds)))
        );
    }
    Ok(if is_done {
        Exit::Done
    } else {
        Exit::TaskFailed
    })
}

/// Every task of the demo, whole.
async fn whole_board(client: &Client) -> Result<Vec<v1::Task>, Failure> {
    let list = listing::pages(client, v1::ListTasksRequest::default(), usize::MAX).await?;
    let mut tasks = Vec::with_capacity(list.tasks.len());
    for listed in list.tasks {
        tasks.push(task::get(client, listed.id).await?);
    }
    Ok(tasks)
}

/// Copies the artifacts out, and what the verification found; answers where they lie.
async fn save(client: &Client, tasks: &[v1::Task], dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unwritten = |error| Failure::local(format!("can't write to {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(unwritten)?;
    let mut files = Vec::new();
    for task in tasks {
        for output in &task.outputs {
            files.push(artifact::save_below(client, output, dir).await?);
        }
        if task.kind() == v1::TaskKind::Verification && !task.result.is_empty() {
            let file = dir.join(VERIFICATION_FILE);
            std::fs::write(&file, &task.result).map_err(unwritten)?;
            files.push(file);
        }
    }
    Ok(files)
}

fn read_report(path: &Path) -> Result<String, Failure> {
    let report = std::fs::read(path)
        .map_err(|error| Failure::local(format!("can't read {}: {error}", path.display())))?;
    let report = safe_block(&String::from_utf8_lossy(&report));
    let heads = report.lines().map(|line| match line.starts_with('#') {
        true => paint(line, Style::new().bold()),
        false => line.to_owned(),
    });
    Ok(heads.collect::<Vec<_>>().join("\n"))
}

/// Who did what, and how long it took.
fn steps(tasks: &[v1::Task]) -> Table {
    let mut table = Table::new(&["ID", "STEP", "WHO", "WAITED", "TOOK", "ENDED"]);
    for task in tasks {
        table.row(vec![
            format!("#{}", task.id),
            safe_line(&task.subject),
            safe_line(listing::who(task)),
            waited(task),
            words::run_time(task, SystemTime::now())
                .map(words::exact_span)
                .unwrap_or_default(),
            words::standing(task),
        ]);
    }
    table
}

/// How long it was from the plan to the start.
fn waited(task: &v1::Task) -> String {
    let created = task.created_at.as_ref().and_then(words::instant);
    let started = task.started_at.as_ref().and_then(words::instant);
    match (created, started) {
        (Some(created), Some(started)) => {
            words::exact_span(started.duration_since(created).unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// Why a task failed: its error, and what it wrote to stderr.
async fn why(client: &Client, task: &v1::Task) -> String {
    let mut text = format!("#{} failed: {}", task.id, safe_line(&task.error));
    let request = v1::WatchTranscriptRequest {
        task_id: task.id,
        no_follow: true,
        ..v1::WatchTranscriptRequest::default()
    };
    let Ok(answer) = client.delegation().watch_transcript(request).await else {
        return text;
    };
    let mut stream = answer.into_inner();
    while let Ok(Some(answer)) = stream.message().await {
        for record in answer.records {
            if record.kind() != v1::TranscriptKind::Stdout {
                text.push_str(&format!("\n  {}", safe_block(record.text.trim_end())));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_say_who_waited_and_took_how_long() {
        let at = |millis: i64| {
            Some(pbjson_types::Timestamp {
                seconds: millis / 1_000,
                nanos: i32::try_from(millis % 1_000).unwrap() * 1_000_000,
            })
        };
        let task = v1::Task {
            id: 5,
            subject: "Write the report".into(),
            status: v1::TaskStatus::Completed.into(),
            started_by: "worker-2".into(),
            created_at: at(1_000),
            started_at: at(1_250),
            finished_at: at(1_262),
            ..v1::Task::default()
        };

        assert_eq!(
            console::strip_ansi_codes(&steps(&[task]).text(None)),
            "ID  STEP              WHO       WAITED  TOOK  ENDED\n\
             #5  Write the report  worker-2  250ms   12ms  completed\n"
        );
    }
}
