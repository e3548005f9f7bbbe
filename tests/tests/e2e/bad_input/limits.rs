//! Every bound of a field, at it and one past it.

use ganger_proto::v1::{
    BatchCreateTasksRequest, CreateTaskRequest, CreateTeamRequest, NewMember, NewTask,
};
use ganger_tests::{Cluster, error_info, programs, refused};
use pbjson_types::Duration;
use tonic::Code::InvalidArgument;

use super::{KIB, good, metadata, text};

/// The longest that may be, what is one more refused with, and what makes a field so long.
type Bound = (usize, &'static str, fn(&mut CreateTaskRequest, usize));

const LONG: &str = "FIELD_TOO_LONG";
const MANY: &str = "TOO_MANY";
const VALUE: &str = "VALUE_INVALID";

fn numbers(len: usize) -> Vec<String> {
    (0..len).map(|number| number.to_string()).collect()
}

const BOUNDS: &[Bound] = &[
    (500, LONG, |t, len| t.subject = "ä".repeat(len)),
    (256 * KIB, LONG, |t, len| t.description = text(len)),
    (500, LONG, |t, len| t.active_form = text(len)),
    (256 * KIB, LONG, |t, len| t.prompt = text(len)),
    (64 * KIB, LONG, |t, len| t.metadata = metadata(len)),
    (200, LONG, |t, len| t.client_task_id = text(len)),
    (100, LONG, |t, len| t.labels = vec![text(len)]),
    (64, MANY, |t, len| t.labels = numbers(len)),
    (1_024, LONG, |t, len| t.output_globs = vec![text(len)]),
    (64, MANY, |t, len| t.output_globs = numbers(len)),
    (1_000, MANY, |t, len| {
        t.blocked_by = (1..=len as u64).collect()
    }),
    (100, VALUE, |t, len| t.crash_limit = Some(len as i32)),
    (30 * 24 * 3_600, VALUE, |t, len| {
        t.timeout = Some(Duration {
            seconds: len as i64,
            nanos: 0,
        });
    }),
    (64, "NAME_INVALID", |t, len| {
        (t.team, t.owner) = (text(64), text(len));
    }),
];

/// A team whose every field is as long as it may be.
fn longest_team() -> CreateTeamRequest {
    CreateTeamRequest {
        team_name: text(64),
        description: text(4 * KIB),
        members: vec![NewMember {
            name: text(64),
            role: text(4 * KIB),
            instructions: text(64 * KIB),
            ..NewMember::default()
        }],
        ..CreateTeamRequest::default()
    }
}

#[tokio::test]
async fn fields_are_taken_at_their_limit_and_refused_one_past_it() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let batch = |len| BatchCreateTasksRequest {
        tasks: (0..len)
            .map(|_| NewTask {
                subject: "blocker".into(),
                ..NewTask::default()
            })
            .collect(),
        ..BatchCreateTasksRequest::default()
    };
    let mut tasks = client.task();
    refused(
        tasks.batch_create_tasks(batch(1_001)).await,
        InvalidArgument,
        MANY,
    );
    let most = tasks.batch_create_tasks(batch(1_000)).await.unwrap();
    assert_eq!(most.into_inner().tasks.len(), 1_000);
    client.team().create_team(longest_team()).await.unwrap();

    for (at, (max, reason, change)) in BOUNDS.iter().enumerate() {
        let mut request = good();
        change(&mut request, *max);
        let mut past = good();
        change(&mut past, max + 1);
        println!("bound {at}: {max}");

        let taken = client.create(request.clone()).await;
        let commit = cluster.status().await.commit;
        refused(tasks.create_task(past).await, InvalidArgument, reason);

        assert_eq!(cluster.status().await.commit, commit);
        assert_eq!(
            (taken.subject, taken.description, taken.prompt, taken.labels),
            (
                request.subject,
                request.description,
                request.prompt,
                request.labels
            ),
        );
        assert_eq!(
            taken.metadata.unwrap_or_default(),
            request.metadata.unwrap_or_default()
        );
        assert_eq!(taken.blocked_by, request.blocked_by);
    }
}

#[tokio::test]
async fn fields_of_teams_are_refused_one_past_their_limit() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let past: [fn(&mut CreateTeamRequest); 6] = [
        |team| team.team_name = text(65),
        |team| team.description = text(4 * KIB + 1),
        |team| team.lead = text(65),
        |team| team.members[0].name = text(65),
        |team| team.members[0].role = text(4 * KIB + 1),
        |team| team.members[0].instructions = text(64 * KIB + 1),
    ];
    let before = cluster.status().await.commit;

    for (at, change) in past.iter().enumerate() {
        let mut team = longest_team();
        change(&mut team);
        let status = client.team().create_team(team).await.unwrap_err();
        assert_eq!(status.code(), InvalidArgument, "{at}: {status:?}");
        error_info(&status);
    }

    assert_eq!(cluster.status().await.commit, before);
    client.team().create_team(longest_team()).await.unwrap();
}
