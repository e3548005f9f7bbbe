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
#[command(after_help = "\
With -o json each event is one line of JSON. A break of the wire is bridged without gap or repeat.

Examples:
  ganger --team db-refactor watch
  ganger --team db-refactor watch --after 0        # all that is kept, then what comes")]
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
    line_at(&words::time_of_day(event.at.as_ref()), event)
}

/// The same with its day, for what may be long ago.
pub fn dated_line(event: &v1::Event) -> String {
    line_at(&words::time(event.at.as_ref()), event)
}

fn line_at(time: &str, event: &v1::Event) -> String {
    let mut line = faint(time);
    if event.task_id != 0 {
        line.push_str(&format!(" #{}", event.task_id));
    }
    line.push_str(&format!(" {}", what(event)));
    let mut add = |text: String| line.push_str(&text);

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
    let worker = match event.worker.as_str() {
        "" => worker_actor(event).unwrap_or_default(),
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
    let who = who(event);
    if !who.is_empty() {
        add(faint(&format!(" ({who})")));
    }
    line
}

/// What happened, and to which member.
fn what(event: &v1::Event) -> String {
    let member = safe_line(&event.member);
    let kind = words::event(event.r#type());
    let kind = kind.strip_prefix("task ").unwrap_or(&kind);
    match event.r#type() {
        v1::EventType::MessageSent => {
            let kind = words::message_type(event.message_type());
            let to = if member.is_empty() { "" } else { " to " };
            format!("message {} ({kind}){to}{member}", event.message_id)
        }
        v1::EventType::LeadHandedOver => format!("{kind} to {member}"),
        // The one who claims is the one who did it.
        v1::EventType::TaskClaimed => kind.to_owned(),
        _ if member.is_empty() => kind.to_owned(),
        _ => format!("{kind} {member}"),
    }
}

/// Who did it, for whom, and because of which message: `ann, for carol, because of message 12`.
fn who(event: &v1::Event) -> String {
    let mut parts = Vec::new();
    // A worker's own doing needs no second mention of it.
    if event.actor != "coordinator" && worker_actor(event).is_none() {
        parts.push(safe_line(&event.actor));
    }
    if event.on_behalf_of_task != 0 {
        parts.push(format!("for #{}", event.on_behalf_of_task));
    }
    if !event.on_behalf_of.is_empty() {
        parts.push(format!("for {}", safe_line(&event.on_behalf_of)));
    }
    if event.cause_message_id != 0 {
        parts.push(format!("because of message {}", event.cause_message_id));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn worker_actor(event: &v1::Event) -> Option<&str> {
    event.actor.strip_prefix("worker:")
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

    #[test]
    fn events_say_on_whose_behalf_and_because_of_which_message() {
        let event = v1::Event {
            r#type: v1::EventType::TaskPaused.into(),
            actor: "ann".into(),
            task_id: 3,
            on_behalf_of: "carol".into(),
            cause_message_id: 12,
            ..v1::Event::default()
        };

        assert_eq!(
            said(event.clone()),
            " #3 paused (ann, for carol, because of message 12)"
        );
        assert_eq!(
            said(v1::Event {
                actor: "worker:w1".into(),
                on_behalf_of: "bob".into(),
                cause_message_id: 0,
                ..event.clone()
            }),
            " #3 paused on w1 (for bob)"
        );
        assert_eq!(
            said(v1::Event {
                actor: "task:4".into(),
                on_behalf_of: String::new(),
                on_behalf_of_task: 4,
                cause_message_id: 0,
                ..event
            }),
            " #3 paused (task:4, for #4)"
        );
    }

    #[test]
    fn events_of_members_and_mail_name_them() {
        let event = |kind: v1::EventType| v1::Event {
            r#type: kind.into(),
            actor: "ann".into(),
            member: "bob".into(),
            message_id: 12,
            message_type: v1::MessageType::ShutdownRequest.into(),
            ..v1::Event::default()
        };

        assert_eq!(
            said(event(v1::EventType::MessageSent)),
            " message 12 (shutdown request) to bob (ann)"
        );
        assert_eq!(
            said(event(v1::EventType::LeadHandedOver)),
            " lead handed over to bob (ann)"
        );
        assert_eq!(
            said(event(v1::EventType::MemberJoined)),
            " member joined bob (ann)"
        );
    }
}
