//! The coordinator's own mail (K5, K8, K9, M5, M7).

use board::{
    command::{CreateTeam, NewTask, Update, Wish},
    id::TaskId,
    mail::Sender,
    task::{AttemptEnding, BlockerFailedPolicy, FailurePolicy, Status},
    team::MemberKind,
};

use crate::support::*;

fn give(owner: Option<&str>) -> Update {
    Update {
        owner: Some(owner.map(name)),
        ..Update::default()
    }
}

fn child_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

/// A script whose lead wants idle notices.
fn idling(tasks: &[NewTask]) -> Script {
    let mut script = Script::empty();
    script.fleet(board::command::FleetCommand::OfferTypes(vec![offered(
        "coder", "llm",
    )]));
    let team = CreateTeam {
        members: vec![
            member("alice", MemberKind::Agent),
            member("hana", MemberKind::Hosted),
        ],
        idle_notices: true,
        ..team("t")
    };
    script.by(LEAD, Wish::CreateTeam(team)).unwrap();
    if !tasks.is_empty() {
        script.create(LEAD, tasks).unwrap();
    }
    script
}

/// P3 of the replay, K8.
#[test]
fn a_new_owner_is_told_what_the_task_is_and_who_gave_it() {
    let mut script = Script::given(&[NewTask {
        description: "Write the SQL.".into(),
        ..card("migrate")
    }]);

    script
        .update(LEAD, 1, give(Some("alice")))
        .unwrap()
        .is(&["lead: #1 updated: owner"])
        .mails(&["coordinator → alice: TaskAssignment: migrate"]);
    let letter = script.letter(1);
    assert_eq!(letter.from, Sender::Coordinator);
    assert_eq!(letter.task, Some(TaskId(1)));
    assert_eq!(&*letter.text, "Write the SQL.");
    assert_eq!(&*letter.payload, r#"{"assigned_by":"lead"}"#);
    assert_eq!(letter.revision, Some(script.task(1).revision));
    script
        .create(LEAD, &[owned_by("alice", card("test"))])
        .unwrap()
        .mails(&["coordinator → alice: TaskAssignment: test"]);
    assert_eq!(&*script.letter(2).text, "test");
}

#[test]
fn the_owner_before_is_told_by_whom_and_why_the_task_is_taken() {
    let mut script = Script::given(&[owned_by("alice", card("a")), owned_by("alice", card("b"))]);

    script.update(LEAD, 1, give(Some("bob"))).unwrap().mails(&[
        "coordinator → alice: TaskUnassigned: a",
        "coordinator → bob: TaskAssignment: a",
    ]);
    script
        .update(LEAD, 2, give(None))
        .unwrap()
        .mails(&["coordinator → alice: TaskUnassigned: b"]);

    let (first, second) = (script.letter(3), script.letter(5));
    assert_eq!(&*first.text, "handed over to bob");
    assert_eq!(&*first.payload, r#"{"unassigned_by":"lead"}"#);
    assert_eq!(first.revision, Some(script.task(1).revision));
    assert_eq!(&*second.text, "taken from its owner");
}

#[test]
fn nobody_is_told_what_they_did_themselves() {
    let mut script = Script::given(&[card("a")]);
    let mine = [owned_by("alice", card("b"))];

    script.create("alice", &mine).unwrap().mails(&[]);
    script
        .update("bob", 1, give(Some("bob")))
        .unwrap()
        .mails(&[]);
    script.update("bob", 1, give(None)).unwrap().mails(&[]);
    script.claim("alice", 2).unwrap().mails(&[]);
    script
        .set("alice", 2, Status::Completed)
        .unwrap()
        .mails(&[]);
}

/// K8: a terminal or deleted task gets none.
#[test]
fn what_is_over_is_assigned_without_a_word() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.set(LEAD, 1, Status::Completed).unwrap();

    let late = script.update(LEAD, 1, give(Some("alice"))).unwrap();
    let at_once = Update {
        status: Some(Status::Completed),
        ..give(Some("alice"))
    };
    let at_once = script.update(LEAD, 2, at_once).unwrap();
    let failed = NewTask {
        blocked_by: ids([3]),
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..owned_by("alice", card("d"))
    };
    script.create(LEAD, &[card("c")]).unwrap();
    script.set(LEAD, 3, Status::Failed).unwrap();
    let stillborn = script.create(LEAD, &[failed]).unwrap();

    late.mails(&[]);
    at_once.mails(&[]);
    stillborn.mails(&["coordinator → lead: TaskFinished: #4 is cancelled: d"]);
    assert!(script.mailbox("alice").is_empty());
}

#[test]
fn a_worker_is_told_nothing() {
    let mut script = Script::new();
    script.join("w1");

    let told = script.create(LEAD, &[owned_by("w1", job("a"))]).unwrap();

    told.mails(&[]);
}

#[test]
fn the_owner_of_a_deleted_task_is_told() {
    let mut script = Script::given(&[
        owned_by("alice", card("a")),
        waits_for([1], card("b")),
        owned_by("alice", card("c")),
    ]);
    script.set(LEAD, 3, Status::Cancelled).unwrap();

    let open = script.by(LEAD, Wish::DeleteTask(t(), TaskId(1), None));
    let over = script.by(LEAD, Wish::DeleteTask(t(), TaskId(3), None));

    let open = open.unwrap();
    open.is(&[
        "lead: #1 deleted: a",
        "lead: #2 updated: blocked_by (because of #1)",
        "lead: #2 unblocked (because of #1)",
        "> #1 is over",
    ])
    .mails(&["coordinator → alice: TaskUnassigned: a"]);
    let letter = script.letter(3);
    assert_eq!(&*letter.text, "deleted by lead");
    assert_eq!(letter.revision, Some(open.decision.events[0].revision));
    over.unwrap().mails(&[]);
}

#[test]
fn whoever_loses_a_claim_is_told() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.claim("alice", 1).unwrap();
    script.claim("bob", 2).unwrap();
    let release = |task| Wish::ReleaseTask(t(), TaskId(task), None, "".into());

    let by_itself = script.by("bob", release(2)).unwrap();
    by_itself.mails(&[]);
    let expired = script.until_due();

    expired.mails(&["coordinator → alice: TaskUnassigned: a"]);
    let text = "the lease of alice is over: it was not heard of for 1800 seconds";
    assert_eq!(&*script.letter(1).text, text);
}

/// K5: in the commit that frees.
#[test]
fn the_owner_of_a_freed_task_is_told_by_which_blocker() {
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], owned_by("alice", card("b"))),
        waits_for([1], card("c")),
    ]);
    script.read("alice");

    let told = script.set(LEAD, 1, Status::Completed).unwrap();

    told.is(&[
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "lead: #3 unblocked (because of #1)",
        "> #1 is over",
    ])
    .mails(&["coordinator → alice: TaskUnblocked: b"]);
    let letter = script.letter(2);
    assert_eq!(
        &*letter.text,
        "#2 waits for nothing any more: #1 was the last."
    );
    assert_eq!(letter.revision, Some(told.decision.events[1].revision));
}

/// M5.
#[test]
fn who_made_a_task_is_told_how_it_ended() {
    let mut script = Script::new();
    let tasks = [job("a"), job("b"), job("c"), job("d")];
    script.create("alice", &tasks).unwrap();
    for task in 1..=4 {
        script.dispatch(task, "w1");
    }

    script
        .end(1, done("all green"))
        .mails(&["coordinator → alice: TaskFinished: #1 is completed: a"]);
    script
        .end(2, report(AttemptEnding::Failed, "half", "no luck"))
        .mails(&["coordinator → alice: TaskFinished: #2 is failed: b"]);
    script
        .end(3, done(""))
        .mails(&["coordinator → alice: TaskFinished: #3 is completed: c"]);
    script.cancel("alice", 4, "").unwrap().mails(&[]);
    script
        .end(4, report(AttemptEnding::Cancelled, "", ""))
        .mails(&[]);

    let texts = [1, 2, 3].map(|id| script.letter(id).text.to_string());
    assert_eq!(texts, ["all green", "no luck", "#3 is completed."]);
    assert_eq!(&*script.letter(2).payload, r#"{"status":"failed"}"#);
    assert_eq!(script.letter(1).task, Some(TaskId(1)));
    assert_eq!(script.letter(1).revision, Some(script.task(1).revision));
}

#[test]
fn a_maker_that_left_or_was_no_member_is_told_nothing() {
    let mut script = Script::new();
    script.create("alice", &[job("a")]).unwrap();
    script.dispatch(1, "w1");
    let remove = Wish::RemoveMember(t(), name("alice"), Default::default());
    script.by(LEAD, remove).unwrap();

    script.end(1, done("r")).mails(&[]);
}

/// M5: one per parent in a fan-out.
#[test]
fn of_a_fan_out_the_maker_is_told_once_when_all_of_it_is_over() {
    let mut script = Script::given(&[card("all"), card("other")]);
    let parts = [job("x"), job("y"), job("z")].map(|part| child_of(1, part));
    script.create("alice", &parts).unwrap();
    for task in 3..=5 {
        script.dispatch(task, "w1");
    }

    script
        .end(4, report(AttemptEnding::Failed, "", "no"))
        .mails(&[]);
    script.set(LEAD, 2, Status::Completed).unwrap().mails(&[]);
    script.end(5, done("z done")).mails(&[]);
    script
        .end(3, done("x done"))
        .mails(&["coordinator → alice: TaskFinished: all that is part of #1 is over"]);

    let letter = script.letter(1);
    assert_eq!(letter.task, Some(TaskId(1)));
    assert_eq!(
        &*letter.text,
        "All tasks that are part of #1 are over. Not completed: #4 failed. \
         The last one, #3, is completed:\n\nx done"
    );
    let payload = r#"{"status":"completed","parent_task_id":"1"}"#;
    assert_eq!(&*letter.payload, payload);
}

#[test]
fn a_fan_out_that_ends_in_one_batch_is_told_once() {
    let mut script = Script::given(&[card("all")]);
    let parts = [child_of(1, card("x")), child_of(1, card("y"))];
    script.create("alice", &parts).unwrap();
    let done = [2, 3].map(|task| (TaskId(task), to(Status::Completed)));

    let told = script.by(LEAD, Wish::UpdateTasks(t(), done.to_vec()));

    told.unwrap()
        .mails(&["coordinator → alice: TaskFinished: all that is part of #1 is over"]);
}

/// K9: completions by attempts put it into the lead's mail.
#[test]
fn the_lead_is_told_that_it_is_time_to_verify() {
    let mut script = Script::given(&[job("a"), job("b"), job("c")]);
    script.create("alice", &[job("d")]).unwrap();
    for task in 1..=4 {
        script.dispatch(task, "w1");
        script.end(task, done("r"));
    }

    let nudges = [1, 2, 3, 4].map(|id| script.letter(id).text.contains("VERIFICATION"));
    assert_eq!(nudges, [false, false, true, false], "alice made the fourth");
    let payload = r#"{"status":"completed","verification_nudge_needed":"true"}"#;
    assert_eq!(&*script.letter(3).payload, payload);
    assert!(
        script
            .letter(3)
            .text
            .starts_with("r\n\n3 tasks were completed")
    );
}

#[test]
fn the_lead_is_told_when_a_hosted_member_fails() {
    let mut script = Script::new();
    let task = NewTask {
        failure_policy: FailurePolicy::Pause,
        ..owned_by("hana", card("a"))
    };
    script.create(LEAD, &[task, job("b")]).unwrap();
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");
    let failed = || report(AttemptEnding::Failed, "", "no \"luck\"");

    let told = script.end(1, failed());
    told.mails(&["coordinator → lead: MemberFailed: hana failed at #1: a"]);
    // Nobody's task is nobody's failure.
    script
        .end(2, failed())
        .mails(&["coordinator → lead: TaskFinished: #2 is failed: b"]);

    let letter = script.letter(2);
    assert_eq!(&*letter.text, "no \"luck\"");
    assert_eq!(letter.revision, Some(script.task(1).revision));
}

/// M7.
#[test]
fn an_idle_member_is_told_of_where_the_lead_wants_to_know() {
    let mut script = idling(&[card("a"), card("b")]);
    script.claim("alice", 1).unwrap();
    script.claim("alice", 2).unwrap();

    script
        .set("alice", 1, Status::Completed)
        .unwrap()
        .mails(&["coordinator → lead: TaskFinished: #1 is completed: a"]);
    let failed = Update {
        result: Some("a \"wall\"\n".into()),
        ..to(Status::Failed)
    };
    script.update("alice", 2, failed).unwrap().mails(&[
        "coordinator → lead: TaskFinished: #2 is failed: b",
        "coordinator → lead: Idle: alice is idle",
    ]);

    let letter = script.letter(3);
    assert_eq!(
        (letter.task, &*letter.correlation),
        (Some(TaskId(2)), "alice")
    );
    let text = "alice has nothing to do any more: #2 is failed (a \"wall\").";
    assert_eq!(&*letter.text, text);
    let payload = r#"{"member":"alice","status":"failed","reason":"a \"wall\"\u000a"}"#;
    assert_eq!(&*letter.payload, payload);
}

#[test]
fn idle_notices_are_off_unless_asked_for() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();

    let told = script.set("alice", 1, Status::Completed).unwrap();

    told.mails(&["coordinator → lead: TaskFinished: #1 is completed: a"]);
}

/// M7: coalesced.
#[test]
fn of_several_idle_notices_about_a_member_the_last_is_kept() {
    let cards = ["a", "b", "c", "d"].map(card);
    let mut script = idling(&[&cards[..], &[owned_by("hana", card("e"))]].concat());
    for task in [1, 2] {
        script.claim("alice", task).unwrap();
        let release = Wish::ReleaseTask(t(), TaskId(task), None, "".into());
        script.by("alice", release).unwrap();
    }
    script.dispatch(5, "w1");
    script.end(5, done("r"));

    let idle = |script: &Script| -> Vec<String> {
        let lines = script.mailbox(LEAD).into_iter();
        lines.filter(|line| line.contains("Idle")).collect()
    };
    assert_eq!(
        idle(&script),
        ["3 Idle: alice is idle", "5 Idle: hana is idle"]
    );
    // Within one commit too.
    let course = [(3, Status::InProgress), (3, Status::Completed)];
    let course = [course, [(4, Status::InProgress), (4, Status::Completed)]].concat();
    let course = course
        .into_iter()
        .map(|(task, status)| (TaskId(task), to(status)));
    script
        .by("alice", Wish::UpdateTasks(t(), course.collect()))
        .unwrap()
        .mails(&[
            "coordinator → lead: TaskFinished: #3 is completed: c",
            "coordinator → lead: TaskFinished: #4 is completed: d",
            "coordinator → lead: Idle: alice is idle",
        ]);
    assert_eq!(
        idle(&script),
        ["5 Idle: hana is idle", "9 Idle: alice is idle"]
    );
    assert_eq!(script.letter(9).task, Some(TaskId(4)));
}

#[test]
fn a_hosted_member_is_not_idle_while_something_waits_to_be_run_for_it() {
    let mut script = idling(&[
        owned_by("hana", card("a")),
        waits_for([1], owned_by("hana", card("b"))),
        owned_by("hana", card("c")),
    ]);
    let idle = |told: &Told| told.mail.iter().any(|line| line.contains("Idle"));

    script.dispatch(1, "w1");
    let freed_its_own = script.end(1, done("r"));
    script.dispatch(2, "w1");
    let another_waits = script.end(2, done("r"));
    script.dispatch(3, "w1");
    let last = script.end(3, done("r"));

    assert!(!idle(&freed_its_own) && !idle(&another_waits));
    assert!(idle(&last));
}

#[test]
fn a_team_that_is_over_gets_no_mail() {
    let mut script = Script::given(&[card("a")]);
    script.create("alice", &[card("b")]).unwrap();
    let dissolve = board::command::Removal {
        force: true,
        reason: "".into(),
    };

    let told = script.by(LEAD, Wish::DissolveTeam(t(), dissolve)).unwrap();

    told.mails(&[]);
}
