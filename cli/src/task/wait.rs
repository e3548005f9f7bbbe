//! `ganger task wait`: until tasks are over.
//!
//! The wait is the caller's own: its end stops nothing, and a break of the wire is bridged.

use std::time::{Duration, SystemTime};

use ganger_proto::v1;
use tokio::time::{Instant, timeout_at};

use super::list::task_table;
use crate::{
    client::Client,
    context::{Context, wait_over},
    failure::{Exit, Failure},
    follow::Patience,
    output::{safe_line, stdout_width},
    values,
};

/// How much longer than asked an answer may take before the wait is given up.
const SLACK: Duration = Duration::from_secs(2);

/// For what.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit 0 where every task waited for was completed (with --any: where one was), 3 where one failed
or was cancelled, 124 where --timeout was over first. The tasks go on all the same.

Exit 75 where a sub-agent asks something, which is printed (ganger task answer ID TEXT), and where
none of the tasks can get on without you or a person, which is printed with why. Not so with
--wait-on.

Examples:
  ganger task wait 3 4 5 --timeout 10m
  ganger task wait --any 3,4,5")]
pub struct Args {
    /// The tasks
    #[arg(required = true, value_delimiter = ',', value_name = "ID")]
    ids: Vec<u64>,
    /// Until one of them is over, rather than all
    #[arg(long)]
    any: bool,
    /// Wait on although one of them asks, or none of them can get on
    #[arg(long)]
    wait_on: bool,
}

/// Waits.
///
/// # Errors
/// What the coordinator refused, or where it is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let request = v1::WaitTasksRequest {
        until: match args.any {
            true => v1::WaitUntil::Any,
            false => v1::WaitUntil::All,
        }
        .into(),
        task_ids: args.ids,
        wait_on: args.wait_on,
        ..v1::WaitTasksRequest::default()
    };
    let answer = match context.settings.timeout {
        None => wait(context, request, None).await?,
        Some(span) => {
            let end = Instant::now() + span;
            // The coordinator ends the wait itself; this is for one that doesn't answer.
            let waited = timeout_at(end + SLACK, wait(context, request, Some(end))).await;
            waited.unwrap_or_else(|_| Err(wait_over(span)))?
        }
    };
    context.out.answer(&answer, || {
        task_table(&answer.tasks, SystemTime::now()).text(stdout_width())
    })?;
    if answer.timed_out {
        context.out.note(&format!(
            "the wait is over; {} of {} are",
            answer.finished,
            answer.tasks.len()
        ));
    }
    for line in wants(&answer) {
        context.out.note(&line);
    }
    if answer.verification_nudge_needed {
        context
            .out
            .note("it is time for somebody to verify the work");
    }
    Ok(exit(&answer, args.any))
}

async fn wait(
    context: &Context,
    mut request: v1::WaitTasksRequest,
    end: Option<Instant>,
) -> Result<v1::WaitTasksResponse, Failure> {
    let client: Client = context.connect().await?;
    let mut patience = Patience::default();
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        request.timeout = left.map(values::wire_span);
        match client.delegation().wait_tasks(request.clone()).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                // The coordinator may bound a wait that nobody did: then it is taken up again.
                if answer.timed_out && !is_past(end) {
                    patience.renew();
                    continue;
                }
                return Ok(answer);
            }
            Err(status) => patience.pause(&client, Some(status)).await?,
        }
    }
}

/// What is wanted of who waits, a line each.
fn wants(answer: &v1::WaitTasksResponse) -> Vec<String> {
    let questions = answer.questions.iter().map(|waiting| {
        let asked = waiting.question.as_ref();
        let text = asked.map(|asked| asked.text.as_str()).unwrap_or_default();
        let id = waiting.task_id;
        format!(
            "#{id} asks: {}\n  ganger task answer {id} TEXT",
            safe_line(text)
        )
    });
    let stuck = answer.stuck.iter();
    let stuck = stuck.map(|stuck| format!("#{} {}", stuck.task_id, safe_line(&stuck.because)));
    questions.chain(stuck).collect()
}

fn is_past(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

fn exit(answer: &v1::WaitTasksResponse, any: bool) -> Exit {
    use v1::TaskStatus::{Cancelled, Completed, Failed};
    let is_over = |status| matches!(status, Completed | Failed | Cancelled);
    let mut ends = answer.tasks.iter().map(v1::Task::status);
    if answer.timed_out {
        return Exit::TimedOut;
    }
    let is_met = match any {
        true => ends.clone().any(is_over),
        false => ends.clone().all(is_over),
    };
    let is_wanted = !answer.questions.is_empty() || !answer.stuck.is_empty();
    if is_wanted && !is_met {
        return Exit::Wanted;
    }
    let is_well = match any {
        true => ends.any(|status| status == Completed),
        false => !ends.any(|status| matches!(status, Failed | Cancelled)),
    };
    match is_well {
        true => Exit::Done,
        false => Exit::TaskFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(statuses: &[v1::TaskStatus]) -> v1::WaitTasksResponse {
        let task = |status: &v1::TaskStatus| v1::Task {
            status: (*status).into(),
            ..v1::Task::default()
        };
        v1::WaitTasksResponse {
            tasks: statuses.iter().map(task).collect(),
            ..v1::WaitTasksResponse::default()
        }
    }

    #[test]
    fn exit_code_says_how_the_tasks_ended() {
        use v1::TaskStatus::{Cancelled, Completed, Failed, InProgress};
        let table: [(&[v1::TaskStatus], bool, Exit); 7] = [
            (&[Completed, Completed], false, Exit::Done),
            (&[Completed, Failed], false, Exit::TaskFailed),
            (&[Completed, Cancelled], false, Exit::TaskFailed),
            (&[InProgress, Completed], true, Exit::Done),
            (&[Failed, Completed], true, Exit::Done),
            (&[InProgress, Failed], true, Exit::TaskFailed),
            (&[InProgress, Cancelled], true, Exit::TaskFailed),
        ];
        for (statuses, any, expected) in table {
            assert_eq!(exit(&answer(statuses), any), expected, "{statuses:?} {any}");
        }
    }

    #[test]
    fn question_or_stuck_task_is_wanted_of_who_waits_unless_the_wait_is_met() {
        use v1::TaskStatus::{Completed, InProgress, Pending};
        let question = v1::WaitingQuestion {
            task_id: 2,
            question: Some(v1::TaskQuestion {
                text: "which\none?".into(),
                ..v1::TaskQuestion::default()
            }),
        };
        let stuck = v1::StuckTask {
            task_id: 3,
            because: "is held: so".into(),
        };
        let mut wanted = answer(&[Completed, InProgress, Pending]);
        wanted.questions.push(question);
        assert_eq!(exit(&wanted, false), Exit::Wanted);
        wanted.stuck.push(stuck);

        let lines = [
            "#2 asks: which one?\n  ganger task answer 2 TEXT",
            "#3 is held: so",
        ];
        assert_eq!(wants(&wanted), lines);
        assert_eq!(exit(&wanted, false), Exit::Wanted);
        assert_eq!(exit(&wanted, true), Exit::Done);
        wanted.timed_out = true;
        assert_eq!(exit(&wanted, false), Exit::TimedOut);
    }

    #[test]
    fn wait_that_is_over_is_timed_out_however_the_tasks_stand() {
        let mut over = answer(&[v1::TaskStatus::Completed, v1::TaskStatus::InProgress]);
        over.timed_out = true;

        assert_eq!(exit(&over, false), Exit::TimedOut);
        assert_eq!(exit(&over, true), Exit::TimedOut);
    }
}
