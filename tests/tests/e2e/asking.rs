//! A running sub-agent asks its lead, is answered and is steered (D5, D6): the coordinator's side,
//! with a worker that the test plays.

use ganger_proto::v1::{self, connect_response::Message as Hears};
use ganger_tests::{
    Client, Cluster, HandWorker, agent, hosted, interactive, new_task, of_type, patiently,
    programs, refused, texts, words,
};
use pbjson_types::Duration as Span;
use serde_json::json;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::fences::by_hand;

/// A worker whose sub-agent runs the first task.
async fn at_work(client: &Client) -> (HandWorker, v1::Fence) {
    let mut hand = HandWorker::connect(client, interactive("me"))
        .await
        .unwrap();
    client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    assert!(hand.started(&fence).await.accepted);
    (hand, fence)
}

async fn answer(client: &Client, text: &str) -> Result<v1::Task, Status> {
    let request = v1::AnswerQuestionRequest {
        task_id: 1,
        text: text.into(),
        ..v1::AnswerQuestionRequest::default()
    };
    let mut delegation = client.delegation();
    let answered = patiently("AnswerQuestion", delegation.answer_question(request)).await?;
    Ok(answered.into_inner().task.unwrap())
}

async fn steer(client: &Client, task_id: u64, text: &str) -> Result<v1::Task, Status> {
    let request = v1::SteerTaskRequest {
        task_id,
        text: text.into(),
        ..v1::SteerTaskRequest::default()
    };
    let mut delegation = client.delegation();
    let steered = patiently("SteerTask", delegation.steer_task(request)).await?;
    Ok(steered.into_inner().task.unwrap())
}

fn all_of(task_ids: &[u64]) -> v1::WaitTasksRequest {
    v1::WaitTasksRequest {
        task_ids: task_ids.into(),
        ..v1::WaitTasksRequest::default()
    }
}

/// Somebody waits beside the test.
fn waiting(
    client: &Client,
    request: v1::WaitTasksRequest,
) -> JoinHandle<Result<v1::WaitTasksResponse, Status>> {
    let client = client.clone();
    tokio::spawn(async move { client.try_wait(request).await })
}

async fn heard(wait: JoinHandle<Result<v1::WaitTasksResponse, Status>>) -> v1::WaitTasksResponse {
    patiently("the wait is over", wait).await.unwrap().unwrap()
}

fn stuck(answer: &v1::WaitTasksResponse) -> Vec<String> {
    let line = |stuck: &v1::StuckTask| format!("#{} {}", stuck.task_id, stuck.because);
    answer.stuck.iter().map(line).collect()
}

#[tokio::test]
async fn question_comes_to_the_lead_by_mail_and_to_who_waits_and_its_answer_to_the_sub_agent() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    let wait = waiting(&client, all_of(&[1]));

    assert!(
        hand.asked(&fence, 1, "Which schema?\nOld or new?")
            .await
            .accepted
    );

    let waited = heard(wait).await;
    assert_eq!((waited.finished, waited.timed_out), (0, false));
    assert_eq!(stuck(&waited), [""; 0]);
    let [waiting] = &waited.questions[..] else {
        panic!("{waited:?}");
    };
    let question = waiting.question.clone().unwrap();
    assert_eq!((waiting.task_id, question.number), (1, 1));
    assert_eq!(question.text, "Which schema?\nOld or new?");
    let task = client.get(1).await;
    assert_eq!(task.phase(), v1::TaskPhase::WaitingForAnswer);
    assert_eq!(task.question, Some(question.clone()));
    let mail = client.mailbox().await;
    let [letter] = &mail[..] else {
        panic!("{mail:?}");
    };
    assert_eq!(letter.r#type(), v1::MessageType::Question);
    assert_eq!((letter.id, letter.task_id), (question.message_id, 1));
    assert_eq!((&letter.from[..], &letter.text), ("task:1", &question.text));
    let explained = client.explain(1).await.because;
    let reasons: Vec<&str> = explained.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["WAITING_FOR_ANSWER", "IN_PROGRESS"]);
    // Who minds neither waits on.
    let on = v1::WaitTasksRequest {
        wait_on: true,
        timeout: Some(Span {
            seconds: 0,
            nanos: 20_000_000,
        }),
        ..all_of(&[1])
    };
    let on = client.try_wait(on).await.unwrap();
    assert_eq!((on.timed_out, on.questions.len()), (true, 1));

    let answered = answer(&client, "the new").await.unwrap();
    assert_eq!(
        (answered.phase(), answered.question),
        (v1::TaskPhase::Running, None)
    );
    let word = hand.word().await;
    let lead = client.get_team().await.unwrap().lead;
    assert_eq!(word.fence.as_ref(), Some(&fence));
    assert_eq!(
        (word.number, word.kind(), word.question),
        (1, v1::WordKind::Answer, 1)
    );
    assert_eq!((word.text, word.from), ("the new".to_owned(), lead));

    hand.heeded(&fence, 1);
    assert!(hand.completed(&fence, "done").await.accepted);
    let info = refused(
        answer(&client, "late").await,
        Code::FailedPrecondition,
        "TASK_NOT_RUNNING",
    );
    assert_eq!(info.metadata["stands"], "completed");
}

#[tokio::test]
async fn question_whose_acknowledgement_was_lost_is_the_same_question() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;

    assert!(hand.asked(&fence, 1, "Which schema?").await.accepted);
    assert!(hand.asked(&fence, 1, "Which schema?").await.accepted);

    assert_eq!(client.mailbox().await.len(), 1);
    answer(&client, "the new").await.unwrap();
    assert!(hand.asked(&fence, 1, "Which schema?").await.accepted);
    assert_eq!(client.get(1).await.question, None);
    // One of another attempt is stale, and one out of turn is put before nobody.
    let stale = v1::Fence {
        attempt: 2,
        ..fence.clone()
    };
    assert!(!hand.asked(&stale, 2, "Which schema?").await.accepted);
    let out_of_turn = hand.asked(&fence, 9, "Which schema?").await;
    assert!(out_of_turn.accepted);
    assert!(
        out_of_turn.reason.contains("the next is 2"),
        "{out_of_turn:?}"
    );
    assert_eq!(client.get(1).await.question, None);
}

#[tokio::test]
async fn answer_outlives_a_crash_of_the_coordinator_until_it_was_heeded() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut hello = interactive("me");
    let mut hand = HandWorker::connect(&client, hello.clone()).await.unwrap();
    client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    hand.started(&fence).await;
    hello.held = vec![v1::Held {
        fence: Some(fence.clone()),
        started: true,
    }];
    hand.asked(&fence, 1, "Which schema?").await;
    answer(&client, "the new").await.unwrap();
    let told = hand.word().await;

    cluster.crash_coordinator().await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, hello.clone()).await.unwrap();
    assert!(hand.welcome.verdicts[0].keep);
    assert_eq!(hand.word().await, told);
    hand.heeded(&fence, 1);
    // Reports are taken in their order: so it was taken before this one.
    assert!(hand.asked(&fence, 2, "And which index?").await.accepted);

    cluster.crash_coordinator().await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, hello).await.unwrap();
    answer(&client, "none").await.unwrap();
    let next = hand.hear().await.unwrap();
    let Some(Hears::Word(word)) = next else {
        panic!("{next:?}");
    };
    assert_eq!((word.number, word.question, &word.text[..]), (2, 2, "none"));
}

#[tokio::test]
async fn sub_agent_that_nobody_answers_is_told_to_go_on_alone() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    let asked = v1::Asked {
        fence: Some(fence.clone()),
        number: 1,
        text: "Which schema?".into(),
        timeout: Some(Span {
            seconds: 0,
            nanos: 50_000_000,
        }),
    };
    assert!(hand.asks(asked).await.accepted);

    let word = hand.word().await;

    assert_eq!((word.kind(), word.question), (v1::WordKind::NoAnswer, 1));
    assert_eq!(word.from, "coordinator");
    let task = client.get(1).await;
    assert_eq!(
        (task.phase(), task.question),
        (v1::TaskPhase::Running, None)
    );
    // It goes on, and may ask again.
    assert!(hand.asked(&fence, 2, "And now?").await.accepted);
}

#[tokio::test]
async fn cancel_ends_a_question_at_once() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    hand.asked(&fence, 1, "Which schema?").await;

    let cancelled = client.cancel(1).await;

    assert_eq!(cancelled.phase(), v1::TaskPhase::Stopping);
    assert_eq!(cancelled.question, None);
    assert_eq!(hand.stop().await.fence.as_ref(), Some(&fence));
    let info = refused(
        answer(&client, "the new").await,
        Code::FailedPrecondition,
        "NO_QUESTION",
    );
    assert_eq!(info.metadata["present"], "");
    // The attempt counts, though it asks nobody any more.
    let asked = hand.asked(&fence, 2, "Really?").await;
    assert!(
        asked.accepted && asked.reason.contains("being stopped"),
        "{asked:?}"
    );
    let ended = v1::Ended {
        fence: Some(fence),
        ending: v1::AttemptEnding::Cancelled.into(),
        ..v1::Ended::default()
    };
    assert!(hand.ended(ended).await.accepted);
    assert_eq!(client.get(1).await.status(), v1::TaskStatus::Cancelled);
}

#[tokio::test]
async fn only_a_running_sub_agent_with_an_ear_is_steered() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut deaf = ganger_tests::hello("me");
    deaf.slots = 2;
    let mut second = deaf.agent_types[0].clone();
    second.name = "by-ear".into();
    second.interactive = true;
    deaf.agent_types.push(second);
    let mut hand = HandWorker::connect(&client, deaf).await.unwrap();
    client.start_task(by_hand()).await;
    let first = hand.assignment().await.fence.unwrap();
    hand.started(&first).await;
    let with_ear = v1::StartTaskRequest {
        agent_type: "by-ear".into(),
        ..by_hand()
    };
    client.start_task(with_ear).await;
    let second = hand.assignment().await.fence.unwrap();

    let precondition = Code::FailedPrecondition;
    let info = refused(
        steer(&client, 1, "go left").await,
        precondition,
        "NOT_INTERACTIVE",
    );
    assert_eq!(info.metadata["agent_type"], "by-hand");
    let info = refused(
        steer(&client, 2, "go left").await,
        precondition,
        "TASK_NOT_RUNNING",
    );
    assert_eq!(info.metadata["stands"], "being prepared");
    hand.started(&second).await;

    steer(&client, 2, "go left").await.unwrap();

    let word = hand.word().await;
    assert_eq!(
        (word.fence.as_ref(), word.kind()),
        (Some(&second), v1::WordKind::Steer)
    );
    assert_eq!((&word.text[..], word.question), ("go left", 0));
}

/// M6, T21 of the replay.
#[tokio::test]
async fn message_to_a_hosted_member_that_asks_is_its_answer() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, interactive("me"))
        .await
        .unwrap();
    client.add_member(hosted("hana", "by-hand")).await.unwrap();
    let task = v1::CreateTaskRequest {
        subject: "one".into(),
        owner: "hana".into(),
        ..v1::CreateTaskRequest::default()
    };
    client.create(task).await;
    let fence = hand.assignment().await.fence.unwrap();
    hand.started(&fence).await;
    hand.asked(&fence, 1, "Which schema?").await;
    assert_eq!(client.mailbox().await[0].from, "hana");
    let hana = client.member_ever("hana").await;
    assert_eq!(hana.liveness(), v1::MemberLiveness::WaitingForAnswer);
    assert_eq!(
        hana.liveness_reason,
        "has asked at #1, and waits for the answer"
    );

    let sent = client.send(words(["hana"], "the new")).await;

    assert!(sent.receipts[0].answers);
    assert_eq!(hand.word().await.text, "the new");
    let hana = client.member_ever("hana").await;
    assert_eq!(hana.liveness(), v1::MemberLiveness::Working);
    // By its correlation id an ANSWER is tied to the question that it answers.
    hand.asked(&fence, 2, "Which index?").await;
    let tied = v1::SendMessageRequest {
        correlation_id: "task:1/1/2".into(),
        ..of_type(v1::MessageType::Answer, ["hana"], "none")
    };
    assert!(client.send(tied).await.receipts[0].answers);
    assert_eq!(hand.word().await.text, "none");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_and_so_is_the_lead_once() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.add_member(agent("bob")).await.unwrap();
    let bob = client.clone().member("bob");
    client.plan(["1", "2"].map(new_task).into()).await;
    client
        .update(2, |change| change.add_blocked_by = vec![1])
        .await;

    // Bob may claim what the lead waits for, but not what he waits for himself.
    let lead = waiting(&client, all_of(&[1, 2]));
    let told = bob.try_wait(all_of(&[2])).await.unwrap();
    assert_eq!((told.timed_out, told.finished), (false, 0));
    let because = "waits to be claimed";
    assert_eq!(stuck(&told), [format!("#2 waits for #1, which {because}")]);
    bob.try_wait(all_of(&[2])).await.unwrap();
    let text = format!(
        "Somebody waits for a task that can't get on without you or a person:\n#2 waits for #1, \
         which {because}"
    );
    let mut mail = client.watch_mailbox().await;
    assert_eq!(mail.texts(1).await, [&text]);

    // It arises while the lead waits.
    assert!(!lead.is_finished());
    let mut delegation = client.delegation();
    let pause = v1::PauseTaskRequest {
        task_id: 1,
        reason: "review first".into(),
        ..v1::PauseTaskRequest::default()
    };
    patiently("PauseTask", delegation.pause_task(pause))
        .await
        .unwrap();
    let told = heard(lead).await;
    let expected = [
        "#1 is held: review first",
        "#2 waits for #1, which is held: review first",
    ];
    assert_eq!(stuck(&told), expected);
    // The lead knows by that: there was one message, about what bob waited for.
    let mail = client.mailbox().await;
    assert_eq!(texts(&mail), [&text]);
}

#[tokio::test]
async fn tools_tell_questions_and_answer_and_steer() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    hand.asked(&fence, 1, "Which schema?").await;

    let waited = client.tool("wait_tasks", json!({"task_ids": ["1"]})).await;
    let question = &waited.result["questions"][0];
    assert_eq!(question["task_id"], "1");
    assert_eq!(question["text"], "Which schema?");
    assert_eq!(waited.result["stuck"], json!([]));
    assert!(
        waited.text.contains("answer_question: Which schema?"),
        "{}",
        waited.text
    );
    let check = client.tool("check_task", json!({"task_id": "1"})).await;
    assert_eq!(check.result["question"]["text"], "Which schema?");
    let team = client.tool("check_teammates", json!({})).await;
    assert_eq!(team.result["open_tasks"][0]["question"]["number"], 1);
    assert!(team.text.contains("(asks: Which schema?)"), "{}", team.text);

    let answer = json!({"task_id": "1", "answer": "the new"});
    client.tool("answer_question", answer.clone()).await;
    assert_eq!(hand.word().await.text, "the new");
    client
        .no_tool("answer_question", answer, "NO_QUESTION")
        .await;
    let nobody = json!({"answer": "the new"});
    client
        .no_tool("answer_question", nobody, "ARGUMENT_INVALID")
        .await;

    // As the message tells who asked.
    hand.asked(&fence, 2, "Which index?").await;
    let read = client.tool("read_messages", json!({})).await;
    let asked = &read.result["messages"][1];
    let answer = json!({
        "to": asked["from"], "answer": "none", "question_id": asked["correlation_id"],
    });
    client.tool("answer_question", answer).await;
    assert_eq!(hand.word().await.text, "none");

    let steer = json!({"task_id": "1", "message": "leave the tests alone"});
    client.tool("steer_task", steer).await;
    assert_eq!(hand.word().await.text, "leave the tests alone");
    hand.completed(&fence, "done").await;

    client.plan(vec![new_task("card")]).await;
    let waited = client.tool("wait_tasks", json!({"task_ids": ["2"]})).await;
    let stuck = json!([{"task_id": "2", "because": "waits to be claimed"}]);
    assert_eq!(waited.result["stuck"], stuck);
    assert!(
        waited.text.contains("Stuck: #2 waits to be claimed."),
        "{}",
        waited.text
    );
}

#[tokio::test]
async fn run_that_returns_on_a_question_returns_when_its_task_can_get_on_by_nobody_else() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.add_member(agent("bob")).await.unwrap();
    let _hand = HandWorker::connect(&client, interactive("me")).await;
    client.plan(vec![new_task("for bob")]).await;
    let run = v1::RunTaskRequest {
        description: "after bob's".into(),
        prompt: "do it".into(),
        agent_type: "by-hand".into(),
        blocked_by: vec![1],
        return_on_question: true,
        ..v1::RunTaskRequest::default()
    };

    let mut delegation = client.delegation();
    let run = tokio::spawn(async move { delegation.run_task(run).await });
    let mut watch = client.watch().await;
    watch.until(2, v1::EventType::TaskCreated).await;
    let mut delegation = client.delegation();
    let hold = v1::PauseTaskRequest {
        task_id: 1,
        reason: "review first".into(),
        ..v1::PauseTaskRequest::default()
    };
    delegation.pause_task(hold).await.unwrap();

    let ran = patiently("the run is over", run).await.unwrap().unwrap();
    let task = ran.into_inner().task.unwrap();
    assert_eq!((task.id, task.status()), (2, v1::TaskStatus::Pending));
    assert_eq!(task.open_blockers, [1]);
    let waited = client.try_wait(all_of(&[2])).await.unwrap();
    let because = "#2 waits for #1, which is held: review first";
    assert_eq!(stuck(&waited), [because]);
}
