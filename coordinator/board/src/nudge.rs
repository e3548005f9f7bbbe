//! The advice to verify (K9): it never refuses anything.

use crate::{draft::Draft, id::TaskKey, refusal::Obstacle, task::TaskKind, team::Team};

/// Counts a completed task: one more to be verified, or the verification itself.
pub(crate) fn count_completion(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let is_verification = task.kind == TaskKind::Verification || names_verification(&task.subject);
    let team = draft.team_mut(key.0);
    team.closed_since_verification = if is_verification {
        0
    } else {
        team.closed_since_verification.saturating_add(1)
    };
    Ok(())
}

/// How many tasks wait to be verified, where that is too many.
pub(crate) fn due(team: &Team) -> Option<u32> {
    let (closed, threshold) = (team.closed_since_verification, team.verification_threshold);
    (threshold > 0 && closed >= threshold).then_some(closed)
}

/// The advice, as a sentence that an agent can act on.
pub fn advice(closed: u32) -> String {
    format!(
        "{closed} tasks were completed since the last verification: make a task of kind \
         VERIFICATION for somebody who did none of them, before you go on."
    )
}

/// Whether a subject has a word that begins with "verif", in any case.
fn names_verification(subject: &str) -> bool {
    subject
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| {
            word.get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case("verif"))
        })
}

#[cfg(test)]
mod tests {
    use super::names_verification;

    #[test]
    fn a_word_that_begins_with_verif_names_a_verification() {
        for subject in [
            "Verify it",
            "final verification",
            "RE: VERIFY",
            "(verified)",
        ] {
            assert!(names_verification(subject), "{subject}");
        }
        for subject in ["", "reverify", "very fine", "veri fy", "ünverif", "a_verif"] {
            assert!(!names_verification(subject), "{subject}");
        }
    }
}
