//! Which worker gets which task, what bounds how much runs, and that it is told.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, HandWorker, hello, new_task, patiently, programs};

/// A Hello with so many slots, and a zone.
fn in_zone(name: &str, slots: i32, zone: &str) -> v1::Hello {
    v1::Hello {
        slots,
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        ..hello(name)
    }
}

/// A task for whoever plays a worker.
fn by_hand(subject: &str) -> v1::NewTask {
    v1::NewTask {
        agent_type: "by-hand".into(),
        prompt: "true".into(),
        ..new_task(subject)
    }
}

/// The reasons why a task is not given out, as it is explained.
async fn why(client: &Client, task_id: u64) -> Vec<v1::Because> {
    let mut because = client.explain(task_id).await.because;
    let queued = because.pop().expect("it is queued");
    assert_eq!((&queued.reason[..], queued.place > 0), ("QUEUED", true));
    because
}

fn words(because: &[v1::Because]) -> Vec<(&str, &str)> {
    let because = because.iter();
    because
        .map(|one| (one.reason.as_str(), one.text.as_str()))
        .collect()
}

async fn team_update(client: &Client, request: v1::UpdateTeamRequest) -> v1::Team {
    let updated = patiently("UpdateTeam", client.team().update_team(request)).await;
    updated.unwrap().into_inner().team.unwrap()
}

async fn status(client: &Client) -> v1::GetStatusResponse {
    let mut fleet = client.fleet();
    let status = fleet.get_status(v1::GetStatusRequest {});
    patiently("GetStatus", status).await.unwrap().into_inner()
}

#[tokio::test]
async fn task_waits_for_a_worker_with_the_labels_that_it_wants() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut east = HandWorker::connect(&client, in_zone("east", 2, "east"))
        .await
        .unwrap();
    let wanting = v1::NewTask {
        worker_labels: [("zone".to_owned(), "west".to_owned())].into(),
        ..by_hand("there")
    };

    let ids = client.plan(vec![wanting, by_hand("anywhere")]).await;

    let anywhere = east.assignment().await.fence.unwrap();
    assert_eq!(anywhere.task_id, ids[1]);
    let missing = "no connected worker that offers by-hand has zone=west; on connected workers \
                   zone is east";
    let because = why(&client, ids[0]).await;
    assert_eq!(words(&because), [("NO_WORKER_FOR_LABELS", missing)]);
    let listed = client.list(|_| ()).await;
    let reason = format!("NO_WORKER_FOR_LABELS: {missing}");
    assert_eq!(listed[0].phase_reason, reason);
    let mut west = HandWorker::connect(&client, in_zone("west", 1, "west"))
        .await
        .unwrap();
    let there = west.assignment().await.fence.unwrap();
    assert_eq!(there.task_id, ids[0]);
    let task = client.get(ids[0]).await;
    assert_eq!(task.worker_labels["zone"], "west");
}

#[tokio::test]
async fn fan_out_runs_no_more_at_once_than_its_window() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let wide = v1::Hello {
        slots: 5,
        ..hello("wide")
    };
    let mut worker = HandWorker::connect(&client, wide).await.unwrap();
    let parent = v1::NewTask {
        window: 2,
        ..new_task("all of it")
    };
    let parent = client.plan(vec![parent]).await[0];
    let child = |n: usize| v1::NewTask {
        parent_task_id: parent,
        ..by_hand(&n.to_string())
    };

    let ids = client.plan((0..4).map(child).collect()).await;

    let first = worker.assignment().await.fence.unwrap();
    let second = worker.assignment().await.fence.unwrap();
    assert_eq!([first.task_id, second.task_id], ids[..2]);
    let because = why(&client, ids[2]).await;
    let full = format!("2 children of #{parent} run, and 2 may");
    assert_eq!(words(&because), [("WINDOW_FULL", &full[..])]);
    assert_eq!(because[0].task_ids, [parent]);
    assert_eq!(client.explain(ids[3]).await.because[1].place, 2);
    worker.completed(&first, "done").await;
    let third = worker.assignment().await.fence.unwrap();
    assert_eq!(third.task_id, ids[2]);
    let update = v1::UpdateTaskRequest {
        task_id: parent,
        window: Some(0),
        ..v1::UpdateTaskRequest::default()
    };
    client.task().update_task(update).await.unwrap();
    let last = worker.assignment().await.fence.unwrap();
    assert_eq!(last.task_id, ids[3]);
}

#[tokio::test]
async fn team_runs_no_more_than_it_may_and_others_take_the_slots() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let wide = v1::Hello {
        slots: 3,
        ..hello("wide")
    };
    let mut worker = HandWorker::connect(&client, wide).await.unwrap();
    let other = client.clone().team_of("other", &[]).await;
    let bound = v1::UpdateTeamRequest {
        max_running: Some(1),
        weight: Some(7),
        ..v1::UpdateTeamRequest::default()
    };
    let team = team_update(&client, bound).await;
    assert_eq!((team.weight, team.max_running, team.running), (7, 1, 0));

    let ids = client.plan(vec![by_hand("a"), by_hand("b")]).await;
    let first = worker.assignment().await.fence.unwrap();
    let others = other.plan(vec![by_hand("c"), by_hand("d")]).await;
    let mut teams = Vec::new();
    for _ in 0..2 {
        let assignment = worker.assignment().await;
        teams.push((assignment.team, assignment.fence.unwrap().task_id));
    }

    assert_eq!(first.task_id, ids[0]);
    let taken: Vec<_> = others.iter().map(|id| ("other".to_owned(), *id)).collect();
    assert_eq!(teams, taken);
    let because = why(&client, ids[1]).await;
    let full = "its team runs 1 tasks, and may run 1";
    assert_eq!(words(&because), [("TEAM_AT_LIMIT", full)]);
    assert_eq!(client.get_team().await.unwrap().running, 1);
    let status = status(&client).await;
    assert_eq!((status.running, status.running_limits.len()), (3, 0));
    worker.completed(&first, "done").await;
    assert_eq!(worker.assignment().await.fence.unwrap().task_id, ids[1]);
}

#[tokio::test]
async fn bounds_of_types_and_labels_hold_over_all_teams() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bounds = "[limits.agent_types]\nby-hand = 2\n[limits.labels]\n\"model:large\" = 1\n";
    std::fs::write(file.path(), bounds).unwrap();
    let path = file.path().to_str().unwrap();
    let cluster = Cluster::with(programs!(), &["--config", path]).await;
    let client = cluster.client();
    let wide = v1::Hello {
        slots: 5,
        ..hello("wide")
    };
    let mut worker = HandWorker::connect(&client, wide).await.unwrap();
    let other = client.clone().team_of("other", &[]).await;
    let large = |subject: &str| v1::NewTask {
        labels: vec!["model:large".into()],
        ..by_hand(subject)
    };

    let ids = client.plan(vec![large("a"), large("b")]).await;
    let others = other
        .plan(vec![large("c"), by_hand("d"), by_hand("e")])
        .await;

    let first = worker.assignment().await.fence.unwrap();
    let second = worker.assignment().await;
    assert_eq!(first.task_id, ids[0]);
    let second_task = second.fence.unwrap().task_id;
    assert_eq!((&second.team[..], second_task), ("other", others[1]));
    let of_type = ("TYPE_AT_LIMIT", "2 tasks of by-hand run, and 2 may");
    let label = "1 tasks labelled model:large run, and 1 may";
    let of_label = ("LABEL_AT_LIMIT", label);
    assert_eq!(words(&why(&client, ids[1]).await), [of_type, of_label]);
    assert_eq!(words(&why(&other, others[2]).await), [of_type]);
    let status = status(&client).await;
    let limit = |agent_type: &str, label: &str, max, running| v1::RunningLimit {
        agent_type: agent_type.into(),
        label: label.into(),
        max,
        running,
    };
    let limits = [limit("by-hand", "", 2, 2), limit("", "model:large", 1, 1)];
    assert_eq!(status.running_limits, limits);
    worker.completed(&first, "done").await;
    let third = worker.assignment().await;
    let third_task = third.fence.unwrap().task_id;
    assert_eq!((&third.team[..], third_task), ("default", ids[1]));
}

#[tokio::test]
async fn retry_goes_to_another_worker_than_the_one_that_lost_it() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let first_hello = hello("a");
    let mut first = HandWorker::connect(&client, first_hello.clone())
        .await
        .unwrap();
    let ids = client.plan(vec![by_hand("fragile")]).await;
    let fence = first.assignment().await.fence.unwrap();
    first.started(&fence).await;
    let mut second = HandWorker::connect(&client, hello("b")).await.unwrap();
    let busy = client.plan(vec![by_hand("plain")]).await;
    let held = second.assignment().await.fence.unwrap();
    assert_eq!(held.task_id, busy[0]);

    // It comes back without what it had, and has a free slot, as the other has not.
    let mut first = HandWorker::connect(&client, first_hello).await.unwrap();
    let because = why(&client, ids[0]).await;
    assert_eq!(because.len(), 1, "{because:?}");
    assert_eq!(because[0].reason, "AVOIDS_WORKER");
    assert!(because[0].text.contains("is kept from a, "), "{because:?}");
    let behind = client.plan(vec![by_hand("behind it")]).await;
    let taken = first.assignment().await.fence.unwrap();
    second.completed(&held, "done").await;
    let again = second.assignment().await.fence.unwrap();

    assert_eq!(taken.task_id, behind[0]);
    assert_eq!((again.task_id, again.attempt), (ids[0], 2));
    second.started(&again).await;
    second.completed(&again, "done").await;
    let done = client.get(ids[0]).await;
    let runners = done.attempts.iter();
    let runners: Vec<_> = runners
        .map(|one| (one.runner.as_str(), one.ending()))
        .collect();
    let endings = [
        ("a", v1::AttemptEnding::Lost),
        ("b", v1::AttemptEnding::Completed),
    ];
    assert_eq!(runners, endings);
}
