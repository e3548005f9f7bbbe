//! Other calls that can't be answered as they are.

use ganger_proto::v1;
use ganger_tests::refused;
use tonic::Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
use v1::{
    BatchCreateTasksRequest, CancelTaskRequest, ClaimTaskRequest, CreateTeamRequest,
    DownloadArtifactRequest, GetTaskRequest, ListTasksRequest, NewMember, NewTask,
    StartTaskRequest, WatchTeamRequest, WatchTranscriptRequest,
};

use super::{ABSENT, KIB, board, small_board, text};

#[tokio::test]
async fn bad_calls_of_the_board_are_refused_and_change_nothing() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let mut tasks = client.task();

    let claim = |task_id, expected_revision| ClaimTaskRequest {
        task_id,
        expected_revision,
        ..ClaimTaskRequest::default()
    };
    refused(
        tasks.claim_task(claim(ABSENT, 0)).await,
        NotFound,
        "TASK_NOT_FOUND",
    );
    refused(
        tasks.claim_task(claim(2, 0)).await,
        FailedPrecondition,
        "TASK_BLOCKED",
    );
    refused(
        tasks.claim_task(claim(3, 0)).await,
        FailedPrecondition,
        "TASK_OVER",
    );
    refused(
        tasks.claim_task(claim(1, 4_711)).await,
        Aborted,
        "REVISION_MISMATCH",
    );

    let get = GetTaskRequest {
        task_id: ABSENT,
        ..GetTaskRequest::default()
    };
    refused(tasks.get_task(get).await, NotFound, "TASK_NOT_FOUND");
    let list = |page_size, page_token: &str| ListTasksRequest {
        page_size,
        page_token: page_token.into(),
        ..ListTasksRequest::default()
    };
    refused(
        tasks.list_tasks(list(-1, "")).await,
        InvalidArgument,
        "VALUE_INVALID",
    );
    refused(
        tasks.list_tasks(list(0, "\u{1f4a5}")).await,
        InvalidArgument,
        "VALUE_INVALID",
    );

    let item = |blocked_by_items: &[i32]| NewTask {
        subject: "item".into(),
        blocked_by_items: blocked_by_items.into(),
        ..NewTask::default()
    };
    for bad in [&[2][..], &[1], &[-1], &[i32::MAX]] {
        let batch = BatchCreateTasksRequest {
            tasks: vec![item(&[]), item(bad), item(&[])],
            ..BatchCreateTasksRequest::default()
        };
        let status = tasks.batch_create_tasks(batch).await.unwrap_err();
        assert_eq!(status.code(), InvalidArgument, "{bad:?}: {status:?}");
        ganger_tests::error_info(&status);
    }

    assert_eq!(board(&client).await, before);
}

#[tokio::test]
async fn bad_calls_of_delegation_are_refused_and_change_nothing() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let mut delegation = client.delegation();

    let cancel = |task_id, reason: String| CancelTaskRequest {
        task_id,
        reason,
        ..CancelTaskRequest::default()
    };
    let none = String::new();
    refused(
        delegation.cancel_task(cancel(ABSENT, none.clone())).await,
        NotFound,
        "TASK_NOT_FOUND",
    );
    refused(
        delegation.cancel_task(cancel(3, none)).await,
        FailedPrecondition,
        "TASK_OVER",
    );
    refused(
        delegation.cancel_task(cancel(1, text(4 * KIB + 1))).await,
        InvalidArgument,
        "FIELD_TOO_LONG",
    );
    let start = |agent_type: &str| StartTaskRequest {
        description: "d".into(),
        agent_type: agent_type.into(),
        prompt: "true".into(),
        ..StartTaskRequest::default()
    };
    refused(
        delegation.start_task(start("")).await,
        InvalidArgument,
        "VALUE_INVALID",
    );
    refused(
        delegation.start_task(start("poet")).await,
        FailedPrecondition,
        "AGENT_TYPE_UNKNOWN",
    );

    for (task_id, attempt, after_index, code, reason) in [
        (ABSENT, 0, 0, NotFound, "TASK_NOT_FOUND"),
        (1, 5, 0, InvalidArgument, "VALUE_INVALID"),
        (1, -1, 0, InvalidArgument, "VALUE_INVALID"),
        (1, 0, -1, InvalidArgument, "VALUE_INVALID"),
    ] {
        let request = WatchTranscriptRequest {
            task_id,
            attempt,
            after_index,
            ..WatchTranscriptRequest::default()
        };
        refused(delegation.watch_transcript(request).await, code, reason);
    }

    assert_eq!(board(&client).await, before);
}

#[tokio::test]
async fn bad_calls_of_teams_and_artifacts_are_refused_and_change_nothing() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let (mut teams, mut artifacts) = (client.team(), client.artifact());

    let ahead = WatchTeamRequest {
        after_revision: Some(u64::MAX),
        ..WatchTeamRequest::default()
    };
    refused(
        teams.watch_team(ahead).await,
        InvalidArgument,
        "VALUE_INVALID",
    );
    let other = WatchTeamRequest {
        team_uid: 4_711,
        ..WatchTeamRequest::default()
    };
    refused(
        teams.watch_team(other).await,
        FailedPrecondition,
        "TEAM_REPLACED",
    );
    let all = v1::ListTeamsRequest {
        page_size: i32::MIN,
        ..v1::ListTeamsRequest::default()
    };
    refused(
        teams.list_teams(all).await,
        InvalidArgument,
        "VALUE_INVALID",
    );
    let team = |team_name: &str| CreateTeamRequest {
        team_name: team_name.into(),
        lead: "a".into(),
        ..CreateTeamRequest::default()
    };
    refused(
        teams.create_team(team("")).await,
        InvalidArgument,
        "NAME_INVALID",
    );
    refused(
        teams.create_team(team("default")).await,
        AlreadyExists,
        "TEAM_EXISTS",
    );
    let mut twice = team("t");
    twice.members.push(NewMember {
        name: "a".into(),
        ..NewMember::default()
    });
    refused(
        teams.create_team(twice).await,
        AlreadyExists,
        "MEMBER_EXISTS",
    );

    let zeros = "0".repeat(64);
    for (sha256, offset, code, reason) in [
        (&zeros[..], 0, NotFound, "ARTIFACT_NOT_FOUND"),
        ("../../etc/passwd", 0, InvalidArgument, "VALUE_INVALID"),
        (&zeros, -1, InvalidArgument, "VALUE_INVALID"),
    ] {
        let request = DownloadArtifactRequest {
            sha256: sha256.into(),
            offset,
            limit: 0,
        };
        refused(artifacts.download_artifact(request).await, code, reason);
    }
    let get = v1::GetArtifactRequest {
        sha256: "A".repeat(64),
    };
    refused(
        artifacts.get_artifact(get).await,
        InvalidArgument,
        "VALUE_INVALID",
    );

    assert_eq!(board(&client).await, before);
}
