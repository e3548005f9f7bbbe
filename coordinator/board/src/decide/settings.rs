//! A team's own settings.

use super::{calls::Who, check};
use crate::{
    command::{Answer, TeamChanges},
    draft::Draft,
    event::Happening,
    limits,
    refusal::{Obstacle, Refusal},
};

/// Changes what the lead wants of the team.
pub(super) fn update_team(
    draft: &mut Draft<'_>,
    who: &Who,
    changes: &TeamChanges,
) -> Result<Answer, Obstacle> {
    who.must_lead("change the team's settings")?;
    if let Some(description) = &changes.description {
        check::len("description", description, limits::NOTE_LEN_MAX)?;
    }
    if let Some(weight) = changes.weight {
        check_weight(weight)?;
    }
    if let Some(max) = changes.max_running {
        check_bound("max_running", max)?;
    }
    check::verification_threshold(changes.verification_threshold)?;
    let team = draft.team_mut(who.team);
    let before = team.clone();
    if let Some(description) = &changes.description {
        team.description = description.clone();
    }
    team.weight = changes.weight.unwrap_or(team.weight);
    team.max_running = changes.max_running.unwrap_or(team.max_running);
    team.verification_threshold = changes
        .verification_threshold
        .unwrap_or(team.verification_threshold);
    team.idle_notices = changes.idle_notices.unwrap_or(team.idle_notices);
    if *team != before {
        draft.happened(who.team, &who.actor, None, Happening::TeamUpdated);
    }
    Ok(Answer::Team(who.team))
}

/// Refuses a share of the fleet that is none.
pub(super) fn check_weight(weight: u32) -> Result<(), Refusal> {
    if (1..=limits::WEIGHT_MAX).contains(&weight) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field: "weight",
        why: format!("is {weight}, and may be from 1 to {}", limits::WEIGHT_MAX),
    })
}

/// Refuses a bound on what runs that is beyond all bounds.
pub(super) fn check_bound(field: &'static str, max: u32) -> Result<(), Refusal> {
    if max <= limits::RUNNING_MAX {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field,
        why: format!("is {max}, and may be {} at the most", limits::RUNNING_MAX),
    })
}
