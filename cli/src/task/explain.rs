//! `ganger task explain` and `ganger task history`: why a task is where it is, and how it came
//! there.

use ganger_proto::v1;

use crate::{
    client::Client,
    context::Context,
    failure::Failure,
    output::{Table, faint, safe_line, stdout_width, words},
    watch,
};

/// Which task.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task
    id: u64,
    /// How many of the latest events
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: i32,
}

/// Says why the task is where it is, and what happened to it lately, latest first.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = page(&client, args.id, args.limit.max(1), String::new()).await?;
    context.out.answer(&answer, || explanation(&answer))?;
    if !answer.next_page_token.is_empty() {
        context.out.note(&format!(
            "what came before: ganger task history {}",
            args.id
        ));
    }
    Ok(())
}

/// Says all that happened to the task: in JSON as the contract has it, latest first, and to people
/// as it came.
///
/// # Errors
/// What the coordinator refused.
pub async fn history(id: u64, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut all = page(&client, id, 1_000, String::new()).await?;
    while !all.next_page_token.is_empty() {
        let next = page(&client, id, 1_000, all.next_page_token).await?;
        all.history.extend(next.history);
        all.history_cut |= next.history_cut;
        all.next_page_token = next.next_page_token;
    }
    context.out.answer(&all, || told(&all))?;
    Ok(())
}

async fn page(
    client: &Client,
    id: u64,
    page_size: i32,
    page_token: String,
) -> Result<v1::ExplainTaskResponse, Failure> {
    let request = v1::ExplainTaskRequest {
        task_id: id,
        page_size,
        page_token,
        ..v1::ExplainTaskRequest::default()
    };
    client
        .ask(request, |client, request| async move {
            client.tasks().explain_task(request).await
        })
        .await
}

/// The task's line, the reasons, the events.
fn explanation(answer: &v1::ExplainTaskResponse) -> String {
    let task = answer.task.clone().unwrap_or_default();
    let mut text = format!("{}\n", safe_line(&task.line));
    if !answer.because.is_empty() {
        let mut table = Table::new(&["BECAUSE", "", "TASKS"]);
        for because in &answer.because {
            let place = match because.place {
                0 => String::new(),
                place => format!(" (place {place})"),
            };
            table.row(vec![
                format!("{}{place}", safe_line(&because.reason)),
                safe_line(&because.text),
                words::ids(&because.task_ids),
            ]);
        }
        text.push('\n');
        text.push_str(&table.text(stdout_width()));
    }
    text.push('\n');
    for event in &answer.history {
        text.push_str(&watch::dated_line(event));
        text.push('\n');
    }
    if answer.history_cut && answer.next_page_token.is_empty() {
        text.push_str(&cut());
    }
    text
}

/// The events as they came.
fn told(answer: &v1::ExplainTaskResponse) -> String {
    let mut text = match answer.history_cut {
        true => cut(),
        false => String::new(),
    };
    for event in answer.history.iter().rev() {
        text.push_str(&watch::dated_line(event));
        text.push('\n');
    }
    text
}

fn cut() -> String {
    format!("{}\n", faint("older events are not kept any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> v1::ExplainTaskResponse {
        let event = |kind: v1::EventType, seconds| v1::Event {
            at: Some(pbjson_types::Timestamp { seconds, nanos: 0 }),
            r#type: kind.into(),
            actor: "ann".into(),
            task_id: 3,
            ..v1::Event::default()
        };
        v1::ExplainTaskResponse {
            task: Some(v1::Task {
                line: "#3 [pending] Report [blocked by #1]".into(),
                ..v1::Task::default()
            }),
            because: vec![
                v1::Because {
                    reason: "BLOCKED".into(),
                    text: "waits for #1".into(),
                    task_ids: vec![1],
                    ..v1::Because::default()
                },
                v1::Because {
                    reason: "QUEUED".into(),
                    text: "no free slot".into(),
                    place: 2,
                    ..v1::Because::default()
                },
            ],
            history: vec![
                event(v1::EventType::TaskPaused, 1_795_269_600),
                event(v1::EventType::TaskUpdated, 1_795_269_000),
            ],
            history_cut: true,
            ..v1::ExplainTaskResponse::default()
        }
    }

    #[test]
    fn explanation_has_every_reason_and_the_latest_events_first() {
        assert_eq!(
            console::strip_ansi_codes(&explanation(&answer())),
            "#3 [pending] Report [blocked by #1]\n\n\
             BECAUSE                         TASKS\n\
             BLOCKED           waits for #1  #1\n\
             QUEUED (place 2)  no free slot\n\n\
             2026-11-21T14:00:00Z #3 paused (ann)\n\
             2026-11-21T13:50:00Z #3 updated (ann)\n\
             older events are not kept any more\n"
        );
    }

    #[test]
    fn history_is_told_as_it_came() {
        assert_eq!(
            console::strip_ansi_codes(&told(&answer())),
            "older events are not kept any more\n\
             2026-11-21T13:50:00Z #3 updated (ann)\n\
             2026-11-21T14:00:00Z #3 paused (ann)\n"
        );
    }
}
