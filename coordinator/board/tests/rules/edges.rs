//! Dependencies: made, refused, taken away, and what they hold back (K4, K5).

use board::{
    command::{Answer, NewTask, Update, Wish},
    id::TaskId,
    limits,
    refusal::Refusal,
    task::{BlockerFailedPolicy, Status},
};

use crate::support::*;

fn blocked_by(blockers: impl IntoIterator<Item = u64>) -> Update {
    Update {
        add_blocked_by: ids(blockers),
        ..Update::default()
    }
}

fn blocks(dependants: impl IntoIterator<Item = u64>) -> Update {
    Update {
        add_blocks: ids(dependants),
        ..Update::default()
    }
}

fn not_blocked_by(blockers: impl IntoIterator<Item = u64>) -> Update {
    Update {
        remove_blocked_by: ids(blockers),
        ..Update::default()
    }
}

fn not_blocks(dependants: impl IntoIterator<Item = u64>) -> Update {
    Update {
        remove_blocks: ids(dependants),
        ..Update::default()
    }
}

fn cards(n: usize) -> Vec<NewTask> {
    vec![card("x"); n]
}

#[test]
fn an_edge_is_seen_from_both_sides() {
    let mut script = Script::given(&cards(3));

    let from_below = script.update(LEAD, 2, blocked_by([1])).unwrap();
    let from_above = script.update(LEAD, 2, blocks([3])).unwrap();

    from_below.is(&["lead: #2 updated: blocked_by"]);
    from_above.is(&[
        "lead: #3 updated: blocked_by (because of #2)",
        "lead: #2 updated: blocks",
    ]);
    let two = script.board.view(key(2)).unwrap();
    assert_eq!(two.open_blockers, ids([1]));
    assert_eq!(two.blocks, ids([3]));
    assert_eq!(
        script.lines(),
        [
            "#1 [pending] x",
            "#2 [pending] x [blocked by #1]",
            "#3 [pending] x [blocked by #2]",
        ]
    );
}

#[test]
fn a_new_task_may_stand_between_two() {
    let mut script = Script::given(&cards(2));
    let between = NewTask {
        blocked_by: ids([1]),
        blocks: ids([2]),
        ..card("between")
    };

    let told = script.create(LEAD, &[between]).unwrap();

    told.is(&[
        "lead: #3 created: between",
        "lead: #2 updated: blocked_by (because of #3)",
    ]);
    assert_eq!(script.task(2).blocked_by, ids([3]));
}

/// C5, D1.
#[test]
fn unknown_and_own_edges_are_refused_by_their_field() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b"))]);
    let unknown = |field| Refusal::ReferenceUnknown {
        field,
        task: TaskId(9),
        team: t(),
    };
    let own = |field, task| Refusal::SelfEdge {
        field,
        task: TaskId(task),
    };
    let new = |blocked_by: &[u64], blocks: &[u64]| NewTask {
        blocked_by: ids(blocked_by.iter().copied()),
        blocks: ids(blocks.iter().copied()),
        ..card("new")
    };

    let updates = [
        (1, blocked_by([9]), unknown("add_blocked_by")),
        (1, blocks([9]), unknown("add_blocks")),
        (1, blocked_by([1]), own("add_blocked_by", 1)),
        (1, blocks([1]), own("add_blocks", 1)),
        (2, blocked_by([1, 2]), own("add_blocked_by", 2)),
    ];
    for (task, update, refusal) in updates {
        let refused = script.update(LEAD, task, update.clone());
        assert_eq!(refused.unwrap_err(), refusal, "{update:?}");
    }
    let creations = [
        (new(&[9], &[]), unknown("blocked_by")),
        (new(&[], &[9]), unknown("blocks")),
        (new(&[3], &[]), own("blocked_by", 3)),
        (new(&[], &[3]), own("blocks", 3)),
    ];
    for (task, refusal) in creations {
        let refused = script.create(LEAD, std::slice::from_ref(&task));
        assert_eq!(refused.unwrap_err(), refusal, "{task:?}");
    }
    assert_eq!(script.task(1).blocked_by, []);
    assert_eq!(script.task(2).blocked_by, ids([1]));
}

/// K4: what is there already, or is given twice, is no error, whatever the task is at.
#[test]
fn an_edge_that_is_there_changes_nothing() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b")), card("c")]);

    for (task, update) in [
        (2, blocked_by([1])),
        (1, blocks([2])),
        (2, blocked_by([1, 1])),
        (1, blocks([2, 2])),
    ] {
        let told = script.update(LEAD, task, update).unwrap();
        told.is(&[]);
        assert_eq!(told.decision.records, []);
    }
    // What else the change asks for is done.
    let more = Update {
        subject: Some("B".into()),
        ..blocked_by([1, 3, 3])
    };
    script
        .update(LEAD, 2, more)
        .unwrap()
        .is(&["lead: #2 updated: subject, blocked_by"]);
    assert_eq!(script.task(2).blocked_by, ids([1, 3]));
    // Nor is it one where a new edge would be: on work in progress, and on what is over.
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.set(LEAD, 3, Status::Completed).unwrap();
    script.set(LEAD, 2, Status::InProgress).unwrap();
    let reopen = Wish::ReopenTask(t(), TaskId(1), None, "again".into());
    script.by(LEAD, reopen).unwrap();
    script.update(LEAD, 2, blocked_by([1])).unwrap().is(&[]);
    script.update(LEAD, 1, blocks([2])).unwrap().is(&[]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    script.update(LEAD, 2, blocked_by([1])).unwrap().is(&[]);
}

/// K4: for a new task, too, and by whichever of its fields.
#[test]
fn a_blocker_that_is_given_twice_counts_once() {
    let mut script = Script::given(&cards(1));
    let twice = NewTask {
        blocked_by: ids([1, 1]),
        ..card("b")
    };
    let by_item_and_id = NewTask {
        blocked_by: ids([2]),
        blocked_by_items: vec![0, 0],
        ..card("c")
    };
    let blocking = NewTask {
        blocks: ids([3, 3]),
        ..card("d")
    };

    script.create(LEAD, &[twice, by_item_and_id]).unwrap();
    script.create(LEAD, &[blocking]).unwrap().is(&[
        "lead: #4 created: d",
        "lead: #3 updated: blocked_by (because of #4)",
    ]);

    assert_eq!(script.task(2).blocked_by, ids([1]));
    assert_eq!(script.task(3).blocked_by, ids([2, 4]));
}

/// C5, D1: the path is exact, from the task that the edge was asked for back to it, and the field
/// is the one whose edge closes it.
#[test]
fn a_circle_is_refused_with_its_path() {
    // 1 ← 2 ← 3, and 4 by itself.
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], card("b")),
        waits_for([2], card("c")),
        card("d"),
    ]);
    let circle = |field, path: &[u64]| Refusal::Cycle {
        field,
        path: ids(path.iter().copied()),
    };

    let simple = script.update(LEAD, 1, blocked_by([2]));
    let over_a_detour = script.update(LEAD, 1, blocked_by([3]));
    let from_above = script.update(LEAD, 3, blocks([1]));
    let in_one_update = script.update(
        LEAD,
        4,
        Update {
            add_blocked_by: ids([3]),
            add_blocks: ids([2]),
            ..Update::default()
        },
    );
    let by_a_new_task = script.create(
        LEAD,
        &[NewTask {
            blocked_by: ids([3]),
            blocks: ids([1]),
            ..card("e")
        }],
    );

    assert_eq!(simple.unwrap_err(), circle("add_blocked_by", &[1, 2, 1]));
    assert_eq!(
        over_a_detour.unwrap_err(),
        circle("add_blocked_by", &[1, 3, 2, 1])
    );
    assert_eq!(from_above.unwrap_err(), circle("add_blocks", &[1, 3, 2, 1]));
    assert_eq!(
        in_one_update.unwrap_err(),
        circle("add_blocks", &[2, 4, 3, 2])
    );
    assert_eq!(
        by_a_new_task.unwrap_err(),
        circle("blocks", &[1, 5, 3, 2, 1])
    );
}

#[test]
fn the_path_of_a_circle_is_the_shortest() {
    // 4 waits for 1 over 2 and 3, and over 3 alone.
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], card("b")),
        waits_for([2, 1], card("c")),
        waits_for([3], card("d")),
    ]);

    let refused = script.update(LEAD, 1, blocked_by([4]));

    let path = ids([1, 4, 3, 1]);
    let field = "add_blocked_by";
    assert_eq!(refused.unwrap_err(), Refusal::Cycle { field, path });
}

/// C5.
#[test]
fn a_diamond_is_fine_and_its_foot_is_freed_once() {
    let mut script = Script::given(&[
        card("top"),
        waits_for([1], card("left")),
        waits_for([1], card("right")),
        waits_for([2, 3], card("foot")),
    ]);

    script.set(LEAD, 1, Status::Completed).unwrap().is(&[
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "lead: #3 unblocked (because of #1)",
        "> #1 is over",
    ]);
    script
        .set(LEAD, 2, Status::Completed)
        .unwrap()
        .is(&["lead: #2 pending → completed", "> #2 is over"]);
    script.set(LEAD, 3, Status::Completed).unwrap().is(&[
        "lead: #3 pending → completed",
        "lead: #4 unblocked (because of #3)",
        "> #3 is over",
    ]);
}

/// C7, L7, L8, D3, D4, K4: each way of taking up a blocked task.
#[test]
fn a_blocked_task_is_not_taken_up_in_any_way() {
    let mut script = Script::given(&[card("a"), card("b"), waits_for([1, 2], job("c"))]);
    let blocked = Refusal::TaskBlocked {
        task: TaskId(3),
        blockers: ids([1, 2]),
    };

    assert_eq!(script.claim("alice", 3).unwrap_err(), blocked);
    assert_eq!(
        script.set(LEAD, 3, Status::InProgress).unwrap_err(),
        blocked
    );
    assert_eq!(script.set(LEAD, 3, Status::Completed).unwrap_err(), blocked);
    assert_eq!(script.try_dispatch(3, "w1").unwrap_err(), blocked);
    assert_eq!(script.queued(), []);

    script.set(LEAD, 1, Status::Completed).unwrap();
    let blocked = Refusal::TaskBlocked {
        task: TaskId(3),
        blockers: ids([2]),
    };
    assert_eq!(script.claim("alice", 3).unwrap_err(), blocked);

    script.set(LEAD, 2, Status::Completed).unwrap();
    assert_eq!(script.queued(), [3]);
    script.clone().claim("alice", 3).unwrap();
    script.try_dispatch(3, "w1").unwrap();
}

/// A blocked task can be called off, or given up.
#[test]
fn a_blocked_task_can_be_cancelled_or_failed() {
    let script = Script::given(&[card("a"), waits_for([1], card("b"))]);

    let cancelled = script.clone().set(LEAD, 2, Status::Cancelled);
    let failed = script.clone().set(LEAD, 2, Status::Failed);

    cancelled
        .unwrap()
        .is(&["lead: #2 pending → cancelled", "> #2 is over"]);
    failed
        .unwrap()
        .is(&["lead: #2 pending → failed", "> #2 is over"]);
}

/// D3: a blocker that is done doesn't block.
#[test]
fn an_edge_to_a_completed_task_holds_nothing_back() {
    let mut script = Script::given(&[card("a"), job("b")]);
    script.set(LEAD, 1, Status::Completed).unwrap();

    script
        .update(LEAD, 2, blocked_by([1]))
        .unwrap()
        .is(&["lead: #2 updated: blocked_by"]);

    assert_eq!(script.queued(), [2]);
    assert_eq!(script.lines()[1], "#2 [pending] b");
}

#[test]
fn the_last_open_edge_taken_away_frees_the_task() {
    let given = || Script::given(&[card("a"), card("b"), waits_for([1, 2], job("c"))]);

    let mut script = given();
    script
        .update(LEAD, 3, not_blocked_by([1]))
        .unwrap()
        .is(&["lead: #3 updated: blocked_by"]);
    let told = script.update(LEAD, 3, not_blocked_by([2])).unwrap();
    told.is(&[
        "lead: #3 updated: blocked_by",
        "lead: #3 unblocked (because of #2)",
    ]);
    assert_eq!(unblocked(&told.answer), ids([3]));
    assert_eq!(script.queued(), [3]);

    let mut script = given();
    script.set(LEAD, 1, Status::Completed).unwrap();
    let told = script.update(LEAD, 2, not_blocks([3])).unwrap();
    told.is(&[
        "lead: #3 updated: blocked_by (because of #2)",
        "lead: #2 updated: blocks",
        "lead: #3 unblocked (because of #2)",
    ]);
    assert_eq!(unblocked(&told.answer), ids([3]));
}

#[test]
fn an_edge_that_held_nothing_back_frees_nothing_when_it_goes() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    let ready_since = script.task(2).state.clone();
    script.after(secs(60));

    let told = script.update(LEAD, 2, not_blocked_by([1])).unwrap();

    told.is(&["lead: #2 updated: blocked_by"]);
    assert_eq!(script.task(2).state, ready_since, "its place in the queue");
}

#[test]
fn an_edge_changed_for_another_frees_nothing() {
    let mut script = Script::given(&[card("a"), card("b"), waits_for([1], card("c"))]);

    let told = script.update(
        LEAD,
        3,
        Update {
            remove_blocked_by: ids([1]),
            add_blocked_by: ids([2]),
            ..Update::default()
        },
    );

    let told = told.unwrap();
    told.is(&["lead: #3 updated: blocked_by"]);
    assert_eq!(unblocked(&told.answer), []);
}

#[test]
fn an_edge_that_is_not_there_goes_without_a_trace() {
    let mut script = Script::given(&cards(2));

    for update in [not_blocked_by([2, 9]), not_blocks([2, 9])] {
        let told = script.update(LEAD, 1, update).unwrap();
        told.is(&[]);
        assert_eq!(told.decision.records, []);
    }
}

#[test]
fn what_is_over_comes_to_wait_for_nothing() {
    let mut script = Script::given(&cards(2));
    script.set(LEAD, 2, Status::Completed).unwrap();
    let over = Refusal::TaskOver {
        task: TaskId(2),
        status: Status::Completed,
    };

    let from_below = script.update(LEAD, 2, blocked_by([1]));
    let from_above = script.update(LEAD, 1, blocks([2]));

    assert_eq!(from_below.unwrap_err(), over);
    assert_eq!(from_above.unwrap_err(), over);
}

#[test]
fn a_task_has_a_thousand_edges_each_way_and_no_more() {
    let max = limits::EDGES_MAX as u64;
    let mut script = Script::new();
    script.is_checked = false;
    script.create(LEAD, &cards(1_000)).unwrap();
    script.create(LEAD, &cards(2)).unwrap();
    let too_many = |field| Refusal::TooMany {
        field,
        count: limits::EDGES_MAX + 1,
        max: limits::EDGES_MAX,
    };

    // #1001 waits for all of the first thousand; then it is what they all would wait for.
    let given_at_once = script.clone().update(LEAD, 1_001, blocked_by(1..=max + 1));
    script.update(LEAD, 1_001, blocked_by(1..=max)).unwrap();
    let one_more = script.update(LEAD, 1_002, blocks([1_001]));
    script.update(LEAD, 1_002, blocks(1..=max)).unwrap();
    let other_way = script.create(LEAD, &[waits_for([1_002], card("x"))]);

    let given_twice = blocked_by((1..=max).chain(1..=max));
    script.update(LEAD, 1_001, given_twice).unwrap().is(&[]);
    let twice = waits_for((1..=max).chain(1..=max), card("y"));
    let over = NewTask {
        blocked_by_items: vec![0],
        ..twice.clone()
    };

    let mut wide = Script::new();
    wide.is_checked = false;
    wide.create(LEAD, &cards(1_000)).unwrap();

    let one_more_item = wide.create(LEAD, &[card("z"), over]);
    assert_eq!(one_more_item.unwrap_err(), too_many("blocked_by"));
    wide.create(LEAD, &[twice]).unwrap();
    assert_eq!(wide.task(1_001).blocked_by.len(), limits::EDGES_MAX);
    assert_eq!(given_at_once.unwrap_err(), too_many("add_blocked_by"));
    assert_eq!(one_more.unwrap_err(), too_many("blocked_by"));
    assert_eq!(other_way.unwrap_err(), too_many("blocks"));
    script.check();
}

/// K5, D6 of the to-do package differs: an edge to a blocker that failed acts like its failing.
#[test]
fn a_failed_blocker_acts_by_the_policy_also_on_who_comes_later() {
    let with = |policy| NewTask {
        blocker_failed_policy: policy,
        ..waits_for([1], job("b"))
    };
    let mut given = Script::given(&[card("a")]);
    given.set(LEAD, 1, Status::Failed).unwrap();

    let mut script = given.clone();
    script
        .create(LEAD, &[with(BlockerFailedPolicy::Wait)])
        .unwrap();
    assert_eq!(script.lines()[1], "#2 [pending] b [blocked by #1]");

    let mut script = given.clone();
    script
        .create(LEAD, &[with(BlockerFailedPolicy::Proceed)])
        .unwrap();
    assert_eq!(script.queued(), [2]);

    let mut script = given.clone();
    let told = script.create(LEAD, &[with(BlockerFailedPolicy::Cancel)]);
    told.unwrap().is(&[
        "lead: #2 created: b",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #2 is over",
    ]);

    let mut script = given;
    let free = NewTask {
        blocked_by: vec![],
        ..with(BlockerFailedPolicy::Cancel)
    };
    script.create(LEAD, &[free]).unwrap();
    script.update(LEAD, 2, blocked_by([1])).unwrap().is(&[
        "lead: #2 updated: blocked_by",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #2 is over",
    ]);
}

fn unblocked(answer: &Answer) -> Vec<TaskId> {
    match answer {
        Answer::Updated(updated) => updated.unblocked.clone(),
        other => panic!("{other:?}"),
    }
}
