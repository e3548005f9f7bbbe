//! The mail of those who are run (M6): it goes with their assignments.

use ganger_proto::v1;
use ganger_tests::{Cluster, HandWorker, hello, object_of, patiently, programs, texts, words};

/// Makes the default team's hosted member `hana`, of a type that the test runs by hand.
async fn add_hana(cluster: &Cluster, agent_type: &str) {
    let request = v1::AddMemberRequest {
        member: Some(v1::NewMember {
            name: "hana".into(),
            agent_type: agent_type.into(),
            ..v1::NewMember::default()
        }),
        ..v1::AddMemberRequest::default()
    };
    let mut teams = cluster.client().team();
    patiently("AddMember", teams.add_member(request))
        .await
        .unwrap();
}

/// A worker of the test's own, with a type of this runtime.
fn worker(name: &str, runtime: &str) -> v1::Hello {
    v1::Hello {
        agent_types: vec![v1::AgentType {
            name: "by-hand".into(),
            runtime: runtime.into(),
            ..v1::AgentType::default()
        }],
        ..hello(name)
    }
}

fn for_hana(subject: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: subject.into(),
        prompt: format!("echo {subject}"),
        owner: "hana".into(),
        ..v1::CreateTaskRequest::default()
    }
}

#[tokio::test]
async fn unread_mail_stands_before_the_next_prompt_and_is_acknowledged_at_its_start() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, worker("w1", "llm"))
        .await
        .unwrap();
    add_hana(&cluster, "by-hand").await;
    let hana = client.clone().member("hana");
    let note = v1::SendMessageRequest {
        correlation_id: "c-1".into(),
        ..words(["hana"], "Use schema 2.")
    };
    client.send(note).await;

    client.create(for_hana("one")).await;
    let assignment = hand.assignment().await;
    let prompt = &assignment.prompt;
    let (mail, task) = prompt.split_once("Your task:").unwrap();
    assert!(
        mail.contains("Use schema 2.") && mail.contains("from team-lead"),
        "{prompt}"
    );
    assert!(mail.contains("c-1"), "{prompt}");
    assert_eq!(task.trim(), "echo one");
    // What the assignment tells itself is not told as mail, too.
    assert!(!mail.contains("coordinator"), "{prompt}");
    assert_eq!(hana.mailbox().await.len(), 2);
    let fence = assignment.fence.unwrap();
    hand.started(&fence).await;
    assert!(hana.mailbox().await.is_empty());
    client.send(words(["hana"], "One more.")).await;
    hand.completed(&fence, "done").await;

    assert_eq!(texts(&hana.mailbox().await), ["One more."]);
    client.create(for_hana("two")).await;
    let prompt = hand.assignment().await.prompt;
    assert!(
        prompt.contains("One more.") && !prompt.contains("Use schema 2."),
        "{prompt}"
    );
}

#[tokio::test]
async fn mail_of_a_lost_attempt_goes_to_the_next() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let hello = worker("w1", "llm");
    let mut hand = HandWorker::connect(&client, hello.clone()).await.unwrap();
    add_hana(&cluster, "by-hand").await;
    let hana = client.clone().member("hana");
    client.send(words(["hana"], "Use schema 2.")).await;
    client.create(for_hana("one")).await;
    let first = hand.assignment().await;
    hand.started(&first.fence.unwrap()).await;
    assert!(hana.mailbox().await.is_empty());

    // Its process died with all that it ran, and the next one says so.
    drop(hand);
    let next = v1::Hello {
        ended_instances: vec![hello.instance_id],
        ..worker("w1", "llm")
    };
    let mut hand = HandWorker::connect(&client, next).await.unwrap();

    let second = hand.assignment().await;
    assert_eq!(second.fence.as_ref().unwrap().attempt, 2);
    assert!(second.prompt.contains("Use schema 2."), "{}", second.prompt);
    let fence = second.fence.unwrap();
    hand.started(&fence).await;
    hand.completed(&fence, "done").await;
    assert!(hana.mailbox().await.is_empty());
}

#[tokio::test]
async fn mail_never_becomes_part_of_a_script() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, worker("w1", "command"))
        .await
        .unwrap();
    add_hana(&cluster, "by-hand").await;
    client.send(words(["hana"], "rm -rf /")).await;

    client.create(for_hana("one")).await;

    let assignment = hand.assignment().await;
    assert_eq!(assignment.prompt, "echo one");
    assert_eq!(texts(&assignment.mail), ["rm -rf /"]);
}

/// The same with a real worker and a real script.
#[tokio::test]
async fn script_finds_its_members_mail_in_a_file() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    add_hana(&cluster, "shell").await;
    let client = cluster.client();
    let note = v1::SendMessageRequest {
        payload: Some(ganger_tests::struct_of(serde_json::json!({"schema": 2}))),
        ..words(["hana"], "Use it.")
    };
    client.send(note).await;

    let task = client
        .create(v1::CreateTaskRequest {
            prompt: "cat \"$GANGER_MAIL_FILE\"".into(),
            ..for_hana("read")
        })
        .await;

    let ended = client.ended(task.id).await;
    assert_eq!(ended.status(), v1::TaskStatus::Completed, "{ended:?}");
    let mail: Vec<v1::Message> = serde_json::from_str(&ended.result).unwrap();
    assert_eq!(texts(&mail), ["Use it."]);
    let payload = object_of(mail[0].payload.clone().unwrap());
    assert_eq!(payload, serde_json::json!({"schema": 2}));
    assert!(client.clone().member("hana").mailbox().await.is_empty());
    // Without mail there is no file.
    let task = client
        .create(v1::CreateTaskRequest {
            prompt: "echo ${GANGER_MAIL_FILE:-none}".into(),
            ..for_hana("again")
        })
        .await;
    assert_eq!(client.ended(task.id).await.result, "none\n");
}
