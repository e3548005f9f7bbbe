//! What becomes of open tasks when what they depend on is over (D12).

use board::{
    command::{FleetCommand, NewTask, Removal, Wish},
    id::{AttemptNumber, TaskId},
    limits,
    refusal::Refusal,
    task::{Hirer, Status, StopReason},
    view::Phase,
};

use crate::support::*;

fn reopen(task: u64) -> Wish {
    Wish::ReopenTask(t(), TaskId(task), None, "once more".into())
}

fn orphaned(task: u64, parent: u64) -> Refusal {
    Refusal::TaskOrphaned {
        task: TaskId(task),
        parent: TaskId(parent),
    }
}

/// A team with the type `boss`, whose sub-agents may hire; its task 1 runs.
fn with_a_boss() -> Script {
    let mut script = Script::new();
    script.fleet(FleetCommand::OfferTypes(vec![hiring("boss", 1)]));
    let boss = NewTask {
        agent_type: Some(agent_type("boss")),
        ..card("the boss's")
    };
    script.create(LEAD, &[boss]).unwrap();
    script.dispatch(1, "w1");
    script.start(1, None);
    script
}

#[test]
fn children_of_a_cancelled_task_are_cancelled_by_the_next_tick_and_theirs_by_the_one_after() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, job("queued")),
        part_of(1, job("runs")),
        part_of(1, card("claimed")),
        part_of(2, card("below")),
        part_of(1, card("done")),
    ]);
    script.dispatch(3, "w1");
    script.claim("alice", 4).unwrap();
    script.set(LEAD, 6, Status::Completed).unwrap();

    let told = script.cancel(LEAD, 1, "not any more").unwrap();

    told.is(&["lead: #1 pending → cancelled: not any more", "> #1 is over"]);
    assert_eq!(script.next_deadline(), Some(board::time::Time(0)));
    let why = "the task that it was part of was cancelled";
    script.tick().unwrap().is(&[
        &format!("coordinator: #2 pending → cancelled: {why} (because of #1)"),
        &format!("coordinator: #3 stop of attempt 1: {why} (because of #1)"),
        &format!("coordinator: #4 in_progress → cancelled in attempt 1: {why} (because of #1)"),
        "> #2 is over",
        &format!("> stop #3/1: {why}"),
        "> #4 is over",
    ]);
    script.tick().unwrap().is(&[
        &format!("coordinator: #5 pending → cancelled: {why} (because of #2)"),
        "> #5 is over",
    ]);
    assert_eq!(script.tick().map(|told| told.lines), None);
    let end = script.task(2).end().cloned().unwrap();
    assert_eq!(end.stop_reason, Some(StopReason::Cancelled));
    assert_eq!(&*script.task(2).error, why);
    assert_eq!(script.task(6).status(), Status::Completed);
    script.end(3, report(board::task::AttemptEnding::Cancelled, "", ""));
    assert_eq!(script.task(3).status(), Status::Cancelled);
}

#[test]
fn no_child_can_begin_from_the_commit_on_in_which_its_parent_is_cancelled() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, job("queued")),
        part_of(1, card("ready")),
    ]);

    script.cancel(LEAD, 1, "").unwrap();

    assert_eq!(script.queued(), []);
    assert!(!script.board.is_queueing());
    let refusal = orphaned(2, 1);
    assert_eq!(script.try_dispatch(2, "w1").unwrap_err(), refusal);
    assert_eq!(script.claim("alice", 3).unwrap_err(), orphaned(3, 1));
    let next = Wish::ClaimNext(t(), board::command::ClaimNext::default());
    let nothing = script.by("alice", next).unwrap();
    nothing.answers(&board::command::Answer::NothingReady);
    let view = script.board.view(key(2)).unwrap();
    assert_eq!(
        (view.phase, view.is_ready()),
        (Some(Phase::Stopping), false)
    );
    assert_eq!(
        &*view.phase_reason,
        "the task that it was part of was cancelled"
    );
}

/// A parent that runs is being stopped for a while: what is part of it goes at once.
#[test]
fn children_of_a_task_that_is_being_stopped_for_good_are_cancelled_at_once() {
    let mut script = Script::given(&[job("runs"), part_of(1, job("queued"))]);
    script.dispatch(1, "w1");

    script.cancel(LEAD, 1, "").unwrap();
    assert_eq!(script.queued(), []);
    script.tick().unwrap();

    assert_eq!(script.task(1).status(), Status::InProgress);
    assert_eq!(script.task(2).status(), Status::Cancelled);
    let part = script
        .create(LEAD, &[part_of(1, card("late"))])
        .unwrap_err();
    let over = Refusal::TaskOver {
        task: TaskId(1),
        status: Status::Cancelled,
    };
    assert_eq!(part, over);
}

#[test]
fn children_stay_when_their_parent_completes_or_fails() {
    let mut script = Script::given(&[
        card("done"),
        part_of(1, job("a")),
        card("failed"),
        part_of(3, job("b")),
    ]);

    script.set(LEAD, 1, Status::Completed).unwrap();
    script.set(LEAD, 3, Status::Failed).unwrap();

    assert_eq!(script.queued(), [2, 4]);
    assert!(script.tick().is_none());
}

#[test]
fn what_outlives_its_parent_goes_on() {
    let mut script = Script::given(&[card("the whole"), outliving(part_of(1, job("goes on")))]);

    script.cancel(LEAD, 1, "").unwrap();

    assert_eq!(script.queued(), [2]);
    assert!(script.tick().is_none());
    script
        .create(LEAD, &[outliving(part_of(1, job("late")))])
        .unwrap();
    assert_eq!(script.queued(), [2, 3]);
}

#[test]
fn nothing_new_becomes_part_of_a_cancelled_task_and_what_was_is_not_reopened() {
    let mut script = Script::given(&[card("the whole"), part_of(1, card("part"))]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    script.cancel(LEAD, 1, "").unwrap();

    let late = script
        .create(LEAD, &[part_of(1, card("late"))])
        .unwrap_err();
    let again = script.by(LEAD, reopen(2)).unwrap_err();

    let over = Refusal::TaskOver {
        task: TaskId(1),
        status: Status::Cancelled,
    };
    assert_eq!((late, again), (over, orphaned(2, 1)));
    script.by(LEAD, reopen(1)).unwrap();
    script.by(LEAD, reopen(2)).unwrap();
    assert_eq!(script.task(2).status(), Status::Pending);
}

/// The parent is wanted again, and so is what is left of it; what was cancelled stays so.
#[test]
fn opening_a_cancelled_parent_again_spares_the_children_that_are_still_open() {
    let mut script = Script::given(&[card("the whole")]);
    script.is_checked = false;
    let parts: Vec<NewTask> = (0..1_000).map(|_| part_of(1, job("part"))).collect();
    script.create(LEAD, &parts).unwrap();
    script.create(LEAD, &parts).unwrap();
    script.cancel(LEAD, 1, "").unwrap();
    script.tick().unwrap();

    script.by(LEAD, reopen(1)).unwrap();

    assert!(script.tick().is_none());
    script.check();
    let counts = script.board.counts(TEAM);
    assert_eq!((counts.cancelled, counts.queued), (1_000, 1_000));
}

#[test]
fn cancelling_a_parent_of_many_is_one_small_commit_and_goes_on_over_a_restart() {
    let mut script = Script::given(&[card("the whole")]);
    script.is_checked = false;
    let parts: Vec<NewTask> = (0..1_000).map(|_| part_of(1, job("part"))).collect();
    for _ in 0..5 {
        script.create(LEAD, &parts).unwrap();
    }

    let told = script.cancel(LEAD, 1, "").unwrap();
    assert!(
        told.decision.records.len() <= 3,
        "{:?}",
        told.decision.records
    );
    assert!(!script.board.is_queueing());
    script.tick().unwrap();
    let epoch = script.board.meta().epoch;
    script.board = script.shelf.load(epoch, &script.shelf.task_records(true));
    let mut ticks = 1;
    while let Some(told) = script.tick() {
        assert!(told.decision.records.len() <= limits::STEP_MAX + 8);
        ticks += 1;
    }

    assert_eq!(script.board.counts(TEAM).cancelled, 5_001);
    assert!((5..=7).contains(&ticks), "{ticks} ticks");
    script.check();
}

#[test]
fn what_an_attempt_made_below_its_own_task_ends_with_it_however_it_ends() {
    type End = fn(&mut Script);
    let endings: [(&str, End); 4] = [
        ("done", |script| drop(script.end(1, done("")))),
        ("lost", |script| drop(script.lose(1))),
        ("handed back", |script| drop(script.hand_back(1, "no"))),
        ("failed", |script| {
            let failed = report(board::task::AttemptEnding::Failed, "", "no");
            drop(script.end(1, failed));
        }),
    ];
    for (how, end) in endings {
        let mut script = with_a_boss();
        let tasks = [
            delegated(job("hired")),
            card("a note"),
            outliving(delegated(job("goes on"))),
        ];
        script.by_agent(1, 1, create(&tasks)).unwrap();
        script
            .by_agent(1, 1, create(&[part_of(3, card("below the note"))]))
            .unwrap();
        let hirer = Hirer {
            task: TaskId(1),
            attempt: AttemptNumber(1),
        };
        for task in 2..=5 {
            assert_eq!(script.task(task).terms().hired_by, Some(hirer), "{how}");
        }
        script.dispatch(2, "w2");

        end(&mut script);

        assert_eq!(script.claim(LEAD, 3).unwrap_err(), orphaned(3, 1), "{how}");
        let why = "the attempt that hired it is over";
        script.tick().unwrap().is(&[
            &format!("coordinator: #2 stop of attempt 1: {why} (because of #1)"),
            &format!("coordinator: #3 pending → cancelled: {why} (because of #1)"),
            "coordinator: #5 pending → cancelled: the task that it was part of was cancelled \
             (because of #3)",
            &format!("> stop #2/1: {why}"),
            "> #3 is over",
            "> #5 is over",
        ]);
        assert!(script.tick().is_none(), "{how}");
        assert_eq!(script.task(4).status(), Status::Pending, "{how}");
    }
}

/// What the lead opens again is the lead's wish, and no more the attempt's.
#[test]
fn a_hired_task_that_is_opened_again_depends_on_no_attempt_any_more() {
    let mut script = with_a_boss();
    script
        .by_agent(1, 1, create(&[delegated(job("hired"))]))
        .unwrap();
    script.end(1, done(""));
    script.tick().unwrap();

    script.by(LEAD, reopen(2)).unwrap();

    assert_eq!(script.queued(), [2]);
    assert_eq!(script.task(2).terms().hired_by, None);
    assert!(script.tick().is_none());
}

#[test]
fn the_orphans_of_a_dissolved_team_are_its_own_affair() {
    let mut script = Script::given(&[card("the whole"), part_of(1, job("runs"))]);
    script.dispatch(2, "w1");
    script.cancel(LEAD, 1, "").unwrap();

    let removal = Removal {
        force: true,
        reason: "over".into(),
    };
    script
        .by(LEAD, Wish::DissolveTeam(t(), removal))
        .unwrap()
        .is(&[
            "lead: team dissolved: over",
            "lead: #2 stop of attempt 1: the team was dissolved: over",
            "> stop #2/1: the team was dissolved: over",
        ]);

    assert!(script.tick().is_none());
}

/// Nobody hears of a task that might begin, when it is about to be cancelled.
#[test]
fn an_orphan_is_not_said_to_be_free_when_its_blocker_is_done() {
    let mut script = Script::given(&[
        card("the whole"),
        card("blocker"),
        part_of(1, waits_for([2], owned_by("alice", card("part")))),
    ]);
    script.cancel(LEAD, 1, "").unwrap();

    let told = script.set(LEAD, 2, Status::Completed).unwrap();

    told.is(&["lead: #2 pending → completed", "> #2 is over"])
        .mails(&[]);
}
