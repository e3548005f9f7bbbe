//! `ganger watch`: what happens to a team, as it happens.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    follow::Events,
    output::{faint, safe_line, words},
};

/// From where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With -o json each event is one line of JSON. A break of the wire is bridged without gap or repeat."
)]
pub struct Args {
    /// The last revision that is known: 0 for all events [default: from now on]
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,
}

/// Watches until it is interrupted.
///
/// # Errors
/// Where the coordinator refuses, or is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut events = Events::after(&client, args.after);
    loop {
        for event in events.next().await?.events {
            context.out.record(&event, || Some(line(&event)))?;
        }
    }
}

/// An event in a line: `14:00:00 #3 dispatched to worker-1 (attempt 2)`.
pub fn line(event: &v1::Event) -> String {
    let mut line = faint(&words::time_of_day(event.at.as_ref()));
    if event.task_id != 0 {
        line.push_str(&format!(" #{}", event.task_id));
    }
    let kind = words::event(event.r#type());
    line.push(' ');
    line.push_str(kind.strip_prefix("task ").unwrap_or(&kind));
    let mut add = |text: String| line.push_str(&text);

    if !event.member.is_empty() && event.r#type() != v1::EventType::TaskClaimed {
        add(format!(" {}", safe_line(&event.member)));
    }
    if !event.subject.is_empty() {
        add(format!(": {}", safe_line(&event.subject)));
    }
    let (from, to) = (
        words::status(event.from_status()),
        words::status(event.to_status()),
    );
    if event.r#type() == v1::EventType::TaskUpdated && from != to {
        add(format!(" {from} → {to}"));
    }
    let fields: Vec<&str> = event.updated_fields.iter().map(String::as_str).collect();
    if event.r#type() == v1::EventType::TaskUpdated && !fields.is_empty() {
        add(format!(" {}", safe_line(&fields.join(", "))));
    }
    // A worker's own doing needs no second mention of it.
    let actor_worker = event.actor.strip_prefix("worker:");
    let worker = match event.worker.as_str() {
        "" => actor_worker.unwrap_or_default(),
        worker => worker,
    };
    if !worker.is_empty() && event.r#type() != v1::EventType::TaskUnblocked {
        let on = match event.r#type() {
            v1::EventType::TaskDispatched => "to",
            _ => "on",
        };
        add(format!(" {on} {}", safe_line(worker)));
    }
    if event.attempt > 1 {
        add(format!(" (attempt {})", event.attempt));
    }
    if event.cause_task_id != 0 {
        add(format!(" by #{}", event.cause_task_id));
    }
    if !event.message.is_empty() {
        add(format!(": {}", safe_line(&event.message)));
    }
    if !event.actor.is_empty() && event.actor != "coordinator" && actor_worker.is_none() {
        add(faint(&format!(" ({})", safe_line(&event.actor))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(event: v1::Event) -> String {
        console::strip_ansi_codes(&line(&event)).into_owned()
    }

    #[test]
    fn events_are_said_in_a_line_each() {
        let event = |kind: v1::EventType| v1::Event {
            at: Some(pbjson_types::Timestamp {
                seconds: 1_795_269_600,
                nanos: 0,
            }),
            r#type: kind.into(),
            actor: "worker:w1".into(),
            worker: "w1".into(),
            task_id: 3,
            attempt: 1,
            ..v1::Event::default()
        };

        assert_eq!(
            said(event(v1::EventType::TaskDispatched)),
            "14:00:00 #3 dispatched to w1"
        );
        assert_eq!(
            said(v1::Event {
                attempt: 2,
                message: "exit code 1\n".into(),
                ..event(v1::EventType::TaskFailed)
            }),
            "14:00:00 #3 failed on w1 (attempt 2): exit code 1"
        );
        assert_eq!(
            said(v1::Event {
                worker: String::new(),
                actor: "team-lead".into(),
                subject: "Report".into(),
                attempt: 0,
                ..event(v1::EventType::TaskCreated)
            }),
            "14:00:00 #3 created: Report (team-lead)"
        );
        assert_eq!(
            said(v1::Event {
                worker: String::new(),
                actor: "coordinator".into(),
                cause_task_id: 2,
                attempt: 0,
                ..event(v1::EventType::TaskUnblocked)
            }),
            "14:00:00 #3 unblocked by #2"
        );
    }
}
