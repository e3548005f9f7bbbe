//! Three tasks, and everything that can be done with them in a few steps.
//!
//! A step that is refused, or changes nothing, leads nowhere new and is not followed. On every
//! board that is reached, what may be done is compared with a plain reckoning over the cards.

use std::{collections::BTreeMap, sync::Arc};

use board::{
    command::{Answer, ClaimNext, CreateTeam, FleetCommand, NewTask, Update, Wish},
    id::TaskId,
    invariants,
    refusal::Refusal,
    task::{AttemptEnding, BlockerFailedPolicy, Status, Task},
    team::MemberKind,
};

use crate::support::*;

#[derive(Debug, Clone, Copy)]
enum Do {
    Edge(u64, u64),
    StopForEdge(u64, u64),
    Unedge(u64, u64),
    Dispatch(u64),
    Report(u64, AttemptEnding),
    HandBack(u64),
    Lose(u64),
    Claim(u64),
    Set(u64, Status),
    Cancel(u64),
    HandOver(u64),
    Next,
    Release(u64),
    Reopen(u64),
    Delete(u64),
    Pause(u64),
    Resume(u64),
    Policy(u64, BlockerFailedPolicy),
    Tick,
    Outline,
}

/// What workers do, with edges in all directions.
const AT_WORK: [Do; 19] = [
    Do::Edge(2, 1),
    Do::Edge(3, 2),
    Do::Edge(1, 3),
    Do::StopForEdge(1, 2),
    Do::Unedge(2, 1),
    Do::Dispatch(1),
    Do::Dispatch(2),
    Do::Dispatch(3),
    Do::Report(1, AttemptEnding::Completed),
    Do::Report(2, AttemptEnding::Failed),
    Do::HandBack(3),
    Do::Lose(1),
    Do::Claim(2),
    Do::Set(2, Status::Failed),
    Do::Set(3, Status::Completed),
    Do::Cancel(1),
    Do::HandOver(1),
    Do::Tick,
    Do::Outline,
];

/// What is done with cards before and after the work.
const ON_THE_BOARD: [Do; 22] = [
    Do::Edge(2, 1),
    Do::StopForEdge(2, 1),
    Do::Edge(3, 2),
    Do::Unedge(2, 1),
    Do::Set(1, Status::Completed),
    Do::Set(1, Status::Failed),
    Do::Claim(2),
    Do::Next,
    Do::Release(2),
    Do::Set(2, Status::Completed),
    Do::Reopen(1),
    Do::Reopen(2),
    Do::Delete(1),
    Do::Delete(2),
    Do::Pause(2),
    Do::Resume(2),
    Do::Policy(2, BlockerFailedPolicy::Proceed),
    Do::Policy(2, BlockerFailedPolicy::Wait),
    Do::Dispatch(3),
    Do::Lose(3),
    Do::Tick,
    Do::Outline,
];

/// Does it, and says whether that led to another board.
fn step(script: &mut Script, what: Do) -> bool {
    let runs = |script: &Script, task| script.board.fence(key(task)).is_some();
    let edge = |blocker, stop_running| Update {
        add_blocked_by: ids([blocker]),
        stop_running,
        ..Update::default()
    };
    let step = match what {
        Do::Edge(task, blocker) => script.update(LEAD, task, edge(blocker, false)),
        Do::StopForEdge(task, blocker) => script.update(LEAD, task, edge(blocker, true)),
        Do::Unedge(task, blocker) => {
            let update = Update {
                remove_blocked_by: ids([blocker]),
                ..Update::default()
            };
            script.update(LEAD, task, update)
        }
        Do::Dispatch(task) => script.try_dispatch(task, "w1"),
        Do::Report(task, _) | Do::HandBack(task) | Do::Lose(task) if !runs(script, task) => {
            return false;
        }
        Do::Report(task, ending) => Ok(script.end(task, report(ending, "r", "e"))),
        Do::HandBack(task) => Ok(script.hand_back(task, "no")),
        Do::Lose(task) => Ok(script.lose(task)),
        Do::Claim(task) => script.claim("alice", task),
        Do::Set(task, status) => script.set(LEAD, task, status),
        Do::Cancel(task) => script.cancel(LEAD, task, "enough"),
        Do::HandOver(task) => {
            let update = Update {
                owner: Some(Some(name("hana"))),
                stop_running: true,
                ..Update::default()
            };
            script.update(LEAD, task, update)
        }
        Do::Next => script.by("alice", next()),
        Do::Release(task) => script.by(LEAD, Wish::ReleaseTask(t(), TaskId(task), None, "".into())),
        Do::Reopen(task) => script.by(LEAD, Wish::ReopenTask(t(), TaskId(task), None, "so".into())),
        Do::Delete(task) => script.by(LEAD, Wish::DeleteTask(t(), TaskId(task), None)),
        Do::Pause(task) => script.by(LEAD, Wish::PauseTask(t(), TaskId(task), "".into())),
        Do::Resume(task) => script.by(LEAD, Wish::ResumeTask(t(), TaskId(task))),
        Do::Policy(task, policy) => {
            let update = Update {
                blocker_failed_policy: Some(policy),
                ..Update::default()
            };
            script.update(LEAD, task, update)
        }
        Do::Tick => match script.after(secs(61)).tick() {
            Some(told) => Ok(told),
            None => return false,
        },
        Do::Outline => {
            let changed = outlined(&script.board);
            let is_new = changed != script.board;
            script.board = changed;
            return is_new;
        }
    };
    step.is_ok_and(|told| !told.decision.records.is_empty())
}

type Tasks = BTreeMap<TaskId, Arc<Task>>;

fn next() -> Wish {
    Wish::ClaimNext(t(), ClaimNext::default())
}

fn is_held_back(task: &Task, all: &Tasks) -> bool {
    task.blocked_by.iter().any(|id| {
        let blocker = &all[id];
        let lets_go = task.blocker_failed_policy == BlockerFailedPolicy::Proceed;
        !blocker.status().is_terminal() || (blocker.status() != Status::Completed && !lets_go)
    })
}

/// Whether each task may be taken, and each edge be made, as reckoned from the cards.
fn compare_with_the_cards(script: &Script) {
    let script = Script {
        board: script.recalled(),
        ..script.clone()
    };
    let all: Tasks = {
        let tasks = script.shelf.tasks.iter();
        tasks.map(|((_, id), task)| (*id, task.clone())).collect()
    };
    let hana_runs = all.values().any(|task| {
        let acts_as = task.placement().and_then(|p| p.member.as_ref());
        acts_as == Some(&name("hana"))
    });
    let mut best = None;
    for task in all.values() {
        let is_free = task
            .waiting()
            .is_some_and(|waiting| waiting.paused.is_none() && !is_held_back(task, &all));
        let backs_off = task.waiting().is_some_and(|w| w.not_before.is_some());
        let is_hanas = task.owner == Some(name("hana"));
        let has_runner = task.agent_type.is_some() || is_hanas;
        let may_run = is_free && !backs_off && has_runner && !(is_hanas && hana_runs);
        let is_alices = task.owner.as_ref().is_none_or(|o| *o == name("alice"));
        let may_be_claimed = is_free && is_alices;
        if may_be_claimed && !backs_off && !has_runner {
            let worth = task.waiting().unwrap().since - task.priority.bonus();
            let rank = (worth, task.owner.is_none(), task.id);
            best = best.into_iter().chain([rank]).min();
        }

        let dispatch = FleetCommand::Dispatch(key(task.id.0), worker_name("w1"), instance("w1"));
        let dispatched = script.would_bring(&dispatch);
        let claim = Wish::ClaimTask(t(), task.id, None, None);
        let claimed = script.would("alice", claim);
        assert_eq!(dispatched.is_ok(), may_run, "{task:?}: {dispatched:?}");
        let is_held = task.claim().is_some_and(|claim| claim.by == by("alice"));
        let is_granted = may_be_claimed || is_held;
        assert_eq!(claimed.is_ok(), is_granted, "{task:?}: {claimed:?}");
    }
    let answer = match best {
        Some((_, _, id)) => Answer::Task((TEAM, id)),
        None => Answer::NothingReady,
    };
    assert_eq!(script.would_answer("alice", next()), answer);
    compare_circles(&script, &all);
}

/// Whether each edge that could be made would close a circle.
fn compare_circles(script: &Script, all: &Tasks) {
    // What leads from where over any detour, by squaring: two rounds reach all of three tasks.
    let mut leads = [[false; 3]; 3];
    for (from, task) in all {
        let from = from.0 as usize - 1;
        leads[from][from] = true;
        for to in &task.blocked_by {
            leads[from][to.0 as usize - 1] = true;
        }
    }
    for over in 0..3 {
        for from in 0..3 {
            for to in 0..3 {
                leads[from][to] |= leads[from][over] && leads[over][to];
            }
        }
    }
    for (task, card) in all {
        for blocker in all.keys() {
            if task == blocker || card.blocked_by.contains(blocker) {
                continue;
            }
            let update = Update {
                add_blocked_by: vec![*blocker],
                ..Update::default()
            };
            let made = script.would(LEAD, Wish::UpdateTask(t(), *task, Box::new(update)));
            let is_cycle = matches!(made, Err(Refusal::Cycle { .. }));
            let closes = leads[blocker.0 as usize - 1][task.0 as usize - 1];
            assert_eq!(is_cycle, closes, "#{task} by #{blocker}");
        }
    }
}

fn follow(script: &Script, alphabet: &[Do], path: &mut Vec<Do>, depth: usize, boards: &mut usize) {
    *boards += 1;
    if let Err(violation) = invariants::check(&script.board) {
        panic!("{path:?}: {violation}");
    }
    let epoch = script.board.meta().epoch;
    let loaded = script.shelf.load(epoch, &script.shelf.task_records(true));
    assert_eq!(loaded, outlined(&script.board), "{path:?}");
    if depth == 0 {
        return;
    }
    compare_with_the_cards(script);
    for what in alphabet {
        let mut next = script.clone();
        if step(&mut next, *what) {
            path.push(*what);
            follow(&next, alphabet, path, depth - 1, boards);
            path.pop();
        }
    }
}

/// Three tasks: `a` for a worker, `b` that is cancelled with its blockers, and `c` that goes ahead
/// without them.
fn given(tasks: [NewTask; 3]) -> Script {
    let mut script = Script::empty();
    script.is_checked = false;
    script.fleet(FleetCommand::OfferTypes(vec![offered("coder", "llm")]));
    let members = [
        member("alice", MemberKind::Agent),
        member("hana", MemberKind::Hosted),
    ];
    let wish = CreateTeam {
        members: members.to_vec(),
        ..team("t")
    };
    script.by(LEAD, Wish::CreateTeam(wish)).unwrap();
    let [a, b, c] = tasks;
    let b = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..b
    };
    let c = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Proceed,
        ..owned_by("hana", c)
    };
    script.create(LEAD, &[a, b, c]).unwrap();
    script
}

#[test]
fn every_board_at_work_is_sound_after_five_steps() {
    let script = given([job("a"), job("b"), card("c")]);
    let mut boards = 0;

    follow(&script, &AT_WORK, &mut vec![], 5, &mut boards);

    assert!(boards > 10_000, "only {boards} boards");
}

#[test]
fn every_board_of_cards_is_sound_after_four_steps() {
    let script = given([card("a"), owned_by("alice", card("b")), card("c")]);
    let mut boards = 0;

    follow(&script, &ON_THE_BOARD, &mut vec![], 4, &mut boards);

    assert!(boards > 10_000, "only {boards} boards");
}
