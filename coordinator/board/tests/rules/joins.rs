//! Joins: tasks that wait for all that is part of another (fan-in).

use board::{
    command::{NewTask, Update, Wish},
    id::TaskId,
    limits,
    refusal::Refusal,
    task::{AttemptEnding, BlockerFailedPolicy, Status},
    view::Phase,
};

use crate::support::*;

fn joining(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        joins: Some(TaskId(parent)),
        ..task
    }
}

fn minded(policy: BlockerFailedPolicy, task: NewTask) -> NewTask {
    NewTask {
        blocker_failed_policy: policy,
        ..task
    }
}

fn reopen(task: u64) -> Wish {
    Wish::ReopenTask(t(), TaskId(task), None, "again".into())
}

fn cycle(field: &'static str, path: &[u64]) -> Refusal {
    Refusal::Cycle {
        field,
        path: ids(path.iter().copied()),
    }
}

fn open_blockers(script: &Script, task: u64) -> Vec<TaskId> {
    script.board.view(key(task)).unwrap().open_blockers
}

#[test]
fn a_join_waits_for_every_child_and_is_freed_in_the_commit_of_the_last_ones_end() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        part_of(1, job("b")),
        joining(1, owned_by("hana", card("sum up"))),
    ]);
    assert_eq!(open_blockers(&script, 4), ids([2, 3]));
    assert_eq!(script.queued(), [3]);
    let refusal = Refusal::TaskBlocked {
        task: TaskId(4),
        blockers: ids([2, 3]),
    };
    assert_eq!(script.try_dispatch(4, "w1").unwrap_err(), refusal);
    assert_eq!(script.set(LEAD, 4, Status::Completed).unwrap_err(), refusal);

    script.set(LEAD, 2, Status::Completed).unwrap();
    let view = script.board.view(key(4)).unwrap();
    assert_eq!(
        (view.phase, &*view.phase_reason),
        (Some(Phase::Blocked), "waits for 1 other tasks")
    );
    script.dispatch(3, "w1");
    let told = script.end(3, done("b's"));

    told.is(&[
        "worker w1: #3 in_progress → completed in attempt 1",
        "worker w1: #4 unblocked (because of #3)",
        "> #3 is over",
    ])
    .mails(&[
        "coordinator → lead: TaskFinished: all that is part of #1 is over",
        "coordinator → hana: TaskUnblocked: sum up",
    ]);
    assert_eq!(script.queued(), [4]);
}

#[test]
fn what_becomes_of_a_join_when_a_child_does_not_complete_is_as_with_blockers() {
    use BlockerFailedPolicy::{Cancel, Proceed, Wait};
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        part_of(1, card("b")),
        minded(Wait, joining(1, job("waits"))),
        minded(Cancel, joining(1, job("is cancelled"))),
        minded(Proceed, joining(1, job("goes ahead"))),
    ]);

    script.set(LEAD, 2, Status::Failed).unwrap().is(&[
        "lead: #2 pending → failed",
        "coordinator: #5 pending → cancelled: blocker #2 did not complete (because of #2)",
        "> #2 is over",
        "> #5 is over",
    ]);
    script.set(LEAD, 3, Status::Completed).unwrap().is(&[
        "lead: #3 pending → completed",
        "lead: #6 unblocked (because of #3)",
        "> #3 is over",
    ]);

    assert_eq!(script.queued(), [6]);
    assert_eq!(open_blockers(&script, 4), ids([2]));
    script.by(LEAD, reopen(2)).unwrap();
    script.set(LEAD, 2, Status::Completed).unwrap();
    assert_eq!(script.queued(), [4, 6]);
}

/// What had failed before the join came acts on it as if it happened now.
#[test]
fn a_join_that_comes_late_heeds_what_did_not_complete_before() {
    let mut script = Script::given(&[card("the whole"), part_of(1, card("a"))]);
    script.set(LEAD, 2, Status::Failed).unwrap();
    let policies = [
        BlockerFailedPolicy::Wait,
        BlockerFailedPolicy::Cancel,
        BlockerFailedPolicy::Proceed,
    ];

    let joins = policies.map(|policy| minded(policy, joining(1, job("join"))));
    script.create(LEAD, &joins).unwrap();

    let statuses = [3, 4, 5].map(|task| script.task(task).status());
    assert_eq!(
        statuses,
        [Status::Pending, Status::Cancelled, Status::Pending]
    );
    assert_eq!(script.queued(), [5]);
    let policy = Update {
        blocker_failed_policy: Some(BlockerFailedPolicy::Proceed),
        ..Update::default()
    };
    script.update(LEAD, 3, policy).unwrap().is(&[
        "lead: #3 updated: blocker_failed_policy",
        "lead: #3 unblocked (because of #2)",
    ]);
}

#[test]
fn a_join_may_be_a_child_itself_and_does_not_wait_for_itself() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        part_of(1, joining(1, job("sum up"))),
    ]);
    assert_eq!(open_blockers(&script, 3), ids([2]));

    script.set(LEAD, 2, Status::Completed).unwrap();

    assert_eq!(script.queued(), [3]);
    script.create(LEAD, &[part_of(1, card("late"))]).unwrap();
    assert_eq!(open_blockers(&script, 3), ids([4]));
    assert_eq!(script.queued(), []);
}

/// Children are made first, or in the same batch before their join: one that joins nothing waits for
/// nothing.
#[test]
fn a_join_of_nothing_is_free_and_waits_for_what_comes_before_it_begins() {
    let mut script = Script::given(&[card("the whole"), joining(1, job("early"))]);
    assert_eq!(script.queued(), [2]);
    script.create(LEAD, &[part_of(1, card("a"))]).unwrap();
    assert_eq!(script.queued(), []);
    script.set(LEAD, 3, Status::Completed).unwrap();
    script.dispatch(2, "w1");

    script
        .create(LEAD, &[part_of(1, card("too late"))])
        .unwrap();

    assert_eq!(script.task(2).status(), Status::InProgress);
    script.hand_back(2, "no");
    script.until_due();
    assert_eq!(open_blockers(&script, 2), ids([4]));
}

#[test]
fn circles_over_a_join_are_refused_with_their_path() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        joining(1, card("join")),
        waits_for([3], card("after it")),
        card("another whole"),
        part_of(5, card("its part")),
    ]);
    let blocked_by = |blocker| Update {
        add_blocked_by: ids([blocker]),
        ..Update::default()
    };
    let blocks = |dependant| Update {
        add_blocks: ids([dependant]),
        ..Update::default()
    };

    // A child that is to wait for the join, at once or over a detour, said from either end.
    assert_eq!(
        script.update(LEAD, 2, blocked_by(3)).unwrap_err(),
        cycle("add_blocked_by", &[2, 3, 2])
    );
    assert_eq!(
        script.update(LEAD, 2, blocked_by(4)).unwrap_err(),
        cycle("add_blocked_by", &[2, 4, 3, 2])
    );
    assert_eq!(
        script.update(LEAD, 3, blocks(2)).unwrap_err(),
        cycle("add_blocks", &[2, 3, 2])
    );
    assert_eq!(
        script.update(LEAD, 4, blocks(2)).unwrap_err(),
        cycle("add_blocks", &[2, 4, 3, 2])
    );
    // A child that is made to.
    let late = [part_of(1, waits_for([4], card("late")))];
    assert_eq!(
        script.create(LEAD, &late).unwrap_err(),
        cycle("blocked_by", &[7, 4, 3, 7])
    );
    // Two joins that are part of what both join; two that are part of what the other joins.
    let inner = [part_of(1, joining(1, card("inner")))];
    script.create(LEAD, &inner).unwrap();
    assert_eq!(
        script.create(LEAD, &inner).unwrap_err(),
        cycle("joins_task_id", &[8, 7, 8])
    );
    let across = [part_of(1, joining(5, card("across")))];
    script.create(LEAD, &across).unwrap();
    let back = [part_of(5, joining(1, card("and back")))];
    assert_eq!(
        script.create(LEAD, &back).unwrap_err(),
        cycle("joins_task_id", &[9, 7, 8, 9])
    );
    // A join that a child waits for from the start.
    let blocking = [NewTask {
        blocks: ids([6]),
        ..joining(5, card("blocks its own"))
    }];
    assert_eq!(
        script.create(LEAD, &blocking).unwrap_err(),
        cycle("blocks", &[6, 9, 6])
    );
}

/// While it was over, nobody waited for anything over it.
#[test]
fn a_join_is_not_opened_again_into_a_circle() {
    let mut script = Script::given(&[card("the whole"), joining(1, card("join"))]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    script
        .create(LEAD, &[part_of(1, waits_for([2], card("part")))])
        .unwrap();

    let refused = script.by(LEAD, reopen(2)).unwrap_err();

    assert_eq!(refused, cycle("task_id", &[2, 3, 2]));
}

#[test]
fn what_is_joined_must_be_there_and_is_joined_by_no_more_than_may_be() {
    let mut script = Script::given(&[card("the whole"), part_of(1, job("a"))]);
    let unknown = Refusal::ReferenceUnknown {
        field: "joins_task_id",
        task: TaskId(9),
        team: t(),
    };
    assert_eq!(
        script.create(LEAD, &[joining(9, card("x"))]).unwrap_err(),
        unknown
    );
    script.dispatch(2, "w1");
    let of_another = create(&[joining(1, card("x"))]);
    let refused = script.by_agent(2, 1, of_another).unwrap_err();
    assert_eq!(
        refused,
        Refusal::ReferenceUnknown {
            field: "joins_task_id",
            task: TaskId(1),
            team: t(),
        }
    );

    script.is_checked = false;
    let joins: Vec<NewTask> = (0..limits::EDGES_MAX)
        .map(|_| joining(1, card("x")))
        .collect();
    script.create(LEAD, &joins).unwrap();
    let too_many = Refusal::TooMany {
        field: "joins_task_id",
        count: limits::EDGES_MAX + 1,
        max: limits::EDGES_MAX,
    };
    assert_eq!(script.create(LEAD, &joins[..1]).unwrap_err(), too_many);
}

/// The last thousand of them in one commit, with the join last: within one batch it is seen, too.
#[test]
fn a_batch_that_ends_the_last_children_frees_their_join_once() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        part_of(1, card("b")),
        part_of(1, card("c")),
        joining(1, job("sum up")),
    ]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    let update = |task, status| (TaskId(task), to(status));

    let all = vec![
        update(3, Status::Completed),
        update(4, Status::Completed),
        update(5, Status::Cancelled),
    ];
    let told = script.by(LEAD, Wish::UpdateTasks(t(), all)).unwrap();

    told.is(&[
        "lead: #3 pending → completed",
        "lead: #4 pending → completed",
        "lead: #5 unblocked (because of #4)",
        "lead: #5 pending → cancelled",
        "> #3 is over",
        "> #4 is over",
        "> #5 is over",
    ]);
}

#[test]
fn a_fan_out_of_thousands_is_joined_and_told_by_its_first() {
    let mut script = Script::given(&[card("the whole")]);
    script.is_checked = false;
    let parts: Vec<NewTask> = (0..1_000).map(|_| part_of(1, job("part"))).collect();
    for _ in 0..3 {
        script.create(LEAD, &parts).unwrap();
    }
    script.create(LEAD, &[joining(1, job("sum up"))]).unwrap();

    let view = script.board.view(key(3_002)).unwrap();
    assert_eq!(view.open_blockers, ids(2..=21));
    assert_eq!(&*view.phase_reason, "waits for 3000 other tasks");
    for task in 2..=3_001 {
        assert!(!script.queued_is(3_002));
        script.dispatch(task, "w1");
        script.end(task, report(AttemptEnding::Completed, "", ""));
    }

    assert!(script.queued_is(3_002));
    script.check();
}

/// Those that wait for a cancelled child are seen to step by step; until then their join waits too.
#[test]
fn deleting_the_last_open_child_frees_the_join() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a")),
        part_of(1, card("b")),
        joining(1, job("sum up")),
    ]);
    script.set(LEAD, 2, Status::Completed).unwrap();

    let told = script
        .by(LEAD, Wish::DeleteTask(t(), TaskId(3), None))
        .unwrap();

    told.is(&[
        "lead: #3 deleted: b",
        "lead: #4 unblocked (because of #3)",
        "> #3 is over",
    ]);
    assert_eq!(script.queued(), [4]);
}
