//! What the sub-agent of a task sees and changes (DESIGN §6, T6): a list of its own, or the board
//! of whoever hired it.

use board::{
    command::{Caller, ClaimNext, NewTask, Update, Wish},
    decide::list_of,
    event::Actor,
    id::{Fence, TaskId},
    limits,
    refusal::{Refusal, Staleness},
    task::Status,
    team::MemberKind,
};

use crate::support::*;

fn part_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

fn sharing(task: NewTask) -> NewTask {
    NewTask {
        share_todos: true,
        ..task
    }
}

/// The list of the sub-agent of a task's first attempt; none for the whole board.
fn list(script: &Script, task: u64) -> Option<u64> {
    let caller = Caller {
        attempt: Some(fence(task, 1)),
        ..Caller::default()
    };
    let list = list_of(&script.board, TEAM, &caller).unwrap();
    list.map(|root| root.0)
}

fn unknown(task: u64) -> Refusal {
    Refusal::TaskUnknown {
        task: TaskId(task),
        team: t(),
        was_deleted: false,
    }
}

fn update(task: u64, update: Update) -> Wish {
    Wish::UpdateTask(t(), TaskId(task), Box::new(update))
}

fn rename(task: u64) -> Wish {
    let subject = Some("renamed".into());
    update(
        task,
        Update {
            subject,
            ..Update::default()
        },
    )
}

#[test]
fn a_sub_agent_has_a_list_of_its_own_unless_it_shares() {
    let mut script = Script::given(&[
        job("own"),
        sharing(job("the lead's board")),
        part_of(1, job("own below own")),
        part_of(1, sharing(job("its parent's"))),
        part_of(2, job("inherits, and so the lead's board")),
        part_of(4, job("inherits, and so its grandparent's")),
    ]);
    for task in 1..=6 {
        script.dispatch(task, "w1");
    }

    let lists = [1, 2, 3, 4, 5, 6].map(|task| list(&script, task));

    let shares = [5, 6].map(|task| script.task(task).share_todos);
    assert_eq!(lists, [Some(1), None, Some(3), Some(1), None, Some(1)]);
    assert_eq!(shares, [true, true], "it is inherited");
}

/// The team's hosted members share the team's board.
#[test]
fn who_runs_as_a_hosted_member_acts_as_it_and_sees_the_board() {
    let mut script = Script::given(&[owned_by("hana", card("a")), card("b")]);
    script.dispatch(1, "w1");

    assert_eq!(list(&script, 1), None);
    let claim = Wish::ClaimNext(t(), ClaimNext::default());
    script
        .by_agent(1, 1, claim)
        .unwrap()
        .is(&["hana: #2 claimed by hana as attempt 1"]);
}

/// The list is the same whether what lies above is in memory whole or in outline.
#[test]
fn a_parent_that_is_over_still_says_whose_board_is_shared() {
    let mut script = Script::given(&[
        sharing(card("parent")),
        part_of(1, job("child")),
        card("own"),
        part_of(3, sharing(job("child of its own"))),
    ]);
    for (task, parent) in [(2, 1), (4, 3)] {
        script.dispatch(task, "w1");
        script.set(LEAD, parent, Status::Completed).unwrap();
    }
    let outlined = Script {
        board: outlined(&script.board),
        ..script.clone()
    };

    for script in [script, outlined] {
        assert_eq!((list(&script, 2), list(&script, 4)), (None, Some(3)));
    }
}

#[test]
fn what_is_not_on_its_list_is_unknown_to_a_sub_agent() {
    let mut script = Script::given(&[
        card("another's"),
        job("own"),
        part_of(2, card("child")),
        part_of(3, card("grandchild")),
        card("over"),
    ]);
    script.set(LEAD, 5, Status::Completed).unwrap();
    script.dispatch(2, "w1");
    let wishes = |task: u64| {
        let task = TaskId(task);
        [
            rename(task.0),
            Wish::ClaimTask(t(), task, None, None),
            Wish::RenewClaim(t(), task, None),
            Wish::ReleaseTask(t(), task, None, "".into()),
            Wish::ReopenTask(t(), task, None, "again".into()),
            Wish::DeleteTask(t(), task, None),
            Wish::PauseTask(t(), task, "".into()),
            Wish::ResumeTask(t(), task),
            Wish::CancelTask(t(), task, "".into()),
        ]
    };

    for task in [1, 5] {
        for wish in wishes(task) {
            let refused = script.by_agent(2, 1, wish.clone());
            assert_eq!(refused.unwrap_err(), unknown(task), "{wish:?}");
        }
        let batch = Wish::UpdateTasks(
            t(),
            vec![
                (TaskId(3), Update::default()),
                (TaskId(task), Update::default()),
            ],
        );
        let refused = script.by_agent(2, 1, batch);
        assert_eq!(refused.unwrap_err(), unknown(task));
    }
    for task in [3, 4] {
        script.by_agent(2, 1, rename(task)).unwrap();
    }
}

/// Nor can it speak of it: an edge or a parent would tell that it is there, and reach out of the
/// list.
#[test]
fn no_edge_leads_out_of_a_sub_agents_list() {
    let mut script = Script::given(&[
        card("another's"),
        job("own"),
        part_of(2, card("child")),
        part_of(2, waits_for([1], card("bound"))),
        waits_for([3], card("outside")),
    ]);
    script.dispatch(2, "w1");
    let reference = |field| Refusal::ReferenceUnknown {
        field,
        task: TaskId(1),
        team: t(),
    };
    let new = |change: fn(&mut NewTask)| {
        let mut task = card("new");
        change(&mut task);
        create(&[task])
    };
    let edge = |change: fn(&mut Update)| {
        let mut changes = Update::default();
        change(&mut changes);
        update(3, changes)
    };

    let refused = [
        ("blocked_by", new(|task| task.blocked_by = ids([1]))),
        ("blocks", new(|task| task.blocks = ids([1]))),
        ("parent_task_id", new(|task| task.parent = Some(TaskId(1)))),
        ("add_blocked_by", edge(|c| c.add_blocked_by = ids([1]))),
        ("add_blocks", edge(|c| c.add_blocks = ids([1]))),
    ];
    for (field, wish) in refused {
        let refused = script.by_agent(2, 1, wish);
        assert_eq!(refused.unwrap_err(), reference(field));
    }
    // What is there and can't be seen is not there.
    let loosen = |task: u64, blocked_by: Vec<TaskId>, blocks: Vec<TaskId>| {
        update(
            task,
            Update {
                remove_blocked_by: blocked_by,
                remove_blocks: blocks,
                ..Update::default()
            },
        )
    };
    let bound = script.by_agent(2, 1, loosen(4, ids([1]), vec![]));
    let outside = script.by_agent(2, 1, loosen(3, vec![], ids([5])));
    bound.unwrap().is(&[]);
    outside.unwrap().is(&[]);
    let within = edge(|c| c.add_blocks = ids([4]));
    script.by_agent(2, 1, within).unwrap().is(&[
        "task 2: #4 updated: blocked_by (because of #3)",
        "task 2: #3 updated: blocks",
    ]);
}

#[test]
fn what_a_sub_agent_makes_is_on_its_list() {
    let mut script = Script::given(&[
        job("own"),
        part_of(1, sharing(job("its parent's"))),
        sharing(job("the board")),
    ]);
    for task in 1..=3 {
        script.dispatch(task, "w1");
        script.by_agent(task, 1, create(&[card("todo")])).unwrap();
    }

    let made = [4, 5, 6].map(|id| {
        let task = script.task(id);
        (task.parent, task.created_by.clone())
    });

    let by = |task| Actor::Task(TaskId(task));
    assert_eq!(
        made,
        [
            (Some(TaskId(1)), by(1)),
            (Some(TaskId(1)), by(2)),
            (None, by(3))
        ]
    );
}

/// It has a say in all that is on its list, but not in the task that it is at.
#[test]
fn a_sub_agent_works_its_list_off_and_leaves_its_own_task_to_its_worker() {
    let mut script = Script::given(&[job("own"), part_of(1, owned_by("bob", card("bob's")))]);
    script.dispatch(1, "w1");
    script.by_agent(1, 1, create(&[card("todo")])).unwrap();
    let claim = Wish::ClaimTask(t(), TaskId(3), None, None);

    script
        .by_agent(1, 1, claim)
        .unwrap()
        .is(&["task 1: #3 claimed by task:1 as attempt 1"]);
    assert_eq!(script.task(3).claim().unwrap().lease, None);
    assert_eq!(script.lines()[2], "#3 [in_progress] todo (task:1)");
    script
        .by_agent(1, 1, update(3, to(Status::Completed)))
        .unwrap()
        .is(&[
            "task 1: #3 in_progress → completed in attempt 1",
            "> #3 is over",
        ]);
    script.by_agent(1, 1, rename(2)).unwrap();

    let own = script.by_agent(1, 1, rename(1));
    let next = script.by_agent(1, 1, Wish::ClaimNext(t(), ClaimNext::default()));

    assert!(matches!(own, Err(Refusal::NotOwner { .. })));
    assert!(matches!(next, Err(Refusal::BadValue { .. })));
}

#[test]
fn a_sub_agent_whose_attempt_is_over_or_elsewhere_is_refused() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");
    script.lose(1);
    script.dispatch(1, "w1");
    script.end(2, done(""));
    let right = fence(1, 2);
    let other_epoch = Fence {
        epoch: board::id::Epoch(8),
        ..right
    };
    let other_team = Fence {
        team: board::id::TeamUid(9),
        ..right
    };

    let stale = Refusal::Stale {
        why: Staleness::Attempt,
    };
    let fences = [fence(1, 1), fence(1, 3), fence(2, 1), fence(9, 1)];
    for fence in fences.into_iter().chain([other_epoch, other_team]) {
        let caller = Caller {
            attempt: Some(fence),
            ..Caller::default()
        };
        assert_eq!(list_of(&script.board, TEAM, &caller), Err(stale.clone()));
        let call = board::command::Call {
            caller,
            request: None,
            wish: create(&[card("c")]),
        };
        assert_eq!(script.call(&call).unwrap_err(), stale);
    }
    script.by_agent(1, 2, create(&[card("c")])).unwrap();
}

/// T2: the name alone is a label.
#[test]
fn a_sub_agent_does_not_act_as_who_took_its_members_name_since() {
    let mut script = Script::given(&[owned_by("hana", card("a")), card("b")]);
    script.dispatch(1, "w1");
    script.after(secs(1));
    let force = board::command::Removal {
        force: true,
        reason: "".into(),
    };
    let remove = Wish::RemoveMember(t(), name("hana"), force);
    script.by(LEAD, remove).unwrap();
    let hana = member("hana", MemberKind::Agent);
    script.by(LEAD, Wish::AddMember(t(), hana)).unwrap();

    let renamed = script.by_agent(1, 1, rename(2));

    assert_eq!(renamed.unwrap_err(), unknown(2));
    assert_eq!(list(&script, 1), Some(1));
}

#[test]
fn tasks_lie_no_deeper_than_the_bound() {
    let mut script = Script::given(&[card("root")]);
    let most = limits::DEPTH_MAX as u64;
    for parent in 1..=most {
        script.create(LEAD, &[part_of(parent, card("x"))]).unwrap();
    }

    let too_deep = script.create(LEAD, &[part_of(most + 1, card("x"))]);

    let refusal = Refusal::BadValue {
        field: "parent_task_id",
        why: format!("lies {most} tasks deep, and none may be part of it"),
    };
    assert_eq!(too_deep.unwrap_err(), refusal);
    assert_eq!(script.board.depth(TEAM, TaskId(most + 1)), 32);
}
