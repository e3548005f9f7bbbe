//! `ganger task list`.

use std::time::SystemTime;

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    listing,
    output::{Table, safe_line, stdout_width, words},
    values::{Order, Status, number},
};

/// Which tasks. Filters add up.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
All of them are listed, page after page, unless --limit says how many.

Examples:
  ganger task list --ready --order priority
  ganger task list --order tree
  ganger task list --text migration --status in-progress")]
pub struct Args {
    /// Only tasks in this status
    #[arg(long)]
    pub status: Option<Status>,
    /// Only tasks of this owner
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "MEMBER"
    )]
    pub owner: String,
    /// Only tasks with this label
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "WORD"
    )]
    pub label: String,
    /// Only tasks of this agent type
    #[arg(
        long = "type",
        default_value = "",
        hide_default_value = true,
        value_name = "TYPE"
    )]
    pub agent_type: String,
    /// Only tasks whose subject or description has this text, in any case
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    pub text: String,
    /// Only pending tasks that nothing holds back; with =false, all others
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        conflicts_with = "blocked"
    )]
    pub ready: Option<bool>,
    /// Only pending tasks that open blockers hold back; with =false, all others
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub blocked: Option<bool>,
    /// Only children of this task
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    pub parent: u64,
    /// In which order [default: id]
    #[arg(long)]
    pub order: Option<Order>,
    /// How many at the most [default: all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// Lists them.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let client = context.connect().await?;
    let answer = listing::pages(&client, request(args), limit).await?;
    context
        .out
        .answer(&answer, || match answer.tasks.is_empty() {
            true => "no such task".into(),
            false => task_table(&answer.tasks, SystemTime::now()).text(stdout_width()),
        })?;
    if !answer.next_page_token.is_empty() {
        context
            .out
            .note(&format!("there are more than these {limit}"));
    }
    Ok(())
}

fn request(args: Args) -> v1::ListTasksRequest {
    v1::ListTasksRequest {
        status: number::<_, v1::TaskStatus>(args.status),
        owner: args.owner,
        label: args.label,
        agent_type: args.agent_type,
        text: args.text,
        ready: args.ready,
        blocked: args.blocked,
        parent_task_id: args.parent,
        order: number::<_, v1::TaskOrder>(args.order),
        ..v1::ListTasksRequest::default()
    }
}

/// The tasks under each other.
pub fn task_table(tasks: &[v1::Task], now: SystemTime) -> Table {
    let mut table = Table::new(&[
        "ID",
        "STANDS",
        "WHO",
        "FOR",
        "TYPE",
        "BLOCKED BY",
        "SUBJECT",
    ]);
    for task in tasks {
        table.row(vec![
            task.id.to_string(),
            words::standing(task),
            safe_line(listing::who(task)),
            words::run_time(task, now)
                .map(words::span)
                .unwrap_or_default(),
            safe_line(&task.agent_type),
            words::ids(&task.open_blockers),
            format!("{}{}", indent(task.depth), safe_line(&task.subject)),
        ]);
    }
    table
}

/// How far a child stands to the right; deeper than that, a line would hold nothing else.
fn indent(depth: i32) -> String {
    "  ".repeat(usize::try_from(depth).unwrap_or(0).min(20))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &str) -> serde_json::Value {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        serde_json::to_value(request(line.args)).unwrap()
    }

    #[test]
    fn every_filter_and_order_goes_on_the_wire() {
        assert_eq!(asked("list"), serde_json::json!({}));
        assert_eq!(
            asked(
                "list --status pending --owner ann --label a --type shell --text Fix --ready \
                 --parent 3 --order tree"
            ),
            serde_json::json!({
                "status": "TASK_STATUS_PENDING", "owner": "ann", "label": "a",
                "agentType": "shell", "text": "Fix", "ready": true, "parentTaskId": "3",
                "order": "TASK_ORDER_TREE",
            })
        );
        assert_eq!(
            asked("list --blocked=false --order priority"),
            serde_json::json!({"blocked": false, "order": "TASK_ORDER_PRIORITY"})
        );
    }

    #[test]
    fn children_stand_to_the_right_of_their_parents() {
        let task = |id, depth| v1::Task {
            id,
            depth,
            subject: format!("Task {id}"),
            status: v1::TaskStatus::Pending.into(),
            ..v1::Task::default()
        };

        let tasks = [task(1, 0), task(3, 1), task(4, 2), task(2, 0)];
        let lines = task_table(&tasks, SystemTime::UNIX_EPOCH).lines(None);

        let at = |line: &str| line.find("Task").unwrap();
        assert_eq!(at(&lines[2]), at(&lines[1]) + 2);
        assert_eq!(at(&lines[3]), at(&lines[1]) + 4);
        assert_eq!(at(&lines[4]), at(&lines[1]));
    }

    #[test]
    fn table_shows_who_does_what_and_what_is_blocked() {
        let at = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let running = v1::Task {
            id: 1,
            subject: "Count\nlines".into(),
            status: v1::TaskStatus::InProgress.into(),
            phase: v1::TaskPhase::Running.into(),
            runner: "w1".into(),
            agent_type: "shell".into(),
            started_at: at(100),
            ..v1::Task::default()
        };
        let blocked = v1::Task {
            id: 2,
            subject: "Report".into(),
            status: v1::TaskStatus::Pending.into(),
            phase: v1::TaskPhase::Blocked.into(),
            owner: "ann".into(),
            open_blockers: vec![1],
            ..v1::Task::default()
        };
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(112);

        let text = task_table(&[running, blocked], now).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "ID  STANDS   WHO  FOR  TYPE   BLOCKED BY  SUBJECT\n\
             1   running  w1   12s  shell              Count lines\n\
             2   blocked  ann              #1          Report\n"
        );
    }
}
