//! Three tasks, and everything that can be done with them in five steps.
//!
//! A step that is refused, or changes nothing, leads nowhere new and is not followed. On every
//! board that is reached, what may be done is compared with a plain reckoning over the cards.

use board::{
    command::{FleetCommand, NewTask, Update, Wish},
    id::TaskId,
    invariants,
    refusal::Refusal,
    task::{AttemptEnding, BlockerFailedPolicy, Status, Task, TaskState},
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
    Tick,
    Outline,
}

const ALPHABET: [Do; 19] = [
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

fn tasks(script: &Script) -> [std::sync::Arc<Task>; 3] {
    [1, 2, 3].map(|id| script.task(id))
}

fn is_held_back(task: &Task, all: &[std::sync::Arc<Task>; 3]) -> bool {
    task.blocked_by.iter().any(|id| {
        let blocker = &all[id.0 as usize - 1];
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
    let all = tasks(&script);
    let hana_runs = all.iter().any(|task| {
        let acts_as = task.placement().and_then(|p| p.member.as_ref());
        acts_as == Some(&name("hana"))
    });
    for task in &all {
        let is_free = match &task.state {
            TaskState::Pending(_) => !is_held_back(task, &all),
            _ => false,
        };
        let backs_off =
            matches!(&task.state, TaskState::Pending(waiting) if waiting.not_before.is_some());
        let is_hanas = task.owner == Some(name("hana"));
        let has_runner = task.agent_type.is_some() || is_hanas;
        let may_run = is_free && !backs_off && has_runner && !(is_hanas && hana_runs);
        let may_be_claimed = is_free && task.owner.as_ref().is_none_or(|o| *o == name("alice"));

        let dispatch = FleetCommand::Dispatch(key(task.id.0), worker_name("w1"), instance("w1"));
        let dispatched = script.would_bring(&dispatch);
        let claimed = script.would(
            "alice",
            Wish::ClaimTask(t(), task.id, None, board::command::Lease::default()),
        );
        assert_eq!(dispatched.is_ok(), may_run, "{task:?}: {dispatched:?}");
        assert_eq!(claimed.is_ok(), may_be_claimed, "{task:?}: {claimed:?}");
    }
    // What leads from where over any detour, by squaring: two rounds reach all of three tasks.
    let mut leads = [[false; 3]; 3];
    for (from, task) in all.iter().enumerate() {
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
    for task in 1..=3_usize {
        for blocker in 1..=3_usize {
            if task == blocker || all[task - 1].blocked_by.contains(&TaskId(blocker as u64)) {
                continue;
            }
            let update = Update {
                add_blocked_by: ids([blocker as u64]),
                ..Update::default()
            };
            let wish = Wish::UpdateTask(t(), TaskId(task as u64), Box::new(update));
            let made = script.would(LEAD, wish);
            let is_cycle = matches!(made, Err(Refusal::Cycle { .. }));
            assert_eq!(
                is_cycle,
                leads[blocker - 1][task - 1],
                "#{task} by #{blocker}"
            );
        }
    }
}

fn follow(script: &Script, path: &mut Vec<Do>, depth: usize, boards: &mut usize) {
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
    for what in ALPHABET {
        let mut next = script.clone();
        if step(&mut next, what) {
            path.push(what);
            follow(&next, path, depth - 1, boards);
            path.pop();
        }
    }
}

#[test]
fn every_board_of_three_tasks_in_five_steps_is_sound() {
    let mut script = Script::empty();
    script.is_checked = false;
    script.fleet(FleetCommand::OfferTypes(vec![offered("coder", "llm")]));
    let members = [
        member("alice", board::team::MemberKind::Agent),
        member("hana", board::team::MemberKind::Hosted),
    ];
    let wish = board::command::CreateTeam {
        members: members.to_vec(),
        ..team("t")
    };
    script.by(LEAD, Wish::CreateTeam(wish)).unwrap();
    let cancels = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..job("b")
    };
    let proceeds = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Proceed,
        ..owned_by("hana", card("c"))
    };
    script.create(LEAD, &[job("a"), cancels, proceeds]).unwrap();

    let mut boards = 0;
    follow(&script, &mut vec![], 5, &mut boards);

    assert!(boards > 10_000, "only {boards} boards");
}
