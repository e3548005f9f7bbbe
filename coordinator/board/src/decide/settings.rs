//! A team's own settings.

use super::{caller::Who, check};
use crate::{
    command::{Answer, TeamChanges},
    draft::Draft,
    event::Happening,
    limits,
    refusal::Obstacle,
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
        check::share(weight)?;
    }
    if let Some(max) = changes.max_running {
        check::running_max("max_running", max)?;
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
