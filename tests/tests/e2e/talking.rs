//! Sub-agents that talk, whole: a real worker, a real coordinator, and a lead between them.

use std::io::Write;

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, Daemon, patiently, programs};
use v1::{TaskPhase, TaskStatus};

/// Asks, writes down what it is told, and once more.
const ASKS: &str = r#"
    read -r task
    echo '{"type":"question","text":"which one?"}'
    read -r first; echo "told: $first"
    read -r second; echo "told: $second"
"#;

/// A worker that offers `talker` too, which runs its prompt as a script that talks.
async fn talking_worker(cluster: &Cluster) -> Daemon {
    let config = cluster.dir().join("worker.toml");
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(config)
        .unwrap();
    config
        .write_all(
            b"[agent_types.talker]\ncommand = ['/bin/sh', '{prompt_file}']\nprotocol = 'json'\n\
              tools = ['TaskCreate', 'TaskList']\n",
        )
        .unwrap();
    cluster.worker("w1").await
}

async fn start(client: &Client, prompt: &str) -> v1::Task {
    let request = v1::StartTaskRequest {
        description: "talk".into(),
        prompt: prompt.into(),
        agent_type: "talker".into(),
        ..v1::StartTaskRequest::default()
    };
    client.start_task(request).await
}

/// Waits until the task's sub-agent asks.
async fn question(client: &Client, task_id: u64) -> v1::TaskQuestion {
    let request = v1::WaitTasksRequest {
        task_ids: vec![task_id],
        ..v1::WaitTasksRequest::default()
    };
    let waited = patiently("a question", client.delegation().wait_tasks(request)).await;
    let waited = waited.unwrap().into_inner();
    assert_eq!((waited.finished, waited.questions.len()), (0, 1));
    assert_eq!(waited.questions[0].task_id, task_id);
    waited.questions[0].question.clone().unwrap()
}

async fn answer(client: &Client, task_id: u64, text: &str) {
    let request = v1::AnswerQuestionRequest {
        task_id,
        text: text.into(),
        ..v1::AnswerQuestionRequest::default()
    };
    let mut delegation = client.delegation();
    let answered = delegation.answer_question(request);
    patiently("AnswerQuestion", answered).await.unwrap();
}

async fn steer(client: &Client, task_id: u64, text: &str) {
    let request = v1::SteerTaskRequest {
        task_id,
        text: text.into(),
        ..v1::SteerTaskRequest::default()
    };
    let mut delegation = client.delegation();
    let steered = delegation.steer_task(request);
    patiently("SteerTask", steered).await.unwrap();
}

/// What it wrote down.
fn told(task: &v1::Task) -> Vec<&str> {
    let lines = task.result.lines();
    lines
        .filter_map(|line| line.strip_prefix("told: "))
        .collect()
}

#[tokio::test]
async fn sub_agent_asks_is_answered_and_steered() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = talking_worker(&cluster).await;
    let task = start(&client, ASKS).await;

    let asked = question(&client, task.id).await;
    assert_eq!((asked.number, asked.text.as_str()), (1, "which one?"));
    let waiting = client.get(task.id).await;
    assert_eq!(waiting.phase(), TaskPhase::WaitingForAnswer, "{waiting:?}");
    answer(&client, task.id, "the left one").await;
    let mut transcript = client.transcript(task.id).await;
    transcript.said("the left one").await;
    steer(&client, task.id, "and hurry").await;
    let ended = client.ended(task.id).await;

    assert_eq!(ended.status(), TaskStatus::Completed, "{ended:?}");
    assert_eq!(
        told(&ended),
        [
            r#"{"type":"answer","question":1,"text":"the left one","from":"team-lead"}"#,
            r#"{"type":"steer","text":"and hurry","from":"team-lead"}"#
        ]
    );
}

#[tokio::test]
async fn question_and_answer_outlive_the_coordinator() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let worker = talking_worker(&cluster).await;
    let task = start(&client, ASKS).await;
    question(&client, task.id).await;

    let seen = worker.log_len();
    cluster.crash_coordinator().await;
    let asked = question(&client, task.id).await;
    answer(&client, task.id, "the left one").await;
    worker.logged_after(seen, "connected coordinator").await;
    // The answer is heeded, or said again to whoever comes back: either way it is told once.
    steer(&client, task.id, "and hurry").await;
    let ended = client.ended(task.id).await;

    assert_eq!(asked.number, 1);
    assert_eq!(
        (ended.status(), ended.attempt_count),
        (TaskStatus::Completed, 1)
    );
    assert_eq!(
        told(&ended),
        [
            r#"{"type":"answer","question":1,"text":"the left one","from":"team-lead"}"#,
            r#"{"type":"steer","text":"and hurry","from":"team-lead"}"#
        ]
    );
}

#[tokio::test]
async fn stop_ends_a_pending_question_and_the_sub_agent_is_told_why() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = talking_worker(&cluster).await;
    let task = start(&client, &format!("trap '' TERM\n{ASKS}")).await;
    question(&client, task.id).await;

    client.cancel(task.id).await;
    let ended = client.ended(task.id).await;

    assert_eq!(ended.status(), TaskStatus::Cancelled, "{ended:?}");
    assert_eq!(
        told(&ended),
        [
            r#"{"type":"no_answer","question":1,"text":"the test says so"}"#,
            r#"{"type":"stop","reason":"the test says so"}"#
        ]
    );
}

#[tokio::test]
async fn sub_agent_changes_the_board_by_tools_in_its_own_name() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = talking_worker(&cluster).await;
    let prompt = r#"
        read -r task
        echo '{"type":"tool","id":1,"name":"TaskCreate","arguments":{"subject":"found one","description":"more to do"}}'
        read -r first; echo "told: $first"
        echo '{"type":"tool","id":2,"name":"TeamDelete"}'
        read -r second; echo "told: $second"
    "#;

    let task = start(&client, prompt).await;
    let ended = client.ended(task.id).await;

    assert_eq!(ended.status(), TaskStatus::Completed, "{ended:?}");
    let [made, refused] = told(&ended)[..] else {
        panic!("{ended:?}")
    };
    assert!(
        made.starts_with(r#"{"type":"tool_result","id":1,"result":{"#),
        "{made}"
    );
    assert_eq!(
        refused,
        r#"{"type":"tool_result","id":2,"error":{"reason":"TOOL_NOT_ALLOWED","message":"agent type talker may call: TaskCreate, TaskList"}}"#
    );
    let found = client.get(task.id + 1).await;
    assert_eq!(
        (found.subject.as_str(), found.created_by.as_str()),
        ("found one", &*format!("task:{}", task.id))
    );
}

#[tokio::test]
async fn drained_by_order_a_worker_ends_with_0_and_what_it_ran_runs_elsewhere() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut worker = cluster.worker("w1").await;
    let task = client
        .create(v1::CreateTaskRequest {
            subject: "long".into(),
            agent_type: "shell".into(),
            prompt: format!("{}; echo done", gate.wait()),
            // The first loss would be its end: so what is handed back is none.
            crash_limit: Some(0),
            ..v1::CreateTaskRequest::default()
        })
        .await;
    client.running(task.id).await;
    let another = cluster.worker("w2").await;

    let drain = v1::DrainWorkerRequest {
        name: "w1".into(),
        reason: "a new image".into(),
        timeout: Some(std::time::Duration::from_millis(1).into()),
    };
    let mut fleet = client.fleet();
    patiently("DrainWorker", fleet.drain_worker(drain))
        .await
        .unwrap();
    let status = worker.end().await;
    gate.open_for(2);
    let ended = client.ended(task.id).await;

    assert!(status.success(), "{status}");
    assert!(worker.log().contains("a new image"), "{}", worker.log());
    assert_eq!(
        (ended.status(), ended.result.as_str()),
        (TaskStatus::Completed, "done\n")
    );
    drop(another);
}
