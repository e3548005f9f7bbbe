//! Whose a task is, and who has a say in it (K8, K13, T6).

use board::{
    command::Update,
    id::{AttemptNumber, TaskId},
    refusal::Refusal,
    task::Status,
};

use crate::support::*;

fn give(owner: Option<&str>) -> Update {
    Update {
        owner: Some(owner.map(name)),
        ..Update::default()
    }
}

/// K8, K13.
#[test]
fn a_new_owner_decides_who_runs_the_task() {
    let mut script = Script::given(&[card("a")]);

    script
        .update(LEAD, 1, give(Some("hana")))
        .unwrap()
        .is(&["lead: #1 updated: owner"]);
    assert_eq!(script.queued(), [1]);
    script.update(LEAD, 1, give(Some("alice"))).unwrap();
    assert_eq!(script.queued(), []);
    script.update(LEAD, 1, give(None)).unwrap();
    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

/// K8.
#[test]
fn a_held_task_changes_its_owner_only_by_being_stopped() {
    let mut script = Script::given(&[card("a"), job("b")]);
    script.claim("alice", 1).unwrap();
    script.dispatch(2, "w1");
    let stop = |owner| Update {
        stop_running: true,
        ..give(owner)
    };

    let held = Refusal::TaskHeld {
        task: TaskId(1),
        holder: "alice".into(),
    };
    let running = Refusal::TaskRunning {
        task: TaskId(2),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };
    assert_eq!(script.update(LEAD, 1, give(Some("bob"))).unwrap_err(), held);
    assert_eq!(
        script.update(LEAD, 2, give(Some("bob"))).unwrap_err(),
        running
    );
    script.update(LEAD, 1, stop(Some("bob"))).unwrap().is(&[
        "lead: #1 requeued after attempt 1: handed over to bob",
        "lead: #1 updated: owner",
    ]);
    script.update(LEAD, 2, stop(Some("bob"))).unwrap().is(&[
        "lead: #2 stop of attempt 1: handed over to bob",
        "lead: #2 updated: owner",
        "> stop #2/1: handed over to bob",
    ]);
    assert_eq!(
        script.lines(),
        ["#1 [pending] a (bob)", "#2 [in_progress] b (bob)"]
    );
    script
        .end(2, done("late"))
        .is(&["worker w1: #2 requeued after attempt 1: handed over to bob"]);
}

/// K13: who was told to do it as somebody does it as somebody, until it is over.
#[test]
fn an_attempt_goes_on_as_the_member_that_it_began_as() {
    let mut script = Script::given(&[
        owned_by("hana", card("a")),
        owned_by("hana", card("b")),
        owned_by("hugo", card("c")),
    ]);
    script.dispatch(1, "w1");
    let handed_over = Update {
        stop_running: true,
        ..give(Some("hugo"))
    };
    script.update(LEAD, 1, handed_over).unwrap();

    let second_of_hana = script.clone().try_dispatch(2, "w1");
    let first_of_hugo = script.clone().try_dispatch(3, "w1");

    assert!(second_of_hana.is_err(), "hana still runs #1");
    assert!(first_of_hugo.is_ok(), "hugo runs nothing");
}

#[test]
fn an_owner_who_is_not_there_or_can_not_run_it_is_refused() {
    let mut script = Script::given(&[card("a")]);
    script.join("w1");

    let stranger = script.update(LEAD, 1, give(Some("mallory")));
    let worker = script.update(LEAD, 1, give(Some("w1")));

    let unknown = Refusal::MemberUnknown {
        member: name("mallory"),
        team: t(),
    };
    let missing = Refusal::AgentTypeMissing { owner: name("w1") };
    assert_eq!(stranger.unwrap_err(), unknown);
    assert_eq!(worker.unwrap_err(), missing);
}

/// T6.
#[test]
fn only_the_lead_assigns_to_others() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    let only_lead = Refusal::LeadOnly {
        action: "assign tasks to others",
        member: by("alice"),
    };

    let handed_on = script.update("alice", 1, give(Some("bob")));
    let created = script.create("alice", &[owned_by("bob", card("b"))]);

    assert_eq!(handed_on.unwrap_err(), only_lead);
    assert_eq!(created.unwrap_err(), only_lead);
    script
        .create("alice", &[owned_by("alice", card("c"))])
        .unwrap();
    script.update("alice", 1, give(None)).unwrap();
    script.update("bob", 1, give(Some("bob"))).unwrap();
}

/// T6: who made a task has a say as long as it is nobody's.
#[test]
fn the_maker_of_a_task_changes_it_until_somebody_owns_it() {
    let mut script = Script::new();
    script.create("alice", &[card("a"), job("b")]).unwrap();
    let rename = || Update {
        subject: Some("A".into()),
        ..Update::default()
    };
    script.update("alice", 1, rename()).unwrap();
    script.dispatch(2, "w1");
    script.clone().cancel("alice", 2, "").unwrap();
    script.claim("bob", 1).unwrap();

    let completed = script.set("alice", 1, Status::Completed);
    let taken = script.update("alice", 1, give(Some("alice")));

    let not_owner = Refusal::NotOwner {
        task: TaskId(1),
        owner: Some(name("bob")),
        member: by("alice"),
    };
    assert_eq!(completed.unwrap_err(), not_owner);
    assert_eq!(taken.unwrap_err(), not_owner);
}

/// T2 of the team life cycle: assigned and begun in one update; the one who did it is named.
#[test]
fn the_lead_begins_a_task_for_a_member() {
    let mut script = Script::given(&[card("a")]);

    let told = script.update(
        LEAD,
        1,
        Update {
            status: Some(Status::InProgress),
            ..give(Some("alice"))
        },
    );

    told.unwrap().is(&[
        "lead: #1 updated: owner",
        "lead: #1 claimed by alice as attempt 1",
    ]);
    assert_eq!(script.lines(), ["#1 [in_progress] a (alice)"]);
}
