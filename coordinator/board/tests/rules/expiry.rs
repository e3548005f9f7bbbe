//! Finished tasks leave in time (K15).

use std::collections::BTreeSet;

use board::{
    Board,
    command::{Answer, NewTask, Removal, TasksKept, Update, Wish},
    id::{TaskId, TaskKey, TeamUid},
    limits,
    record::Record,
    refusal::Refusal,
    task::{BlockerFailedPolicy, Status, Task},
};
use proptest::{prelude::*, test_runner::Config};

use crate::{
    acts::{Act, act},
    support::*,
    world::World,
};

/// A script whose board keeps so many finished tasks, for so many seconds.
fn keeping(count: usize, span: u64, tasks: &[NewTask]) -> Script {
    let mut script = Script::new();
    if !tasks.is_empty() {
        script.create(LEAD, tasks).unwrap();
    }
    script.tasks_kept = TasksKept {
        count,
        span: secs(span),
    };
    script
}

fn finish(script: &mut Script, tasks: impl IntoIterator<Item = u64>) {
    for task in tasks {
        script.after(secs(1));
        script.set(LEAD, task, Status::Completed).unwrap();
    }
}

/// What a tick takes off the board, and that it does nothing else but to say so.
fn expired(script: &mut Script) -> Vec<u64> {
    let Some(told) = script.tick() else {
        return vec![];
    };
    told.mails(&[]).answers(&Answer::Done);
    let gone = told
        .decision
        .records
        .iter()
        .filter_map(|record| match record {
            Record::TaskGone(TEAM, task) => Some(task.0),
            Record::Team(_) => None,
            other => panic!("a task expires, and {other:?} is written"),
        });
    let gone: Vec<u64> = gone.collect();
    let said = gone.iter().map(|id| format!("coordinator: #{id} expired"));
    let said: BTreeSet<String> = said.collect();
    assert_eq!(told.lines.iter().cloned().collect::<BTreeSet<_>>(), said);
    assert_eq!(told.lines.len(), gone.len());
    gone
}

fn here(script: &Script) -> Vec<u64> {
    script.shelf.tasks.keys().map(|key| key.1.0).collect()
}

fn gone(task: u64) -> Refusal {
    Refusal::TaskExpired {
        task: TaskId(task),
        team: t(),
    }
}

#[test]
fn those_beyond_the_newest_leave_in_the_order_in_which_they_ended() {
    let mut script = keeping(2, 3_600, &vec![card("x"); 5]);
    finish(&mut script, [3, 1, 5, 2]);

    assert_eq!(expired(&mut script), [1, 3]);
    assert_eq!(expired(&mut script), [0; 0]);

    assert_eq!(here(&script), [2, 4, 5]);
    finish(&mut script, [4]);
    assert_eq!(expired(&mut script), [5]);
}

#[test]
fn one_that_ended_long_ago_leaves_when_its_time_is_over() {
    let mut script = keeping(10, 3_600, &vec![card("x"); 2]);
    finish(&mut script, [1]);
    let ended = script.now;
    finish(&mut script, [2]);

    assert_eq!(expired(&mut script), [0; 0]);
    assert_eq!(script.next_deadline(), Some(ended + secs(3_600)));

    script.now = ended + secs(3_600);
    assert_eq!(expired(&mut script), [1]);
    assert_eq!(here(&script), [2]);
}

#[test]
fn whoever_asks_for_one_that_left_is_told_so_and_its_id_stays_used() {
    let mut script = keeping(1, 3_600, &vec![card("x"); 3]);
    finish(&mut script, [1, 2]);
    assert_eq!(expired(&mut script), [1]);

    let reopen = Wish::ReopenTask(t(), TaskId(1), None, "again".into());
    assert_eq!(script.by(LEAD, reopen).unwrap_err(), gone(1));
    assert_eq!(script.claim("alice", 1).unwrap_err(), gone(1));
    let delete = Wish::DeleteTask(t(), TaskId(1), None);
    assert_eq!(script.by(LEAD, delete).unwrap_err(), gone(1));
    let never = script.claim("alice", 9).unwrap_err();
    assert_eq!(never, Refusal::never_was(TaskId(9), t()));
    let made = script.create(LEAD, &[card("y")]).unwrap();
    assert!(matches!(made.answer, Answer::Tasks { first, .. } if first == TaskId(4)));
}

/// The last of what happened to a task, whether memory still had it whole or not.
#[test]
fn the_history_says_when_a_task_left_and_leads_back_from_there() {
    for is_outlined in [false, true] {
        let mut script = keeping(1, 3_600, &vec![card("x"); 2]);
        finish(&mut script, [1, 2]);
        let ended = script.task(1).revision;
        let (before, now) = (script.board.team(TEAM).unwrap().revision, script.now);
        if is_outlined {
            script.board = outlined(&script.board);
        }

        let told = script.tick().unwrap();

        told.is(&["coordinator: #1 expired"]);
        let event = &told.decision.events[0];
        assert_eq!((event.revision, event.at), (before.next(), now));
        assert_eq!(event.previous, ended);
        assert_eq!(script.board.team(TEAM).unwrap().revision, before.next());
    }
}

#[test]
fn a_deleted_task_reads_as_deleted_until_later_ones_have_left() {
    let mut script = keeping(1, 3_600, &vec![card("x"); 3]);
    script
        .by(LEAD, Wish::DeleteTask(t(), TaskId(1), None))
        .unwrap();
    let deleted = |script: &mut Script| script.claim("alice", 1).unwrap_err();
    let was_deleted = Refusal::TaskUnknown {
        task: TaskId(1),
        team: t(),
        was_deleted: true,
    };
    assert_eq!(deleted(&mut script), was_deleted);

    finish(&mut script, [2, 3]);
    assert_eq!(expired(&mut script), [2]);

    assert_eq!(deleted(&mut script), gone(1));
}

#[test]
fn whoever_names_one_that_left_in_a_field_is_told_so_with_the_field() {
    let mut script = keeping(1, 3_600, &vec![card("x"); 3]);
    finish(&mut script, [1, 2]);
    assert_eq!(expired(&mut script), [1]);
    let left = |field| Refusal::ReferenceExpired {
        field,
        task: TaskId(1),
        team: t(),
    };

    let waits = script.create(LEAD, &[waits_for([1], card("y"))]);
    let part = script.create(LEAD, &[part_of(1, card("y"))]);
    let change = Update {
        add_blocked_by: ids([1]),
        ..Update::default()
    };
    let changed = script.update(LEAD, 3, change);

    assert_eq!(waits.unwrap_err(), left("blocked_by"));
    assert_eq!(part.unwrap_err(), left("parent_task_id"));
    assert_eq!(changed.unwrap_err(), left("add_blocked_by"));
}

#[test]
fn a_sub_agent_is_not_told_what_left_beside_its_own_list() {
    let mut script = keeping(1, 3_600, &[card("x"), card("x"), job("j")]);
    script.dispatch(3, "w1");
    script.start(3, None);
    finish(&mut script, [1, 2]);
    assert_eq!(expired(&mut script), [1]);

    let refused = script.by_agent(3, 1, Wish::UpdateTask(t(), TaskId(1), Box::default()));

    assert_eq!(refused.unwrap_err(), Refusal::never_was(TaskId(1), t()));
    let waits = script.by_agent(3, 1, create(&[waits_for([1], card("y"))]));
    let unknown = Refusal::ReferenceUnknown {
        field: "blocked_by",
        task: TaskId(1),
        team: t(),
    };
    assert_eq!(waits.unwrap_err(), unknown);
}

#[test]
fn a_task_that_an_open_one_depends_on_stays_until_that_one_is_over() {
    let waiting = waits_for([1], card("w"));
    let mut script = keeping(1, 10, &[card("x"), card("y"), waiting]);
    finish(&mut script, [1, 2]);

    script.after(secs(10));
    assert_eq!(expired(&mut script), [2]);
    assert_eq!(script.next_deadline(), None);

    finish(&mut script, [3]);
    assert_eq!(expired(&mut script), [1]);
    let view = script.board.view(key(3)).unwrap();
    assert_eq!(view.task.blocked_by, [TaskId(1)]);
    assert!(view.open_blockers.is_empty());
}

#[test]
fn a_task_leaves_when_the_edge_of_the_one_that_waited_for_it_is_taken_away() {
    let waiting = waits_for([1, 2], card("w"));
    let mut script = keeping(9, 10, &[card("x"), card("y"), waiting]);
    finish(&mut script, [1, 2]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [0; 0]);

    let loosened = Update {
        remove_blocked_by: ids([1]),
        ..Update::default()
    };
    script.update(LEAD, 3, loosened).unwrap();
    assert_eq!(expired(&mut script), [1]);
    script
        .by(LEAD, Wish::DeleteTask(t(), TaskId(3), None))
        .unwrap();

    assert_eq!(expired(&mut script), [2]);
}

#[test]
fn children_stay_as_long_as_what_they_are_part_of_is_open_and_it_stays_as_long_as_they() {
    let tree = [
        card("root"),
        part_of(1, card("mid")),
        part_of(2, card("leaf")),
    ];
    let mut script = keeping(9, 10, &tree);
    finish(&mut script, [3, 2]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [0; 0]);

    finish(&mut script, [1]);
    assert_eq!(expired(&mut script), [3]);
    assert_eq!(expired(&mut script), [2]);
    assert_eq!(expired(&mut script), [0; 0]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [1]);
}

#[test]
fn a_parent_stays_as_long_as_a_child_is_open() {
    let tree = [card("root"), part_of(1, card("a")), part_of(1, card("b"))];
    let mut script = keeping(9, 10, &tree);
    finish(&mut script, [1, 2]);
    script.after(secs(10));

    assert_eq!(expired(&mut script), [2]);
    assert_eq!(expired(&mut script), [0; 0]);
    assert_eq!(here(&script), [1, 3]);
}

#[test]
fn what_an_open_task_joins_stays_with_all_its_children() {
    let join = NewTask {
        joins: Some(TaskId(1)),
        ..card("join")
    };
    let mut script = keeping(
        9,
        10,
        &[card("root"), part_of(1, card("a")), part_of(1, card("b"))],
    );
    script.create(LEAD, &[join]).unwrap();
    finish(&mut script, [2, 3, 1]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [0; 0]);

    finish(&mut script, [4]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [2, 3, 4]);
    assert_eq!(expired(&mut script), [1]);
}

#[test]
fn a_task_that_is_opened_again_does_not_wait_for_what_left() {
    for policy in [BlockerFailedPolicy::Wait, BlockerFailedPolicy::Proceed] {
        let waiting = NewTask {
            blocker_failed_policy: policy,
            ..waits_for([1, 2], card("w"))
        };
        let mut script = keeping(2, 3_600, &[card("x"), card("y"), waiting]);
        finish(&mut script, [1, 2, 3]);
        assert_eq!(expired(&mut script), [1]);

        let reopen = Wish::ReopenTask(t(), TaskId(3), None, "again".into());
        script.by(LEAD, reopen).unwrap();

        assert_eq!(script.task(3).blocked_by, [TaskId(2)]);
        assert!(script.board.view(key(3)).unwrap().is_ready());
        finish(&mut script, [3]);
        assert_eq!(here(&script), [2, 3]);
    }
}

#[test]
fn one_that_is_opened_again_stays_whatever_its_time() {
    let mut script = keeping(9, 10, &[card("x"), waits_for([1], card("w"))]);
    finish(&mut script, [1]);
    script.after(secs(10));
    assert_eq!(expired(&mut script), [0; 0]);

    script
        .by(LEAD, Wish::ReopenTask(t(), TaskId(1), None, "again".into()))
        .unwrap();
    finish(&mut script, [1, 2]);

    assert_eq!(expired(&mut script), [0; 0]);
    assert_eq!(here(&script), [1, 2]);
}

#[test]
fn many_leave_in_steps_that_no_commit_waits_long_for() {
    let step = limits::EXPIRED_PER_STEP as u64;
    let mut script = keeping(1, 3_600, &vec![card("x"); 2 * step as usize + 2]);
    script.is_checked = false;
    for task in 1..=2 * step + 2 {
        script.set(LEAD, task, Status::Completed).unwrap();
    }

    assert_eq!(expired(&mut script), (1..=step).collect::<Vec<_>>());
    assert!(script.next_deadline().is_some_and(|at| at <= script.now));
    assert_eq!(
        expired(&mut script),
        (step + 1..=2 * step).collect::<Vec<_>>()
    );
    assert_eq!(expired(&mut script), [2 * step + 1]);
    assert_eq!(expired(&mut script), [0; 0]);
    script.check();
}

#[test]
fn of_a_team_that_is_over_nothing_leaves_before_the_team_does() {
    let mut script = keeping(1, 10, &vec![card("x"); 3]);
    finish(&mut script, [1, 2, 3]);
    script
        .by(LEAD, Wish::DissolveTeam(t(), Removal::default()))
        .unwrap();

    script.after(secs(10));
    script.tick();
    assert_eq!(here(&script), [1, 2, 3]);

    script.after(TOMBSTONES_KEPT);
    while script.tick().is_some() {}
    assert_eq!((here(&script), script.next_deadline()), (vec![], None));
}

/// The limit of a team's tasks is one of open ones: however many it finishes, it takes more.
#[test]
fn a_team_that_has_finished_many_tasks_takes_more() {
    let mut script = keeping(3, 3_600, &[]);
    script.is_checked = false;
    for _ in 0..50 {
        let told = script.create(LEAD, &vec![card("x"); 20]).unwrap();
        let Answer::Tasks { first, .. } = told.answer else {
            panic!("{:?}", told.answer);
        };
        finish(&mut script, first.0..first.0 + 20);
        while script.tick().is_some() {}
    }

    assert_eq!(here(&script), [998, 999, 1_000]);
    script.check();
}

/// Whether an open task needs a finished one, as plainly as can be.
fn is_needed(script: &Script, (team, id): TaskKey) -> bool {
    let tasks = &script.shelf.tasks;
    let parent = |id: TaskId| tasks.get(&(team, id)).and_then(|task| task.parent);
    let is_below = |id: TaskId, root: TaskId| {
        std::iter::successors(parent(id), |id| parent(*id)).any(|above| above == root)
    };
    let of_team = tasks.iter().filter(|(key, _)| key.0 == team);
    let mut open = of_team.filter(|(_, task)| task.end().is_none());
    open.any(|(_, task)| {
        let joins = task.terms.as_ref().and_then(|terms| terms.joins);
        task.blocked_by.contains(&id)
            || joins.is_some_and(|joined| joined == id || parent(id) == Some(joined))
            || is_below(id, task.id)
            || is_below(task.id, id)
    })
}

fn is_open(board: &Board, team: TeamUid) -> bool {
    board.team(team).is_some_and(|team| team.is_open())
}

/// Whether a task's time is over: too many ended after it, or it ended too long ago.
fn is_past(script: &Script, key: TaskKey, task: &Task) -> bool {
    let kept = script.tasks_kept;
    let place = |task: &Task| task.end().map(|end| (end.at, task.id));
    let Some((ended, _)) = place(task) else {
        return false;
    };
    let others = script.shelf.tasks.iter().filter(|(of, _)| of.0 == key.0);
    let newer = others.filter(|(_, other)| place(other) > place(task));
    newer.count() >= kept.count || ended + kept.span <= script.now
}

proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    /// And of what may leave, all does.
    #[test]
    fn nothing_leaves_that_an_open_task_needs(
        count in 1..4_usize,
        acts in prop::collection::vec(prop_oneof![
            6 => act(),
            1 => (0..9_000_u32).prop_map(Act::Wait),
        ], 1..60),
    ) {
        let mut world = World::new();
        world.script.tasks_kept = TasksKept { count, span: secs(60) };
        let mut ever_gone = BTreeSet::new();
        for act in &acts {
            let before = world.script.clone();
            world.act(act);
            let script = &world.script;
            for (key, task) in &before.shelf.tasks {
                let team = script.board.team(key.0);
                let is_gone = !script.shelf.tasks.contains_key(key);
                if !is_gone || team.is_none_or(|team| !team.is_open() || key.1 > team.expired_through) {
                    continue;
                }
                // An act may end a task and have it leave at once; or delete it.
                if matches!(act, Act::Wait(_) | Act::Keep(..)) {
                    let mut then = before.clone();
                    (then.now, then.tasks_kept) = (script.now, script.tasks_kept);
                    if task.end().is_some() {
                        let others = &script.shelf.tasks;
                        // What needed it was over by then.
                        then.shelf.tasks.retain(|of, task| {
                            task.end().is_some() || others.get(of).is_some_and(|task| task.end().is_none())
                        });
                        prop_assert!(!is_needed(&then, *key), "{:?} left", key);
                    }
                }
                ever_gone.insert(*key);
            }
            if matches!(act, Act::Wait(_) | Act::Keep(..)) {
                for (key, task) in &script.shelf.tasks {
                    let has_child = || script.shelf.tasks.values().any(|other| other.parent == Some(task.id));
                    let may_stay = !is_open(&script.board, key.0)
                        || !is_past(script, *key, task)
                        || is_needed(script, *key)
                        || has_child();
                    prop_assert!(may_stay, "{:?} stays", key);
                }
            }
            for key in &ever_gone {
                prop_assert!(!script.shelf.tasks.contains_key(key), "{:?} came back", key);
            }
        }
    }
}
