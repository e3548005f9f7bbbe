//! A plan goes in, results come out: along dependencies, as artifacts, in any size.

use ganger_proto::v1;
use ganger_tests::{Cluster, WorkerSpec, programs};
use v1::{NewTask, StartTaskRequest, TaskStatus};

fn script(subject: &str, prompt: &str) -> NewTask {
    NewTask {
        subject: subject.into(),
        prompt: prompt.into(),
        agent_type: "shell".into(),
        ..NewTask::default()
    }
}

async fn plan(cluster: &Cluster, tasks: Vec<NewTask>) -> Vec<u64> {
    let request = v1::BatchCreateTasksRequest {
        tasks,
        ..v1::BatchCreateTasksRequest::default()
    };
    let made = cluster.client().task().batch_create_tasks(request).await;
    made.unwrap()
        .into_inner()
        .tasks
        .iter()
        .map(|task| task.id)
        .collect()
}

#[tokio::test]
async fn results_and_artifacts_flow_along_dependencies() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _workers = [cluster.worker("w1").await, cluster.worker("w2").await];
    let words = NewTask {
        output_globs: vec!["out/**".into(), "words.txt".into()],
        ..script(
            "words",
            "mkdir -p out/deep; echo alpha > words.txt; echo beta > out/deep/b; echo not kept > other; echo 1 word",
        )
    };
    let number = script("number", "echo 42 > result.md; echo this is not the result");
    let report = NewTask {
        blocked_by_items: vec![0, 1],
        ..script(
            "report",
            "cd /inputs; cat 1/result.md 2/result.md 1/words.txt 1/out/deep/b; ls 1/other 2>&1; cat index.json",
        )
    };

    let ids = plan(&cluster, vec![words, number, report]).await;
    let ended = client.ended(ids[2]).await;

    assert_eq!(ended.status(), TaskStatus::Completed, "{ended:?}");
    let (texts, index) = ended
        .result
        .split_at(ended.result.find(['{', '[']).unwrap());
    let lines: Vec<&str> = texts.lines().collect();
    assert_eq!(lines[..4], ["1 word", "42", "alpha", "beta"], "{texts}");
    assert!(lines[4].contains("No such file"), "{texts}");
    let index: serde_json::Value = serde_json::from_str(index).unwrap();
    let index = index.to_string();
    for fact in ["\"words\"", "\"number\"", "out/deep/b", "words.txt"] {
        assert!(index.contains(fact), "no {fact} in {index}");
    }
    let words = client.get(ids[0]).await;
    let paths: Vec<&str> = words
        .outputs
        .iter()
        .map(|output| &output.path[..])
        .collect();
    assert_eq!(paths, ["out/deep/b", "words.txt"]);
    assert_eq!(client.download(&words.outputs[1].sha256).await, b"alpha\n");
    assert_eq!(words.outputs[1].size, 6);
}

#[tokio::test]
async fn inputs_lie_in_the_sandbox_as_they_were_uploaded_and_can_not_be_changed() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.worker("w1").await;
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let blob = client.upload("data/blob.bin", &content).await;
    assert_eq!(client.download(&blob.sha256).await, content);

    let task = client
        .start_task(StartTaskRequest {
            prompt: "sha256sum < /inputs/data/blob.bin | cut -d' ' -f1; \
                     echo x 2>/dev/null > /inputs/data/blob.bin || echo read-only; \
                     cp /inputs/data/blob.bin copy"
                .into(),
            inputs: vec![blob.clone()],
            output_globs: vec!["copy".into()],
            ..StartTaskRequest::default()
        })
        .await;
    let ended = client.ended(task.id).await;

    assert_eq!(ended.status(), TaskStatus::Completed, "{ended:?}");
    assert_eq!(ended.result, format!("{}\nread-only\n", blob.sha256));
    assert_eq!(ended.outputs[0].sha256, blob.sha256);
}

#[tokio::test]
async fn large_results_go_along_cut_and_whole_as_an_artifact() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.worker("w1").await;
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
    let lines = |count: usize| {
        format!("n=0; while [ $n -lt {count} ]; do n=$((n+1)); echo {line}; done > result.md")
    };
    let middling = script("100 KiB", &lines(1_600));
    let huge = script("1 MiB", &lines(16_384));
    let look = NewTask {
        blocked_by_items: vec![0, 1],
        ..script(
            "look",
            "wc -c < /inputs/1/result.md; wc -c < /inputs/2/result.md",
        )
    };

    let ids = plan(&cluster, vec![middling, huge, look]).await;
    let ended = client.ended(ids[2]).await;

    assert_eq!(ended.status(), TaskStatus::Completed, "{ended:?}");
    assert_eq!(
        ended.result.split_whitespace().collect::<Vec<_>>(),
        ["102400", "1048576"]
    );
    let middling = client.get(ids[0]).await;
    assert_eq!(middling.result.len(), 102_400);
    let huge = client.get(ids[1]).await;
    assert!(huge.result.len() <= 256 << 10, "{}", huge.result.len());
    for (task, size) in [(middling, 102_400), (huge, 1_048_576)] {
        let whole = task
            .outputs
            .iter()
            .find(|output| output.path == "result.md")
            .unwrap();
        assert_eq!(client.download(&whole.sha256).await.len(), size);
    }
}

#[tokio::test]
async fn diamond_runs_in_order_and_side_by_side_where_it_may() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.worker("w1").await;
    let gate = cluster.gate("sides");
    let side = |name: &str| NewTask {
        blocked_by_items: vec![0],
        ..script(name, &format!("{}; echo {name}", gate.wait()))
    };
    let tasks = vec![
        script("top", "echo top"),
        side("left"),
        side("right"),
        NewTask {
            blocked_by_items: vec![1, 2],
            ..script("bottom", "cat /inputs/2/result.md /inputs/3/result.md")
        },
    ];

    let ids = plan(&cluster, tasks).await;
    // Both sides run at once: neither is through the gate yet.
    let mut watch = client.watch().await;
    watch.until(ids[1], v1::EventType::TaskStarted).await;
    watch.until(ids[2], v1::EventType::TaskStarted).await;
    let waiting = client.get(ids[3]).await;
    assert_eq!(
        (waiting.status(), waiting.open_blockers),
        (TaskStatus::Pending, vec![ids[1], ids[2]])
    );
    gate.open_for(2);
    watch.ended(ids[3]).await;

    assert_eq!(client.get(ids[3]).await.result, "left\nright\n");
    let at = |id, kind| {
        watch
            .events
            .iter()
            .position(|event| event.task_id == id && event.r#type() == kind)
    };
    use v1::EventType::{TaskCompleted, TaskDispatched};
    for (first, then) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        assert!(
            at(ids[first], TaskCompleted) < at(ids[then], TaskDispatched),
            "{:?}",
            watch.events
        );
    }
}

#[tokio::test]
async fn failing_scripts_fail_their_task_with_their_last_words() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.worker("w1").await;

    let failing = client
        .start("echo partial; echo it broke >&2; exit 3")
        .await;
    let failed = client.ended(failing.id).await;
    let dependant = client
        .start_task(StartTaskRequest {
            prompt: "true".into(),
            blocked_by: vec![failing.id],
            ..StartTaskRequest::default()
        })
        .await;

    assert_eq!(failed.status(), TaskStatus::Failed);
    assert!(
        failed.error.contains('3') && failed.error.contains("it broke"),
        "{}",
        failed.error
    );
    assert_eq!(failed.result, "partial\n");
    assert_eq!(
        failed.attempt_count, 1,
        "an agent's own failure is not tried again"
    );
    assert_eq!(client.get(dependant.id).await.open_blockers, [failing.id]);
}

#[tokio::test]
async fn worker_is_never_given_more_than_it_has_slots() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.start_worker(WorkerSpec::named("w1").slots(3)).await;
    let gate = cluster.gate("g");
    let tasks = (0..12).map(|n| script(&n.to_string(), &gate.wait()));

    let ids = plan(&cluster, tasks.collect()).await;
    let mut watch = client.watch().await;
    let mut running = std::collections::BTreeSet::new();
    for id in &ids[..3] {
        watch.until(*id, v1::EventType::TaskStarted).await;
    }
    gate.open_for(ids.len());
    for id in &ids {
        watch.ended(*id).await;
    }

    for event in &watch.events {
        match event.r#type() {
            v1::EventType::TaskDispatched => assert!(running.insert(event.task_id)),
            v1::EventType::TaskCompleted => assert!(running.remove(&event.task_id)),
            _ => {}
        }
        assert!(running.len() <= 3, "{running:?}");
    }
    assert!(running.is_empty());
}

#[tokio::test]
async fn tasks_for_an_expected_type_wait_until_a_worker_brings_it() {
    let cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let client = cluster.client();
    let task = client.start("echo at last").await;
    let waiting = client.get(task.id).await;
    assert_eq!(waiting.phase(), v1::TaskPhase::Queued);
    assert!(
        waiting.phase_reason.contains("NO_WORKER_FOR_TYPE"),
        "{}",
        waiting.phase_reason
    );

    let _worker = cluster.worker("w1").await;

    assert_eq!(client.ended(task.id).await.result, "at last\n");
}
