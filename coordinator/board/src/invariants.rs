//! What holds on every board, at every moment: the numbered list, and its slow, plain check.
//!
//! Everything derived is worked out here once more from the cards alone, in the plainest way, and
//! compared with what the board keeps. It visits every task and edge: for tests, and for a person
//! who doubts a board; never on the way of a command.

use std::collections::{BTreeMap, BTreeSet};

mod derived;
mod mail;
mod waiting;

use derived::Derived;

use crate::{
    board::{Board, Card, TeamBoard},
    id::{AttemptNumber, MemberName, Revision, TaskId},
    limits,
    task::{AfterStop, BlockerFailedPolicy, EndStatus, Hirer, Status, Task, TaskState},
    team::MemberKind,
    time::Time,
};

/// An invariant that doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken: {what}")]
pub struct Violation {
    /// Its number in the list of [the crate's documentation](crate).
    pub number: u8,
    /// Where, and how.
    pub what: String,
}

type Checked = Result<(), Violation>;

fn hold(number: u8, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Violation {
        number,
        what: what(),
    })
}

fn same<T: PartialEq + std::fmt::Debug>(number: u8, name: &str, kept: T, derived: T) -> Checked {
    hold(number, kept == derived, || {
        format!("{name}: kept {kept:?}, derived {derived:?}")
    })
}

/// Checks all invariants; tells the first that is broken.
pub fn check(board: &Board) -> Result<(), Violation> {
    check_names(board)?;
    let mut derived = Derived::default();
    for (uid, team) in &board.teams {
        check_roster(team)?;
        for (id, entry) in team.tasks.iter() {
            check_card(team, id, &entry.card)?;
        }
        check_edges(team)?;
        check_expiry(team)?;
        derived.team(*uid, team, &board.limits)?;
        check_acyclic(team)?;
        mail::check(team)?;
    }
    derived.check(board)
}

/// Invariant 1: Names lead to teams and back; no uid is above the last that was given.
fn check_names(board: &Board) -> Checked {
    let names = board.teams.iter();
    let names = names.map(|(uid, team)| (team.head.name.clone(), *uid));
    let names: BTreeSet<_> = names.collect();
    same(1, "names", &board.names, &names)?;
    for ((name, uid), (later, _)) in names.iter().zip(names.iter().skip(1)) {
        hold(1, name != later || !board.teams[uid].head.is_open(), || {
            format!("team {uid} is open, and not the last {name}")
        })?;
    }
    for (uid, team) in &board.teams {
        hold(1, team.head.uid == *uid, || {
            format!("team {uid} is kept as {}", team.head.uid)
        })?;
        hold(1, *uid <= board.meta.last_team && uid.0 > 0, || {
            format!("uid {uid}, but the last is {}", board.meta.last_team)
        })?;
    }
    hold(1, board.teams.len() <= limits::TEAMS_MAX, || {
        format!("{} teams", board.teams.len())
    })
}

/// Invariant 2: A team has exactly one lead, who is on its roster; and no more members than may be.
fn check_roster(team: &TeamBoard) -> Checked {
    let name = &team.head.name;
    for (key, member) in &team.members {
        hold(2, *key == member.name && member.incarnation.0 > 0, || {
            format!("{name}: member {member:?} is kept as {key}")
        })?;
    }
    let present = || team.members.values().filter(|m| m.is_present());
    let leads: Vec<&MemberName> = present()
        .filter(|member| member.kind == MemberKind::Lead)
        .map(|member| &member.name)
        .collect();
    // While a board is being loaded, a team may still lack its members.
    hold(2, leads == [&team.head.lead], || {
        format!("{name}: led by {leads:?}, not {}", team.head.lead)
    })?;
    let count = present().filter(|m| m.kind != MemberKind::Worker).count();
    hold(2, count <= limits::MEMBERS_PER_TEAM_MAX, || {
        format!("{name}: {count} members")
    })
}

fn check_card(team: &TeamBoard, id: TaskId, card: &Card) -> Checked {
    let (own, revision) = match card {
        Card::Whole(task) => (task.id, task.revision),
        Card::Outline(stub) => (stub.id, stub.revision),
    };
    // Invariant 3: ids and revisions are counted by the team.
    hold(3, own == id && id.0 > 0, || {
        format!("#{own} is kept as #{id}")
    })?;
    hold(3, id <= team.head.last_task, || {
        format!("#{id}, but the last is #{}", team.head.last_task)
    })?;
    let revisions = Revision(1)..=team.head.revision;
    hold(3, revisions.contains(&revision), || {
        format!("#{id} is at {revision}, its team at {}", team.head.revision)
    })?;
    match card {
        Card::Whole(task) => check_attempts(task)?,
        Card::Outline(_) => return Ok(()),
    }
    let Card::Whole(task) = card else {
        return Ok(());
    };
    check_words(task)?;
    check_holds(task)
}

/// Invariant 15: A question that waits is the last that was asked, of a sub-agent that is at work;
/// words are numbered upwards, up to the last number that was given.
fn check_words(task: &Task) -> Checked {
    let Some(placement) = task.placement() else {
        return Ok(());
    };
    let id = task.id;
    if let Some(asked) = &placement.question {
        same(15, "last question", placement.questions, asked.number)?;
        let is_at_work = placement.started_at.is_some() && placement.stop.is_none();
        hold(15, is_at_work, || format!("#{id} asks, and is not at work"))?;
        hold(15, asked.deadline >= asked.at, || {
            format!("#{id} asks at {:?}", asked.at)
        })?;
    }
    let asked = placement.questions <= limits::QUESTIONS_PER_ATTEMPT_MAX;
    hold(15, asked, || format!("#{id} asked {}", placement.questions))?;
    let words: Vec<u32> = placement.words.iter().map(|word| word.number).collect();
    let is_counted = words.is_sorted_by(|a, b| a < b)
        && words.first().is_none_or(|first| *first > 0)
        && words.last().is_none_or(|last| *last <= placement.last_word);
    hold(15, is_counted, || {
        format!("#{id}: words {words:?}, the last {}", placement.last_word)
    })?;
    // Beside those that nobody asked for, there is the answer.
    hold(15, words.len() <= limits::WORDS_MAX + 1, || {
        format!("#{id}: {} words wait", words.len())
    })
}

/// Invariant 6: Attempts are numbered upwards; the last number is that of the running one, if any runs.
fn check_attempts(task: &Task) -> Checked {
    let id = task.id;
    let ended: Vec<AttemptNumber> = task.attempts.iter().map(|a| a.number).collect();
    hold(6, ended.is_sorted_by(|a, b| a < b), || {
        format!("#{id}: attempts {ended:?}")
    })?;
    hold(6, ended.len() <= limits::ATTEMPTS_KEPT, || {
        format!("#{id} remembers {} attempts", ended.len())
    })?;
    let running = match &task.state {
        TaskState::Claimed(claim) => Some(claim.attempt),
        TaskState::Placed(placement) => Some(placement.attempt),
        TaskState::Pending(_) | TaskState::Ended(_) => None,
    };
    let last = running.or(ended.last().copied()).unwrap_or_default();
    hold(6, last == task.last_attempt, || {
        format!("#{id}: last attempt {}, not {last}", task.last_attempt)
    })?;
    hold(6, running.is_none_or(|r| !ended.contains(&r)), || {
        format!("#{id}: attempt {running:?} runs and has ended")
    })?;
    let is_over = task.end().is_some();
    let is_paused = task
        .waiting()
        .is_some_and(|waiting| waiting.paused.is_some());
    let may_be_open = is_over || is_paused || task.crashes <= task.crash_limit;
    hold(6, may_be_open, || {
        format!("#{id} lost {} attempts, and is still open", task.crashes)
    })
}

/// Invariant 7: Who claims a task owns it; only the sub-agent of a task holds what is nobody's.
fn check_holds(task: &Task) -> Checked {
    let Some(claim) = task.claim() else {
        return Ok(());
    };
    let (id, by) = (task.id, claim.by.member());
    hold(7, task.owner.as_ref() == by, || {
        format!("#{id}: claimed by {}, owned by {:?}", claim.by, task.owner)
    })
}

/// Invariant 4: Edges lead to other tasks that are there, once each, and no more than may be.
fn check_edges(team: &TeamBoard) -> Checked {
    for (id, entry) in team.tasks.iter() {
        let edges = entry.card.blocked_by();
        let distinct: BTreeSet<&TaskId> = edges.iter().collect();
        hold(4, distinct.len() == edges.len(), || {
            format!("#{id} waits twice: {edges:?}")
        })?;
        hold(4, !distinct.contains(&id), || {
            format!("#{id} waits for itself")
        })?;
        // Of what left as it was over (K15), only what is over, too, still has the edge.
        let is_over = entry.card.status().is_terminal();
        let may_lack = |blocker: &TaskId| is_over && *blocker <= team.head.expired_through;
        for blocker in edges {
            let is_there = team.tasks.contains_key(blocker);
            hold(4, is_there || may_lack(blocker), || {
                format!("#{id} waits for #{blocker}, which isn't there")
            })?;
        }
        let most = edges.len().max(team.index.dependants(id).len());
        hold(4, most <= limits::EDGES_MAX, || {
            format!("#{id} has {most} edges on one side")
        })?;
    }
    Ok(())
}

/// Invariant 16: What is needed is there: parents, and what open tasks join. Finished tasks leave in
/// the order in which they ended, but for those that step aside for the one that needs them.
fn check_expiry(team: &TeamBoard) -> Checked {
    hold(16, team.head.expired_through <= team.head.last_task, || {
        format!("#{} expired", team.head.expired_through)
    })?;
    let mut ended = BTreeSet::new();
    for (id, entry) in team.tasks.iter() {
        let joined = match &entry.card {
            Card::Whole(task) if task.end().is_none() => task.terms().joins,
            _ => None,
        };
        for needed in [entry.card.parent(), joined].into_iter().flatten() {
            hold(16, team.tasks.contains_key(&needed), || {
                format!("#{id} needs #{needed}, which isn't there")
            })?;
        }
        ended.extend(match &entry.card {
            Card::Whole(task) => task.end().map(|end| (end.at, id)),
            Card::Outline(stub) => Some((stub.ended_at, id)),
        });
    }
    let expiry = &team.index.expiry;
    same(16, "ended", &expiry.all(), &ended)?;
    hold(16, expiry.is_in_step(), || format!("{expiry:?}"))?;
    for (id, by) in expiry.aside() {
        hold(16, is_needed_by(team, id, by), || {
            format!("#{id} stepped aside for #{by}, which doesn't need it")
        })?;
    }
    Ok(())
}

/// Whether one task can't do without another, finished one.
fn is_needed_by(team: &TeamBoard, id: TaskId, by: TaskId) -> bool {
    let parent = |id: TaskId| team.tasks.get(&id)?.card.parent();
    let Some(entry) = team.tasks.get(&by) else {
        return false;
    };
    if entry.card.parent() == Some(id) {
        return true;
    }
    let Card::Whole(task) = &entry.card else {
        return false;
    };
    let is_above = std::iter::successors(parent(id), |id| parent(*id)).any(|above| above == by);
    let joins = task.terms().joins;
    task.end().is_none()
        && (task.blocked_by.contains(&id)
            || is_above
            || joins.is_some() && (joins == Some(id) || joins == parent(id)))
}

/// Invariant 5: No task waits, over any detour, for itself: taking away what waits for nothing any more,
/// again and again, takes away everything.
fn check_acyclic(team: &TeamBoard) -> Checked {
    let mut waits_for: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
    let mut waiting: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
    for (id, entry) in team.tasks.iter() {
        let mut blockers: BTreeSet<TaskId> = entry.card.blocked_by().iter().copied().collect();
        if let Card::Whole(task) = &entry.card
            && task.end().is_none()
        {
            blockers.extend(joined_by(team, task));
        }
        blockers.retain(|blocker| team.tasks.contains_key(blocker));
        for blocker in &blockers {
            waiting.entry(*blocker).or_default().push(id);
        }
        waits_for.insert(id, blockers);
    }
    let free = waits_for.iter().filter(|(_, blockers)| blockers.is_empty());
    let mut free: Vec<TaskId> = free.map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        waits_for.remove(&id);
        for dependant in waiting.remove(&id).unwrap_or_default() {
            let blockers = waits_for
                .get_mut(&dependant)
                .expect("nothing is taken away before what it waits for");
            blockers.remove(&id);
            if blockers.is_empty() {
                free.push(dependant);
            }
        }
    }
    hold(5, waits_for.is_empty(), || {
        format!("a circle is among {:?}", waits_for.keys())
    })
}

/// The children that a task joins.
fn joined_by(team: &TeamBoard, task: &Task) -> Vec<TaskId> {
    let Some(joined) = task.terms().joins else {
        return Vec::new();
    };
    let children = team
        .tasks
        .iter()
        .filter(|(id, entry)| entry.card.parent() == Some(joined) && *id != task.id);
    children.map(|(id, _)| id).collect()
}

/// The blockers that hold a task back.
fn open_blockers(team: &TeamBoard, task: &Task) -> Vec<TaskId> {
    let is_proceeding = task.blocker_failed_policy == BlockerFailedPolicy::Proceed;
    let holds_back = |id: &TaskId| {
        let (status, is_cascade_due) = match &team.tasks[id].card {
            Card::Whole(task) => {
                let is_due = task.end().is_some_and(|end| end.cascade_due);
                (task.status(), is_due)
            }
            Card::Outline(stub) => (stub.status.into(), stub.cascade_due),
        };
        match status {
            Status::Pending | Status::InProgress => true,
            Status::Completed => is_cascade_due,
            Status::Failed | Status::Cancelled => is_cascade_due || !is_proceeding,
        }
    };
    let blockers = task.blocked_by.iter().copied();
    let all = blockers.chain(joined_by(team, task));
    all.filter(holds_back).collect()
}

/// Since when a task is pending and held back by nothing.
fn ready_since(team: &TeamBoard, task: &Task) -> Option<Time> {
    let waiting = task.waiting()?;
    let is_free = waiting.not_before.is_none() && waiting.paused.is_none();
    let is_blocked = !open_blockers(team, task).is_empty() || is_orphan(team, task);
    (is_free && !is_blocked).then_some(waiting.since)
}

/// Whether what an open task depends on is over (D12).
fn is_orphan(team: &TeamBoard, task: &Task) -> bool {
    let terms = task.terms();
    let is_called_off = |parent| match &team.tasks[&parent].card {
        Card::Whole(parent) => match &parent.state {
            TaskState::Ended(end) => end.status == EndStatus::Cancelled,
            TaskState::Placed(placement) => {
                let then = placement.stop.as_ref().map(|stop| stop.then);
                then == Some(AfterStop::Cancel)
            }
            TaskState::Pending(_) | TaskState::Claimed(_) => false,
        },
        Card::Outline(stub) => stub.status == EndStatus::Cancelled,
    };
    let runs_on = |hirer: Hirer| match team.tasks.get(&hirer.task).map(|entry| &entry.card) {
        Some(Card::Whole(task)) => {
            let placement = task.placement();
            placement.is_some_and(|placement| placement.attempt == hirer.attempt)
        }
        Some(Card::Outline(_)) | None => false,
    };
    let has_lost = task.parent.is_some_and(is_called_off)
        || terms.hired_by.is_some_and(|hirer| !runs_on(hirer));
    task.end().is_none() && !terms.outlives_parent && has_lost
}

/// The next moment at which time alone does something to a task.
fn wakes_at(task: &Task) -> Option<Time> {
    let deadline = task.deadline;
    let earlier = |at: Option<Time>| match (at, deadline) {
        (Some(at), Some(deadline)) => Some(at.min(deadline)),
        (at, deadline) => at.or(deadline),
    };
    match &task.state {
        TaskState::Ended(_) => None,
        TaskState::Claimed(claim) => earlier(claim.lease.map(|lease| claim.renewed_at + lease)),
        TaskState::Pending(waiting) => earlier(waiting.not_before),
        TaskState::Placed(placement) => match (&placement.stop, placement.started_at) {
            (Some(stop), _) => Some(stop.at + limits::STOP_CONFIRM_TIMEOUT),
            (None, None) => earlier(Some(placement.dispatched_at + limits::START_TIMEOUT)),
            (None, Some(started)) => {
                let answer = placement.question.as_ref().map(|asked| asked.deadline);
                let limit = placement.run_limit;
                let end = limit.map(|limit| started + limit + limits::RUN_LIMIT_BACKSTOP);
                earlier(match (end, answer) {
                    (Some(end), Some(answer)) => Some(end.min(answer)),
                    (end, answer) => end.or(answer),
                })
            }
        },
    }
}
