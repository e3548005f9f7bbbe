//! Who calls, and whether it is the same call again.

use ganger_proto::{
    MEMBER_KEY,
    v1::{CreateTaskRequest, EventType},
};
use ganger_tests::refused;
use tonic::Code::{Aborted, AlreadyExists, InvalidArgument, NotFound};

use super::{board, good, small_board};

const REQUEST: &str = "6f2b3c54-2d6e-4f55-9d57-3d1c3e0c9a11";

#[tokio::test]
async fn callers_who_are_not_who_they_say_are_refused() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;

    for (member, code, reason) in [
        ("nobody", NotFound, "MEMBER_NOT_FOUND"),
        ("a b", InvalidArgument, "NAME_INVALID"),
        ("team-lead/x", InvalidArgument, "VALUE_INVALID"),
        ("team-lead/", InvalidArgument, "VALUE_INVALID"),
        ("team-lead/-1", InvalidArgument, "VALUE_INVALID"),
        (
            "team-lead/99999999999999999999",
            InvalidArgument,
            "VALUE_INVALID",
        ),
        ("team-lead/7", Aborted, "INCARNATION_STALE"),
        ("/1", InvalidArgument, "NAME_INVALID"),
    ] {
        println!("{member}");
        let caller = client.clone().member(member);
        refused(caller.task().create_task(good()).await, code, reason);
    }
    let mut raw = tonic::Request::new(good());
    let bytes = tonic::metadata::MetadataValue::try_from(&b"caf\xc3\xa9"[..]).unwrap();
    raw.metadata_mut().insert(MEMBER_KEY, bytes);
    refused(
        client.task().create_task(raw).await,
        InvalidArgument,
        "VALUE_INVALID",
    );

    assert_eq!(board(&client).await, before);
}

#[tokio::test]
async fn repeated_request_answers_its_first_outcome_and_another_body_is_refused() {
    let (cluster, client) = small_board().await;
    let request = CreateTaskRequest {
        request_id: REQUEST.into(),
        ..good()
    };
    let first = client.create(request.clone()).await;
    let before = board(&client).await;

    let again = client.create(request.clone()).await;
    let other = CreateTaskRequest {
        subject: "another".into(),
        ..request.clone()
    };
    refused(
        client.task().create_task(other.clone()).await,
        AlreadyExists,
        "REQUEST_ID_REUSED",
    );

    assert_eq!((again.id, again.revision), (first.id, first.revision));
    assert_eq!(board(&client).await, before);

    // And so it is after a crash.
    let mut cluster = cluster;
    cluster.crash_coordinator().await;
    let client = cluster.client();
    let again = client.create(request).await;
    refused(
        client.task().create_task(other).await,
        AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(again.id, first.id);
    assert_eq!(board(&client).await.tasks, before.tasks);
}

#[tokio::test]
async fn refused_calls_leave_no_event() {
    let (_cluster, client) = small_board().await;
    let mut watch = client.watch().await;
    watch.ended(3).await;
    let seen = watch.events.len();

    refused(
        client
            .task()
            .create_task(CreateTaskRequest::default())
            .await,
        InvalidArgument,
        "FIELD_BLANK",
    );
    let marker = client.create(good()).await;
    watch.until(marker.id, EventType::TaskCreated).await;

    assert_eq!(watch.events.len(), seen + 1);
}
