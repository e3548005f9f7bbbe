//! The demo's board: four analyses, a report that waits for them, a verification that waits for
//! the report.

use ganger_proto::v1;

use super::{
    AGENT_TYPE, TEAM,
    script::{ANALYSES, REPORT, Script, VERIFICATION},
};
use crate::{
    client::{Client, request_id},
    failure::Failure,
};

/// Makes the team, and puts the board on it in one commit.
///
/// # Errors
/// What the coordinator refused.
pub async fn make(client: &Client) -> Result<(), Failure> {
    let team = v1::CreateTeamRequest {
        team_name: TEAM.into(),
        description: "Looks at a code base, reports, and verifies the report.".into(),
        request_id: request_id(),
        ..v1::CreateTeamRequest::default()
    };
    client
        .ask(team, |client, request| async move {
            client.teams().create_team(request).await
        })
        .await?;
    let board = v1::BatchCreateTasksRequest {
        tasks: tasks(),
        request_id: request_id(),
        ..v1::BatchCreateTasksRequest::default()
    };
    client
        .ask(board, |client, request| async move {
            client.tasks().batch_create_tasks(request).await
        })
        .await?;
    Ok(())
}

fn tasks() -> Vec<v1::NewTask> {
    let analyses = ANALYSES
        .iter()
        .map(|script| task(script, v1::TaskKind::Work, 0..0));
    let mut tasks: Vec<v1::NewTask> = analyses.collect();
    let report = task(&REPORT, v1::TaskKind::Work, 0..tasks.len());
    tasks.push(v1::NewTask {
        output_globs: vec!["report.md".into()],
        ..report
    });
    let last = tasks.len() - 1;
    let verification = task(&VERIFICATION, v1::TaskKind::Verification, last..last + 1);
    tasks.push(verification);
    tasks
}

fn task(script: &Script, kind: v1::TaskKind, waits_for: std::ops::Range<usize>) -> v1::NewTask {
    v1::NewTask {
        subject: script.subject.into(),
        description: script.description.into(),
        active_form: script.active_form.into(),
        prompt: script.prompt(),
        agent_type: AGENT_TYPE.into(),
        kind: kind.into(),
        blocked_by_items: waits_for
            .filter_map(|item| i32::try_from(item).ok())
            .collect(),
        // Where one fails, what waits for it can't be done: the board ends rather than hangs.
        blocker_failed_policy: v1::BlockerFailedPolicy::Cancel.into(),
        ..v1::NewTask::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_run_side_by_side_the_report_waits_and_the_verification_waits_for_it() {
        let edges: Vec<Vec<i32>> = tasks()
            .into_iter()
            .map(|task| task.blocked_by_items)
            .collect();

        assert_eq!(
            edges,
            [vec![], vec![], vec![], vec![], vec![0, 1, 2, 3], vec![4]]
        );
        assert_eq!(tasks()[5].kind(), v1::TaskKind::Verification);
    }
}
