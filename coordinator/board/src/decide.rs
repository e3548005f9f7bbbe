//! Deciding: a command in, a decision or a refusal out, and nothing changed.

mod asking;
mod attempts;
mod caller;
mod calls;
mod check;
mod claims;
mod create;
mod delete;
mod dissolve;
mod edges;
mod ending;
mod expiry;
mod fencing;
mod fields;
mod handshake;
mod holding;
mod mail;
mod mailbox;
mod members;
mod notices;
mod orphans;
mod pause;
mod reopen;
mod requeue;
mod retry;
mod roster;
mod settings;
mod stopping;
mod sweeps;
mod tick;
mod update;

pub use caller::{actor_of, list_of};
pub use mailbox::mailbox_of;
pub use tick::tick;

use crate::{
    board::Board,
    command::{Answer, Call, FleetCommand},
    decision::Decision,
    draft::Draft,
    id::TeamUid,
    record::{CameTo, Outcome},
    refusal::Obstacle,
    stuck::Stuck,
    time::Time,
};

/// Decides what somebody wishes.
///
/// A call whose request was carried out before is the caller's to recognise: see [`replay`].
pub fn decide(board: &Board, call: &Call, now: Time) -> Result<Decision, Obstacle> {
    calls::decide(Draft::new(board, now), call)
}

/// Decides what the fleet brings.
pub fn decide_fleet(
    board: &Board,
    command: &FleetCommand,
    now: Time,
) -> Result<Decision, Obstacle> {
    let draft = Draft::new(board, now);
    match command {
        FleetCommand::OfferTypes(types) => roster::offer_types(draft, types),
        FleetCommand::ForgetTypes(expected) => Ok(roster::forget_types(draft, expected)),
        FleetCommand::JoinWorker(team, worker) => roster::join_worker(draft, *team, worker),
        FleetCommand::LeaveWorker(team, worker, reason) => {
            members::leave_worker(draft, *team, worker, reason)
        }
        FleetCommand::Dispatch(task, worker, instance) => {
            attempts::dispatch(draft, *task, worker, *instance)
        }
        FleetCommand::Started {
            fence,
            instance,
            run_limit,
        } => attempts::started(draft, fence, *instance, *run_limit),
        FleetCommand::Ended {
            fence,
            instance,
            report,
        } => attempts::ended(draft, fence, *instance, report),
        FleetCommand::Refused {
            fence,
            instance,
            reason,
        } => attempts::refused(draft, fence, *instance, reason),
        FleetCommand::Asked {
            fence,
            instance,
            number,
            text,
            timeout,
        } => asking::asked(draft, fence, *instance, *number, text, *timeout),
        FleetCommand::Heeded {
            fence,
            instance,
            through,
        } => asking::heeded(draft, fence, *instance, *through),
        FleetCommand::Lost(task, attempt, reason) => attempts::lost(draft, *task, *attempt, reason),
        FleetCommand::NeverArrived(task, attempt) => {
            attempts::never_arrived(draft, *task, *attempt)
        }
    }
}

/// Tells a team's lead of tasks that somebody else waits for, and that can't get on.
pub fn note_stuck(board: &Board, team: TeamUid, stuck: &[Stuck], now: Time) -> Decision {
    let mut draft = Draft::new(board, now);
    if board.team(team).is_some() {
        notices::stuck(&mut draft, team, stuck);
    }
    draft.finish(Answer::Done, None)
}

/// The answer to a request that came before with this outcome, or why there is none.
pub fn replay(call: &Call, outcome: &Outcome) -> Result<CameTo, crate::refusal::Refusal> {
    match call.request {
        Some(request) if request.body == outcome.request.body => Ok(outcome.came_to),
        _ => Err(crate::refusal::Refusal::RequestIdReused),
    }
}
