//! Decisions as lines that a person can read.

use board::{
    command::Effect,
    decision::Decision,
    event::{Actor, Event, Happening},
    id::{Fence, TaskId},
    mail::{Letter, Recipients, Sender},
    record::Record,
};

/// A decision as lines: its events, its effects, and what it wrote that no event speaks of.
pub fn lines(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<String> = decision.events.iter().map(event_line).collect();
    lines.extend(decision.effects.iter().map(effect_line));
    let spoken_of = |id: TaskId| decision.events.iter().any(|e| e.what.task() == Some(id));
    for record in &decision.records {
        match record {
            Record::Task(_, task) if !spoken_of(task.id) => {
                lines.push(format!("writes #{}", task.id));
            }
            Record::OfferedGone(name) => lines.push(format!("forgets type {name}")),
            Record::Offered(offered) => lines.push(format!("writes type {}", offered.name)),
            _ => {}
        }
    }
    lines
}

/// The messages that a decision sends, as lines: sender, recipients, what it is, its summary.
pub fn mail_lines(decision: &Decision) -> Vec<String> {
    let letters = decision.records.iter().filter_map(|record| match record {
        Record::Letter(_, letter) => Some(letter),
        _ => None,
    });
    let line = |letter: &std::sync::Arc<Letter>| {
        let from = match &letter.from {
            Sender::Member(name, _) => name.to_string(),
            Sender::Task(id) => format!("task {id}"),
            Sender::Coordinator => "coordinator".into(),
        };
        let copies = decision.records.iter().filter_map(|record| match record {
            Record::Post(_, member, id) if *id == letter.id => Some(member.to_string()),
            _ => None,
        });
        let to = match &letter.to {
            Recipients::One(member) => member.to_string(),
            Recipients::Many { .. } => copies.collect::<Vec<_>>().join(", "),
        };
        format!("{from} → {to}: {:?}: {}", letter.kind, letter.summary)
    };
    letters.map(line).collect()
}

fn event_line(event: &Event) -> String {
    let actor = match &event.actor {
        Actor::Member(name) => name.to_string(),
        Actor::Task(id) => format!("task {id}"),
        Actor::Worker(name) => format!("worker {name}"),
        Actor::Coordinator => "coordinator".into(),
    };
    let what = match &event.what {
        Happening::TeamCreated => "team created".into(),
        Happening::MemberJoined { member } => format!("{member} joined"),
        Happening::MemberLeft { member, reason } => format!("{member} left: {reason}"),
        Happening::TeamDissolved { reason } => format!("team dissolved: {reason}"),
        Happening::LossAccepted { missing } => format!("loss accepted: {missing}"),
        Happening::LeadHandedOver { to } => format!("{to} leads"),
        Happening::PlanApproved { member } => format!("plan of {member} approved"),
        Happening::PlanRejected { member, reason } => {
            format!("plan of {member} rejected: {reason}")
        }
        Happening::MessageSent { message, kind, to } => match to {
            Some(to) => format!("message {message} sent to {to}: {kind:?}"),
            None => format!("message {message} sent: {kind:?}"),
        },
        Happening::TaskCreated { task, subject } => format!("#{task} created: {subject}"),
        Happening::TaskUpdated { task, fields } => {
            let names: Vec<&str> = fields.names().collect();
            format!("#{task} updated: {}", names.join(", "))
        }
        Happening::TaskClaimed { task, by, attempt } => {
            format!("#{task} claimed by {by} as attempt {attempt}")
        }
        Happening::TaskDispatched {
            task,
            attempt,
            worker,
        } => format!("#{task} dispatched to {worker} as attempt {attempt}"),
        Happening::TaskStarted { task, attempt } => format!("#{task} started attempt {attempt}"),
        Happening::TaskStopRequested {
            task,
            attempt,
            reason,
        } => format!("#{task} stop of attempt {attempt}: {reason}"),
        Happening::TaskRequeued {
            task,
            attempt,
            reason,
        } => format!("#{task} requeued after attempt {attempt}: {reason}"),
        Happening::TaskUnblocked { task } => format!("#{task} unblocked"),
        Happening::TaskReopened { task, from, reason } => {
            format!("#{task} reopened, was {}: {reason}", from.word())
        }
        Happening::TaskDeleted { task, subject } => format!("#{task} deleted: {subject}"),
        Happening::TaskExpired { task } => format!("#{task} expired"),
        Happening::TaskPaused { task, reason } => format!("#{task} paused: {reason}"),
        Happening::TaskResumed { task } => format!("#{task} resumed"),
        Happening::TeamUpdated => "team updated".into(),
        Happening::TaskAsked { task, text, .. } => format!("#{task} asked: {text}"),
        Happening::TaskAnswered { task, text, .. } => format!("#{task} answered: {text}"),
        Happening::TaskSteered { task, text, .. } => format!("#{task} steered: {text}"),
        Happening::TaskEnded {
            task,
            attempt,
            from,
            to,
            message,
        } => {
            let attempt = attempt.map_or(String::new(), |a| format!(" in attempt {a}"));
            let message = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            format!("#{task} {} → {}{attempt}{message}", from.word(), to.word())
        }
    };
    let cause = match (event.cause, event.cause_message) {
        (Some(id), _) => format!(" (because of #{id})"),
        (None, Some(id)) => format!(" (because of message {id})"),
        (None, None) => String::new(),
    };
    format!("{actor}: {what}{cause}")
}

fn effect_line(effect: &Effect) -> String {
    let at = |fence: &Fence| format!("#{}/{}", fence.task, fence.attempt);
    match effect {
        Effect::Assign(fence, worker, _) => format!("> assign {} to {worker}", at(fence)),
        Effect::Stop { fence, reason, .. } => format!("> stop {}: {reason}", at(fence)),
        Effect::Tell { fence, word, .. } => {
            format!("> tell {} {}: {}", at(fence), word.number, word.text)
        }
        Effect::CutOff(instance) => format!("> cut off {}", instance.0),
        Effect::TaskOver(key) => format!("> #{} is over", key.1),
    }
}
