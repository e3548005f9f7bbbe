//! Reports that can't be read: a worker that makes them is broken, and its task must not hang on it.

use ganger_proto::v1::{self, Ended, Fence, connect_request::Message as Says};
use ganger_tests::{Cluster, HandWorker, hello, programs};
use pbjson_types::Duration;
use tonic::Code;

use crate::fences::{assigned, by_hand, end_of};

const NO_SPAN: Duration = Duration {
    seconds: -1,
    nanos: 7,
};

#[tokio::test]
async fn reports_whose_attempt_can_not_be_read_end_the_stream_and_change_nothing() {
    let (_cluster, client, _worker, fence) = assigned().await;
    let before = client.get(fence.task_id).await;
    let started = |fence, run_limit| Says::Started(v1::Started { fence, run_limit });
    let no_epoch = Fence {
        epoch: "x".into(),
        ..fence.clone()
    };
    let no_attempt = Fence {
        attempt: -1,
        ..fence.clone()
    };
    let bad = [
        started(None, None),
        started(Some(no_epoch), None),
        started(Some(no_attempt), None),
        started(Some(fence), Some(NO_SPAN)),
        Says::Progress(v1::Progress::default()),
        Says::Refused(v1::Refused::default()),
        Says::Ended(Ended::default()),
    ];

    for (at, bad) in bad.into_iter().enumerate() {
        let hello = hello(&format!("bad-{at}"));
        let mut worker = HandWorker::connect(&client, hello).await.unwrap();
        println!("{bad:?}");
        worker.say(bad);
        let status = end_of(&mut worker).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        ganger_tests::error_info(&status);
    }

    assert_eq!(client.get(before.id).await, before);
}

/// What is wrong with an end that is otherwise a completion.
const BAD_ENDS: &[fn(&mut Ended)] = &[
    |end| end.ending = 0,
    |end| end.ending = 99,
    |end| end.ending = v1::AttemptEnding::Lost.into(),
    |end| end.ending = v1::AttemptEnding::HandedBack.into(),
    |end| end.result = "x".repeat((256 << 10) + 1),
    |end| end.error = "x".repeat((256 << 10) + 1),
    |end| end.stop_reason = 99,
    |end| end.outputs = vec![v1::Artifact::default()],
    |end| end.outputs = vec![output("p", -1)],
    |end| end.outputs = vec![output("never-uploaded", 1)],
    |end| end.outputs = vec![output("../up", 1)],
    |end| end.outputs = vec![output("p", 1); 257],
    |end| {
        end.usage = Some(v1::Usage {
            wall_time: Some(NO_SPAN),
            ..v1::Usage::default()
        });
    },
];

fn output(path: &str, size: i64) -> v1::Artifact {
    v1::Artifact {
        sha256: "0".repeat(64),
        path: path.into(),
        size,
    }
}

#[tokio::test]
async fn end_that_can_not_be_read_fails_its_attempt_rather_than_being_repeated_for_ever() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();

    for (at, change) in BAD_ENDS.iter().enumerate() {
        let task = client.start_task(by_hand()).await;
        let fence = worker.assignment().await.fence.unwrap();
        let mut end = Ended {
            fence: Some(fence),
            ending: v1::AttemptEnding::Completed.into(),
            ..Ended::default()
        };
        change(&mut end);
        let ack = worker.ended(end).await;

        assert!(ack.accepted, "{at}: {ack:?}");
        let ended = client.ended(task.id).await;
        assert_eq!(ended.status(), v1::TaskStatus::Failed, "{at}: {ended:?}");
        assert!(!ended.error.is_empty() && ended.error.len() < 1_000, "{at}");
        assert_eq!((ended.attempt_count, ended.outputs.len()), (1, 0), "{at}");
    }
}
