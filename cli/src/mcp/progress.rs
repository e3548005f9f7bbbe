//! What is told while a call waits: how long already, and what it waits for.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use ganger_proto::v1;
use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::Peer,
};
use serde_json::Value;

use super::bridge::{Bridge, Call};

/// The first word comes soon, the others now and then: hosts take silence for a hang.
const FIRST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(5);
/// How long the look at the board may take that a word is made of.
const LOOK_SPAN: Duration = Duration::from_secs(2);
/// How many tasks are told of by name.
const LINES_MAX: usize = 3;

/// Tells the client again and again how its call is.
pub async fn tell(
    bridge: &Bridge,
    call: &Call,
    token: ProgressToken,
    peer: Peer<RoleServer>,
) -> Infallible {
    let began = Instant::now();
    let mut ticks = tokio::time::interval_at((began + FIRST).into(), EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut awaited = Awaited::of(call);
    loop {
        ticks.tick().await;
        let looked = tokio::time::timeout(LOOK_SPAN, awaited.look(bridge, call)).await;
        let elapsed = began.elapsed().as_secs_f64();
        let mut message = format!("{elapsed:.0} s");
        if let Ok(Some(seen)) = looked {
            message.push_str(": ");
            message.push_str(&seen);
        }
        let word = ProgressNotificationParam::new(token.clone(), elapsed).with_message(message);
        if let Err(error) = peer.notify_progress(word).await {
            tracing::debug!(%error, "the client takes no progress");
        }
    }
}

/// What a call waits for.
#[derive(Debug, PartialEq, Eq)]
enum Awaited {
    /// These tasks.
    Tasks(Vec<u64>),
    /// The task that it makes; its id isn't known yet.
    OwnTask,
    /// Mail.
    Mail,
    /// Nothing but the coordinator's answer.
    Answer,
}

impl Awaited {
    fn of(call: &Call) -> Self {
        match call.tool.as_str() {
            "wait_tasks" => {
                let ids = match call.arguments.get("task_ids") {
                    Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
                    Some(one) => id(one).into_iter().collect(),
                    None => Vec::new(),
                };
                Self::Tasks(ids)
            }
            "task" => Self::OwnTask,
            "read_messages" => Self::Mail,
            _ => Self::Answer,
        }
    }

    /// What is seen of it; none where nothing is.
    async fn look(&mut self, bridge: &Bridge, call: &Call) -> Option<String> {
        if *self == Self::OwnTask {
            *self = Self::Tasks(vec![own_task(bridge, call).await?]);
        }
        match self {
            Self::Tasks(ids) => board(bridge, call, ids).await,
            Self::OwnTask | Self::Answer => None,
            Self::Mail => Some("waiting for mail".to_owned()),
        }
    }
}

/// The id of the task that a call of `task` makes and waits for: the same call, answered at once,
/// finds the same task.
async fn own_task(bridge: &Bridge, call: &Call) -> Option<u64> {
    let mut same = call.clone();
    let at_once = Value::Bool(true);
    same.arguments
        .insert("run_in_background".to_owned(), at_once);
    let answer = bridge.send(&same).await.ok()?;
    answer.result.get("task_id").and_then(id)
}

fn id(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().trim_start_matches('#').parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// How many of the tasks are over, and what the first others are doing.
async fn board(bridge: &Bridge, call: &Call, ids: &[u64]) -> Option<String> {
    let client = bridge.client().await.ok()?;
    let request = v1::WaitTasksRequest {
        team: bridge.team_of(call).unwrap_or_default(),
        task_ids: ids.to_vec(),
        // A look, and no wait.
        timeout: Some(Duration::ZERO.into()),
        wait_on: true,
        ..v1::WaitTasksRequest::default()
    };
    let seen = client.delegation().wait_tasks(request).await.ok()?;
    Some(in_words(&seen.into_inner()))
}

fn in_words(seen: &v1::WaitTasksResponse) -> String {
    let is_open = |task: &&v1::Task| task.finished_at.is_none();
    let open: Vec<&v1::Task> = seen.tasks.iter().filter(is_open).collect();
    let mut words = Vec::new();
    if seen.tasks.len() > 1 {
        words.push(format!("{} of {} over", seen.finished, seen.tasks.len()));
    }
    for task in open.iter().take(LINES_MAX) {
        words.push(match task.phase_reason.as_str() {
            "" => task.line.clone(),
            reason => format!("{} ({reason})", task.line),
        });
    }
    if open.len() > LINES_MAX {
        words.push(format!("and {} more", open.len() - LINES_MAX));
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(tool: &str, arguments: Value) -> Call {
        let Value::Object(arguments) = arguments else {
            panic!("no object");
        };
        Call {
            tool: tool.into(),
            arguments,
            request_id: String::new(),
        }
    }

    #[test]
    fn what_a_call_waits_for_is_seen_from_its_arguments() {
        let of = |tool, arguments| Awaited::of(&call(tool, arguments));

        let ids = json!({"task_ids": ["1", "#2", 3, null]});
        assert_eq!(of("wait_tasks", ids), Awaited::Tasks(vec![1, 2, 3]));
        assert_eq!(
            of("wait_tasks", json!({"task_ids": 4})),
            Awaited::Tasks(vec![4])
        );
        assert_eq!(of("task", json!({})), Awaited::OwnTask);
        assert_eq!(of("read_messages", json!({})), Awaited::Mail);
        assert_eq!(of("TaskList", json!({})), Awaited::Answer);
    }

    #[test]
    fn words_count_what_is_over_and_name_the_first_others() {
        let task = |id: u64, is_over: bool| v1::Task {
            id,
            line: format!("#{id} line"),
            phase_reason: if id == 2 {
                "no free slot".into()
            } else {
                String::new()
            },
            finished_at: is_over.then(pbjson_types::Timestamp::default),
            ..v1::Task::default()
        };
        let seen = |tasks: Vec<v1::Task>| v1::WaitTasksResponse {
            finished: i32::try_from(tasks.iter().filter(|t| t.finished_at.is_some()).count())
                .unwrap(),
            tasks,
            ..v1::WaitTasksResponse::default()
        };

        assert_eq!(in_words(&seen(vec![task(1, false)])), "#1 line");
        let many = (1..=6).map(|id| task(id, id == 1)).collect();
        assert_eq!(
            in_words(&seen(many)),
            "1 of 6 over; #2 line (no free slot); #3 line; #4 line; and 2 more"
        );
    }
}
