//! `ganger task batch`: many tasks in one commit, from JSON.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use ganger_proto::v1;
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    failure::Failure,
    flags::RequestId,
    input,
    output::{safe_line, words},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Put tasks on the board, all or none
    #[command(after_help = "\
The file is a JSON array of tasks, or the JSON of BatchCreateTasks. The fields are those of the
contract: subject, description, active_form, owner, blocks, blocked_by, blocked_by_items, metadata,
priority, labels, agent_type, prompt, parent_task_id, kind, deadline, timeout and more. What stands
in blocked_by_items names earlier tasks of the same file by their place, from 0.

Example:
  echo '[{\"subject\": \"Analyze\"}, {\"subject\": \"Report\", \"blocked_by_items\": [0]}]' |
      ganger task batch create -")]
    Create(Args),
    /// Change tasks in order, all or none: each change sees what the earlier ones did
    #[command(after_help = "\
The file is a JSON array of changes, or the JSON of BatchUpdateTasks. A change has a task_id, and
the fields of the contract that change: status, owner, subject, add_blocked_by, metadata, result
and more.

Example:
  echo '[{\"task_id\": 1, \"status\": \"TASK_STATUS_COMPLETED\"},
         {\"task_id\": 2, \"status\": \"TASK_STATUS_IN_PROGRESS\"}]' | ganger task batch update -")]
    Update(Args),
}

/// What is to be done.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file; - for stdin
    file: PathBuf,
    #[command(flatten)]
    request_id: RequestId,
}

/// Does it.
///
/// # Errors
/// Where the file makes no sense, and what the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create(args, context).await,
        Verb::Update(args) => update(args, context).await,
    }
}

async fn create(args: Args, context: &Context) -> Result<(), Failure> {
    let mut request = read(&args.file, |tasks| v1::BatchCreateTasksRequest {
        tasks,
        ..v1::BatchCreateTasksRequest::default()
    })?;
    identify(&mut request.request_id, args.request_id);
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().batch_create_tasks(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        let lines: Vec<String> = answer.tasks.iter().map(|t| safe_line(&t.line)).collect();
        lines.join("\n")
    })?;
    Ok(())
}

async fn update(args: Args, context: &Context) -> Result<(), Failure> {
    let mut request = read(&args.file, |updates| v1::BatchUpdateTasksRequest {
        updates,
        ..v1::BatchUpdateTasksRequest::default()
    })?;
    identify(&mut request.request_id, args.request_id);
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().batch_update_tasks(request).await
        })
        .await?;
    context.out.answer(&answer, || said(&answer))?;
    Ok(())
}

/// The flag goes before the file, and a new id takes the place of neither.
fn identify(id: &mut String, flag: RequestId) {
    if flag.is_said() || id.is_empty() {
        *id = flag.or_new();
    }
}

fn said(answer: &v1::BatchUpdateTasksResponse) -> String {
    let mut lines = Vec::new();
    for update in &answer.updates {
        let task = update.task.as_ref();
        let mut line = safe_line(task.map(|task| task.line.as_str()).unwrap_or_default());
        if !update.unblocked.is_empty() {
            line.push_str(&format!("; freed {}", words::ids(&update.unblocked)));
        }
        lines.push(line);
    }
    // One sentence is enough, however many of them ended something.
    let nudge = answer
        .updates
        .iter()
        .rfind(|update| update.verification_nudge_needed);
    lines.extend(nudge.map(|update| safe_line(&update.verification_nudge)));
    lines.join("\n")
}

/// The request of a file: whole, or only its items.
fn read<T: DeserializeOwned, Q: DeserializeOwned>(
    path: &Path,
    of_items: impl Fn(Vec<T>) -> Q,
) -> Result<Q, Failure> {
    let text = input::read_text(path)?;
    let parsed = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(&text).map(of_items),
        false => serde_json::from_str(&text),
    };
    parsed.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_tasks(tasks: Vec<v1::NewTask>) -> v1::BatchCreateTasksRequest {
        v1::BatchCreateTasksRequest {
            tasks,
            ..v1::BatchCreateTasksRequest::default()
        }
    }

    fn parsed(text: &str) -> Result<v1::BatchCreateTasksRequest, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        std::fs::write(&path, text).unwrap();
        read(&path, of_tasks)
    }

    #[test]
    fn file_is_the_items_or_the_whole_request_in_either_spelling() {
        let items = parsed(
            r#"[{"subject": "Analyze"},
                {"subject": "Report", "blocked_by_items": [0], "activeForm": "Writing"}]"#,
        )
        .unwrap();
        assert_eq!(items.tasks.len(), 2);
        assert_eq!(items.tasks[1].blocked_by_items, [0]);
        assert_eq!(items.tasks[1].active_form, "Writing");

        let whole = parsed(r#"{"tasks": [{"subject": "Analyze"}], "requestId": "abc"}"#).unwrap();
        assert_eq!((whole.tasks.len(), whole.request_id.as_str()), (1, "abc"));
    }

    #[test]
    fn misspelt_field_is_wrong_usage_and_says_where() {
        let failure = parsed("[{\"subject\": \"a\"},\n {\"subjct\": \"b\"}]").unwrap_err();

        assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
        let text = failure.to_string();
        for fact in ["plan.json", "`subjct`", "line 2"] {
            assert!(text.contains(fact), "no {fact} in {text}");
        }
    }

    #[test]
    fn request_id_of_the_file_is_kept_unless_a_flag_says_another() {
        let mut id = "of the file".to_owned();
        identify(&mut id, RequestId::default());
        assert_eq!(id, "of the file");

        identify(&mut id, RequestId::said("of the flag"));
        assert_eq!(id, "of the flag");

        let mut id = String::new();
        identify(&mut id, RequestId::default());
        assert_eq!(id.len(), 36);
    }

    #[test]
    fn changes_are_told_in_order_with_what_they_freed_and_one_nudge() {
        let update = |line: &str, unblocked: Vec<u64>| v1::UpdateTaskResponse {
            task: Some(v1::Task {
                line: line.into(),
                ..v1::Task::default()
            }),
            unblocked,
            verification_nudge_needed: true,
            verification_nudge: "have somebody verify".into(),
            ..v1::UpdateTaskResponse::default()
        };
        let answer = v1::BatchUpdateTasksResponse {
            updates: vec![
                update("#1 [completed] Analyze", vec![2]),
                update("#2 [in_progress] Report", vec![]),
            ],
        };

        assert_eq!(
            said(&answer),
            "#1 [completed] Analyze; freed #2\n#2 [in_progress] Report\nhave somebody verify"
        );
    }
}
