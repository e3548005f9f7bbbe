//! What holds whatever is done.

use std::collections::{BTreeMap, BTreeSet};

use board::{
    Board,
    command::{Answer, Call, Caller, Wish},
    event::Happening,
    id::TaskKey,
    invariants,
    record::Record,
    task::{BlockerFailedPolicy, EndStatus, Status, TaskState},
    view::{Phase, TaskView},
};
use proptest::{prelude::*, test_runner::Config};

use crate::{
    acts::{Act, act},
    support::*,
    world::{Came, World},
};

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 1..60)
}

/// Puts records in an order that is any, but always the same for one seed.
fn shuffle(records: &mut [Record], mut seed: u64) {
    for at in (1..records.len()).rev() {
        // A step of a linear congruential generator is chance enough.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        records.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

proptest! {
    #![proptest_config(Config { cases: 100, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_invariants_hold_after_any_commands(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
            if let Err(violation) = invariants::check(&world.script.board) {
                return Err(TestCaseError::fail(format!("{act:?}: {violation}")));
            }
        }
    }

    /// From a store's latest records, in any order of the tasks, and whether those that are over
    /// are kept whole or as stubs.
    #[test]
    fn reload_equals_live(acts in acts(), seed in any::<u64>()) {
        let mut world = World::new();
        for (at, act) in acts.iter().enumerate() {
            world.act(act);
            if at % 7 != 0 && at + 1 != acts.len() {
                continue;
            }
            let script = &world.script;
            let epoch = script.board.meta().epoch;
            for as_stubs in [false, true] {
                let mut records = script.shelf.task_records(as_stubs);
                shuffle(&mut records, seed);
                let loaded = script.shelf.load(epoch, &records);
                let live = if as_stubs { outlined(&script.board) } else { script.recalled() };
                prop_assert_eq!(loaded, live, "as stubs: {}", as_stubs);
            }
        }
    }

    /// What is in memory whole or in outline decides nothing, and the same commands always make
    /// the same board.
    #[test]
    fn the_same_commands_make_the_same_board(acts in acts()) {
        let (mut one, mut other) = (World::new(), World::new());
        for act in &acts {
            other.script.board = outlined(&other.script.board);

            let came = one.act(act);
            let also = other.act(act);

            prop_assert_eq!(words(&came), words(&also));
            prop_assert_eq!(outlined(&one.script.board), outlined(&other.script.board));
        }
    }

    /// The events of a task tell its status, and each that is freed is told so once.
    #[test]
    fn the_events_tell_what_happened(acts in acts()) {
        let mut world = World::new();
        let tasks = world.script.shelf.tasks.keys();
        let mut told = tasks.map(|key| (*key, Status::Pending)).collect();
        for act in &acts {
            let before = world.script.clone();
            let came = world.act(act);
            let mut unblocked: BTreeMap<TaskKey, usize> = BTreeMap::new();
            let mut rewired = BTreeSet::new();
            for event in came.iter().flatten().flat_map(|told| &told.decision.events) {
                follow(&mut told, event);
                match event.what {
                    Happening::TaskUnblocked { task } => {
                        *unblocked.entry((event.team, task)).or_default() += 1;
                    }
                    Happening::TaskUpdated { task, .. } => {
                        rewired.insert((event.team, task));
                    }
                    _ => {}
                }
            }
            for (key, task) in &world.script.shelf.tasks {
                prop_assert_eq!(told[key], task.status(), "{:?}", key);
            }
            // A tick or a placement is of several commits: between them more may happen.
            if came.len() == 1 {
                check_freed(&before, &world.script, &unblocked, &rewired)?;
            }
        }
    }

    /// Unless somebody opens it again, or deletes it, or its time is over.
    #[test]
    fn what_is_over_stays_as_it_is(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            let before = world.script.shelf.tasks.clone();
            let came = world.act(act);
            let events = came.iter().flatten().flat_map(|told| &told.decision.events);
            let moved: BTreeSet<TaskKey> = events
                .filter(|event| {
                    let what = &event.what;
                    let is_gone = matches!(what, Happening::TaskDeleted { .. })
                        || matches!(what, Happening::TaskExpired { .. });
                    is_gone || matches!(what, Happening::TaskReopened { .. })
                })
                .filter_map(|event| Some((event.team, event.what.task()?)))
                .collect();
            for (key, old) in before {
                let Some(end) = old.end().filter(|_| !moved.contains(&key)) else {
                    continue;
                };
                // Gone without a word is only what a team took with it.
                let Some(new) = world.script.shelf.tasks.get(&key) else {
                    prop_assert!(world.script.board.team(key.0).is_none(), "{:?}", key);
                    continue;
                };
                let now = new.end().expect("it was over");
                prop_assert_eq!((end.status, end.at), (now.status, now.at));
                prop_assert_eq!((&end.by, end.stop_reason), (&now.by, now.stop_reason));
                prop_assert_eq!((&old.result, &old.error), (&new.result, &new.error));
                prop_assert_eq!((&old.outputs, &old.attempts), (&new.outputs, &new.attempts));
            }
        }
    }

    /// K4: what has begun comes to wait for nothing but what is opened again behind it.
    #[test]
    fn work_in_progress_is_blocked_by_nothing_but_what_was_reopened(acts in acts()) {
        let mut world = World::new();
        let mut reopened = BTreeSet::new();
        for act in &acts {
            let came = world.act(act);
            for event in came.iter().flatten().flat_map(|told| &told.decision.events) {
                if let Happening::TaskReopened { task, .. } = event.what {
                    reopened.insert((event.team, task));
                }
            }
            for (key, task) in &world.script.shelf.tasks {
                let is_stopping = task.placement().is_some_and(|p| p.stop.is_some());
                if task.status() != Status::InProgress || is_stopping {
                    continue;
                }
                let new = open_blockers(&world.script, *key)
                    .into_iter()
                    .filter(|blocker| !reopened.contains(blocker));
                prop_assert_eq!(new.count(), 0, "{:?} after {:?}", key, act);
            }
        }
    }

    /// Once everybody is done and every clock has run down, nothing is left half way.
    #[test]
    fn whatever_was_begun_comes_to_an_end(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        let mut script = world.script;
        script.spared.clear();
        for key in script.shelf.tasks.keys().copied().collect::<Vec<_>>() {
            let name = script.board.team(key.0).unwrap().name.clone();
            let by_the_lead = Call {
                caller: Caller::default(),
                request: None,
                wish: Wish::CancelTask(name, key.1, "".into()),
            };
            // What is over already says so.
            let _ = script.call(&by_the_lead);
        }
        let mut moments = 0;
        while let Some(at) = script.next_deadline() {
            script.now = script.now.max(at);
            script.tick();
            moments += 1;
            prop_assert!(moments < 1_000);
        }
        for (key, task) in &script.shelf.tasks {
            prop_assert!(task.end().is_some(), "{:?}: {:?}", key, task.state);
        }
        prop_assert_eq!(script.board.counts(TEAM).in_progress, 0);
        prop_assert_eq!(script.board.holders().len(), 0);
    }
}

/// What an act came to, in words that can be compared.
fn words(came: &Came) -> Vec<Result<(Vec<String>, Answer), board::refusal::Refusal>> {
    let words = |step: &Step| match step {
        Ok(told) => Ok((told.lines.clone(), told.answer.clone())),
        Err(refusal) => Err(refusal.clone()),
    };
    came.iter().map(words).collect()
}

/// Takes an event for what it says of its task's status.
fn follow(told: &mut BTreeMap<TaskKey, Status>, event: &board::event::Event) {
    let Some(task) = event.what.task() else {
        return;
    };
    let key = (event.team, task);
    let (from, to) = match &event.what {
        Happening::TaskDeleted { .. } | Happening::TaskExpired { .. } => {
            assert!(told.remove(&key).is_some(), "{event:?}");
            return;
        }
        Happening::TaskReopened { from, .. } => (Some(*from), Status::Pending),
        Happening::TaskCreated { .. } => (None, Status::Pending),
        Happening::TaskClaimed { .. } | Happening::TaskDispatched { .. } => {
            (Some(Status::Pending), Status::InProgress)
        }
        Happening::TaskRequeued { .. } => (Some(Status::InProgress), Status::Pending),
        Happening::TaskEnded { from, to, .. } => (Some(*from), *to),
        _ => return,
    };
    assert_eq!(told.insert(key, to), from, "{event:?}");
}

fn is_blocked(board: &Board, key: TaskKey) -> bool {
    board
        .view(key)
        .is_some_and(|view| !view.open_blockers.is_empty())
}

/// The blockers of a task that hold back whoever has not begun.
fn open_blockers(script: &Script, (team, task): TaskKey) -> Vec<TaskKey> {
    let tasks = &script.shelf.tasks;
    let task = &tasks[&(team, task)];
    let lets_go = task.blocker_failed_policy == BlockerFailedPolicy::Proceed;
    let blockers = task.blocked_by.iter().map(|id| (team, *id));
    let is_open = |blocker: &TaskKey| match tasks[blocker].end() {
        Some(end) => end.cascade_due || end.status != EndStatus::Completed && !lets_go,
        None => true,
    };
    blockers.filter(is_open).collect()
}

fn check_freed(
    before: &Script,
    after: &Script,
    unblocked: &BTreeMap<TaskKey, usize>,
    rewired: &BTreeSet<TaskKey>,
) -> Result<(), TestCaseError> {
    for (key, task) in &after.shelf.tasks {
        let was_blocked = is_blocked(&before.board, *key);
        // What is part of a cancelled task is not freed by its end, but cancelled with it.
        let is_orphan = |view: TaskView| view.phase == Some(Phase::Stopping);
        let is_free = matches!(task.state, TaskState::Pending(_))
            && !is_blocked(&after.board, *key)
            && !after.board.view(*key).is_some_and(is_orphan);
        let count = unblocked.get(key).copied().unwrap_or(0);
        if was_blocked && is_free {
            prop_assert_eq!(count, 1, "{:?} was freed", key);
        }
        // One update may block a task, and end the blocker.
        let may_be_freed = was_blocked || rewired.contains(key);
        prop_assert!(
            count <= usize::from(may_be_freed),
            "{:?} was not blocked",
            key
        );
    }
    Ok(())
}
