//! The history of a task: who did what to it, on whose behalf, because of what (E2).

use std::collections::BTreeMap;

use board::{
    command::{Call, Caller, NewTask, Removal, Update, Wish},
    event::Event,
    id::{MessageId, Revision, TaskId},
    task::{BlockerFailedPolicy, Status},
};

use crate::support::*;

/// A call on somebody's behalf, because of a message.
fn call(who: &str, on_behalf_of: Option<&str>, cause: Option<u64>, wish: Wish) -> Call {
    Call {
        caller: Caller {
            member: Some(name(who)),
            on_behalf_of: on_behalf_of.map(name),
            cause: cause.map(MessageId),
            ..Caller::default()
        },
        request: None,
        wish,
    }
}

/// The events of a task backwards from one, each found by what the later one says.
fn backwards(events: &BTreeMap<Revision, Event>, from: Revision) -> Vec<&Event> {
    let first = events.get(&from);
    let before = |event: &&Event| events.get(&event.previous);
    std::iter::successors(first, before).collect()
}

/// What happens to the task below, latest first.
const WAY: [&str; 15] = [
    "TaskDeleted",
    "TaskReopened",
    "TaskEnded",
    "TaskUpdated",
    "TaskRequeued",
    "TaskUpdated",
    "TaskStopRequested",
    "TaskStarted",
    "TaskDispatched",
    "TaskRequeued",
    "TaskClaimed",
    "TaskResumed",
    "TaskPaused",
    "TaskUnblocked",
    "TaskCreated",
];

/// The whole way of a task through the board can be read backwards, event by event.
#[test]
fn each_event_of_a_task_leads_to_the_one_before() {
    let mut script = Script::new();
    let mut events = BTreeMap::new();
    let mut note = |told: Told| {
        for event in told.decision.events {
            events.insert(event.revision, event);
        }
    };
    let id = TaskId(2);
    let set = |update: Update| Wish::UpdateTask(t(), id, Box::new(update));
    let hold = Wish::PauseTask(t(), id, "".into());
    let release = Wish::ReleaseTask(t(), id, None, "".into());
    let reopen = Wish::ReopenTask(t(), id, None, "again".into());

    note(script.create(LEAD, &[card("blocker")]).unwrap());
    note(script.create(LEAD, &[waits_for([1], job("a"))]).unwrap());
    note(script.set(LEAD, 1, Status::Completed).unwrap());
    note(script.by(LEAD, hold).unwrap());
    note(script.by(LEAD, Wish::ResumeTask(t(), id)).unwrap());
    note(script.claim("alice", 2).unwrap());
    note(script.by("alice", release).unwrap());
    note(script.dispatch(2, "w1"));
    note(script.start(2, None));
    let stop = Update {
        owner: Some(Some(name("bob"))),
        stop_running: true,
        ..Update::default()
    };
    note(script.by(LEAD, set(stop)).unwrap());
    note(script.end(2, done("")));
    let both = Update {
        subject: Some("A".into()),
        status: Some(Status::Failed),
        ..Update::default()
    };
    note(script.by("bob", set(both)).unwrap());
    script.board = outlined(&script.board);
    note(script.by(LEAD, reopen).unwrap());
    note(script.by(LEAD, Wish::DeleteTask(t(), id, None)).unwrap());

    let last = *events.last_key_value().unwrap().0;
    let history = backwards(&events, last);
    let of_it = events
        .values()
        .filter(|event| event.what.task() == Some(id));
    let mut all: Vec<&Event> = of_it.collect();
    all.reverse();
    assert_eq!(history, all);
    let kinds = history.iter().map(|event| format!("{:?}", event.what));
    let kinds: Vec<String> = kinds
        .map(|what| what.split([' ', '{']).next().unwrap().to_string())
        .collect();
    assert_eq!(kinds, WAY);
    assert_eq!(history.last().unwrap().previous, Revision(0));
}

/// What happens to no task has none before it.
#[test]
fn what_happens_to_the_team_leads_nowhere() {
    let mut script = Script::given(&[card("a")]);

    let remove = Wish::RemoveMember(t(), name("bob"), Removal::default());
    let told = script.by(LEAD, remove).unwrap();

    assert_eq!(told.decision.events[0].previous, Revision(0));
}

/// All that a call does is done by its caller, on the same behalf, because of the same message.
#[test]
fn each_event_of_a_call_says_on_whose_behalf_and_because_of_which_message() {
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], card("freed")),
        NewTask {
            blocker_failed_policy: BlockerFailedPolicy::Cancel,
            ..waits_for([1], card("cancelled"))
        },
    ]);
    script.send("bob", words([LEAD], "give it up")).unwrap();
    let fail = Wish::UpdateTask(t(), TaskId(1), Box::new(to(Status::Failed)));

    let told = script
        .call(&call(LEAD, Some("bob"), Some(1), fail))
        .unwrap();
    let plain = script.create(LEAD, &[card("b")]).unwrap();

    assert_eq!(told.decision.events.len(), 2);
    for event in &told.decision.events {
        assert_eq!(event.on_behalf_of, Some(name("bob")));
        assert_eq!(event.cause_message, Some(MessageId(1)));
    }
    let causes: Vec<_> = told.decision.events.iter().map(|e| e.cause).collect();
    assert_eq!(causes, [None, Some(TaskId(1))]);
    let event = &plain.decision.events[0];
    assert_eq!((&event.on_behalf_of, event.cause_message), (&None, None));
}

/// What a worker reports of a hosted member's attempt is done on the member's behalf; what time
/// brings is done on nobody's.
#[test]
fn a_report_is_made_on_behalf_of_the_member_that_was_run() {
    let mut script = Script::given(&[owned_by("hana", card("a")), job("b")]);
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");

    let begun = script.start(1, None);
    let hanas = script.end(1, done(""));
    let nobodys = script.until_due();

    let behalf = |told: &Told| told.decision.events[0].on_behalf_of.clone();
    assert_eq!(behalf(&begun), Some(name("hana")));
    assert_eq!(behalf(&hanas), Some(name("hana")));
    assert_eq!(behalf(&nobodys), None);
}

/// A cancelled attempt ends by the will of who cancelled it, whoever reports that, and for whomever
/// it ran.
#[test]
fn an_end_that_was_asked_for_is_on_behalf_of_nobody() {
    let mut script = Script::given(&[owned_by("hana", card("a"))]);
    script.dispatch(1, "w1");
    script.start(1, None);
    script.cancel(LEAD, 1, "enough").unwrap();

    let ended = script.end(1, done(""));

    let event = &ended.decision.events[0];
    assert_eq!(
        (event.actor.to_string(), &event.on_behalf_of),
        (LEAD.into(), &None)
    );
}
