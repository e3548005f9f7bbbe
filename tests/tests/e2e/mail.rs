//! Mail between the members of a team: M and P of the replay.

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{
    Client, Cluster, error_info, everything, of_type, patiently, programs, refused, struct_of,
    texts, words,
};
use serde_json::json;
use tonic::Code;
use v1::MessageType;

/// Makes the team `red`, led by `team-lead`, with these agents. Answers who calls in it.
pub async fn team(cluster: &Cluster, members: &[&str]) -> Client {
    let member = |name: &&str| v1::NewMember {
        name: name.to_string(),
        ..v1::NewMember::default()
    };
    let request = v1::CreateTeamRequest {
        team_name: "red".into(),
        members: members.iter().map(member).collect(),
        ..v1::CreateTeamRequest::default()
    };
    let mut teams = cluster.client().team();
    patiently("CreateTeam", teams.create_team(request))
        .await
        .unwrap();
    cluster.client().saying(TEAM_KEY, "red")
}

fn types(messages: &[v1::Message]) -> Vec<MessageType> {
    messages.iter().map(v1::Message::r#type).collect()
}

/// M1: the id is the coordinator's, and what was sent is kept.
#[tokio::test]
async fn message_keeps_its_sender_recipient_and_words() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let payload = json!({"file": "schema.sql", "lines": [1, 2.5, null, {"x": true}]});
    let request = v1::SendMessageRequest {
        summary: "schema ready".into(),
        payload: Some(struct_of(payload.clone())),
        correlation_id: "c-1".into(),
        ..words(["bob"], "The schema is ready.\nSee the file.")
    };

    let sent = red.clone().member("alice").send(request).await;
    let read = red.clone().member("bob").receive(everything()).await;

    assert_eq!(sent.correlation_id, "c-1");
    let [receipt] = &sent.receipts[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((&receipt.member[..], receipt.incarnation), ("bob", 1));
    assert!(receipt.stored && !receipt.answers, "{receipt:?}");
    assert_eq!(receipt.liveness(), v1::MemberLiveness::Idle);
    let [message] = &read.messages[..] else {
        panic!("{read:?}");
    };
    assert!(message.sent_at.is_some());
    let expected = v1::Message {
        id: sent.message_id,
        team: "red".into(),
        from: "alice".into(),
        from_incarnation: 1,
        to: "bob".into(),
        r#type: MessageType::Text.into(),
        text: "The schema is ready.\nSee the file.".into(),
        summary: "schema ready".into(),
        payload: Some(struct_of(payload)),
        correlation_id: "c-1".into(),
        sent_at: message.sent_at,
        ..v1::Message::default()
    };
    assert_eq!(*message, expected);
    assert_eq!((read.unread, read.has_more), (1, false));
}

/// M4, T3: everybody but the sender, one copy each.
#[tokio::test]
async fn broadcast_goes_to_everybody_but_its_sender() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob", "carol"]).await;
    let request = v1::SendMessageRequest {
        broadcast: true,
        ..words([], "all hands")
    };

    let sent = red.clone().member("alice").send(request).await;

    let to: Vec<&str> = sent.receipts.iter().map(|r| &r.member[..]).collect();
    assert_eq!(to, ["bob", "carol", "team-lead"]);
    for name in to {
        let [message] = &red.clone().member(name).mailbox().await[..] else {
            panic!("{name} got it once");
        };
        assert_eq!((message.id, &message.to[..]), (sent.message_id, name));
        assert!(message.broadcast);
    }
    assert!(red.clone().member("alice").mailbox().await.is_empty());
}

/// M5, P2: an empty mailbox is answered at once; what is in it comes in order, again and again.
#[tokio::test]
async fn mail_comes_in_order_until_it_is_acknowledged() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.member("bob"));
    assert_eq!(
        bob.receive(everything()).await,
        v1::ReceiveMessagesResponse::default()
    );
    let mut ids = Vec::new();
    for text in ["one", "two", "three", "four"] {
        ids.push(alice.send(words(["bob"], text)).await.message_id);
    }

    for _ in 0..2 {
        let mailbox = bob.mailbox().await;
        assert_eq!(texts(&mailbox), ["one", "two", "three", "four"]);
    }
    assert_eq!(bob.ack(0, &[ids[2], ids[2], 99]).await, (1, 3));
    assert_eq!(bob.ack(ids[1], &[]).await, (2, 1));
    assert_eq!(bob.ack(ids[1], &[ids[2]]).await, (0, 1));
    assert_eq!(texts(&bob.mailbox().await), ["four"]);
    // Nobody acknowledges for somebody else.
    assert_eq!(alice.ack(ids[3], &ids).await, (0, 0));
    assert_eq!(texts(&bob.mailbox().await), ["four"]);
}

/// P2: filters, pages, and acknowledging what was answered, touch nothing else.
#[tokio::test]
async fn filtered_receive_touches_only_what_it_answers() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob", "carol"]).await;
    let bob = red.clone().member("bob");
    for (from, text) in [("alice", "a1"), ("carol", "c1"), ("alice", "a2")] {
        red.clone().member(from).send(words(["bob"], text)).await;
    }
    let question = v1::SendMessageRequest {
        correlation_id: "q".into(),
        ..of_type(MessageType::Question, ["bob"], "c2?")
    };
    red.clone().member("carol").send(question).await;

    let from_alice = v1::ReceiveMessagesRequest {
        from: "alice".into(),
        limit: 1,
        ..v1::ReceiveMessagesRequest::default()
    };
    let page = bob.receive(from_alice.clone()).await;
    assert_eq!(texts(&page.messages), ["a1"]);
    assert_eq!((page.unread, page.has_more), (4, true));
    let next = v1::ReceiveMessagesRequest {
        after_message_id: page.messages[0].id,
        ..from_alice.clone()
    };
    let page = bob.receive(next).await;
    assert_eq!(texts(&page.messages), ["a2"]);
    assert_eq!((page.unread, page.has_more), (4, false));
    let questions = v1::ReceiveMessagesRequest {
        types: vec![MessageType::Question.into(), MessageType::Answer.into()],
        ..everything()
    };
    assert_eq!(texts(&bob.receive(questions).await.messages), ["c2?"]);
    let tied = v1::ReceiveMessagesRequest {
        correlation_id: "q".into(),
        ..everything()
    };
    assert_eq!(texts(&bob.receive(tied).await.messages), ["c2?"]);

    let taken = v1::ReceiveMessagesRequest {
        auto_ack: true,
        limit: 10,
        ..from_alice
    };
    let page = bob.receive(taken).await;
    assert_eq!(texts(&page.messages), ["a1", "a2"]);
    assert_eq!(page.unread, 2);
    assert_eq!(texts(&bob.mailbox().await), ["c1", "c2?"]);
}

/// M7: who is on no roster has no mailbox.
#[tokio::test]
async fn stranger_neither_sends_nor_reads() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice"]).await;
    let mallory = red.clone().member("mallory");
    let unknown = (Code::NotFound, "MEMBER_NOT_FOUND");

    let sent = mallory.try_send(words(["alice"], "hi")).await;
    refused(sent, unknown.0, unknown.1);
    refused(
        mallory.try_receive(everything()).await,
        unknown.0,
        unknown.1,
    );
    let mut mail = mallory.mail();
    let ack = v1::AckMessagesRequest {
        up_to_message_id: 1,
        ..v1::AckMessagesRequest::default()
    };
    refused(mail.ack_messages(ack).await, unknown.0, unknown.1);
    let watched = mallory.watch_mail(v1::WatchMailboxRequest::default()).await;
    refused(watched, unknown.0, unknown.1);
    let elsewhere = cluster.client().saying(TEAM_KEY, "blue");
    let elsewhere = elsewhere.try_receive(everything()).await;
    refused(elsewhere, Code::NotFound, "TEAM_NOT_FOUND");
    let stale = red.member("alice/2").try_receive(everything()).await;
    refused(stale, Code::Aborted, "INCARNATION_STALE");
}

/// P4: member to member is allowed here, unlike there, and anybody may broadcast.
#[tokio::test]
async fn what_can_not_be_sent_is_refused_with_its_reason() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, lead) = (red.clone().member("alice"), red);
    let invalid = Code::InvalidArgument;
    let long = "x".repeat(64 * 1024 + 1);
    let unknown_type = v1::SendMessageRequest {
        r#type: 99,
        ..words(["bob"], "hi")
    };
    let both = v1::SendMessageRequest {
        broadcast: true,
        ..words(["bob"], "hi")
    };
    let summary = v1::SendMessageRequest {
        summary: "s".repeat(201),
        ..words(["bob"], "hi")
    };
    let tasks_own = of_type(MessageType::TaskFinished, ["bob"], "done");
    let shutdown = of_type(MessageType::ShutdownRequest, ["bob"], "");
    for (wrong, code, reason) in [
        (words(["bob"], " "), invalid, "FIELD_BLANK"),
        (words([], "hi"), invalid, "FIELD_BLANK"),
        (words(["b b"], "hi"), invalid, "NAME_INVALID"),
        (words(["carol"], "hi"), Code::NotFound, "MEMBER_NOT_FOUND"),
        (words(["alice"], "hi"), invalid, "RECIPIENT_SELF"),
        (words(["bob"], &long), invalid, "FIELD_TOO_LONG"),
        (summary, invalid, "FIELD_TOO_LONG"),
        (unknown_type, invalid, "VALUE_INVALID"),
        (both, invalid, "VALUE_INVALID"),
        (tasks_own, invalid, "VALUE_INVALID"),
        (shutdown, Code::PermissionDenied, "LEAD_ONLY"),
    ] {
        refused(alice.try_send(wrong).await, code, reason);
    }
    let to_itself = of_type(MessageType::ShutdownRequest, ["team-lead"], "");
    refused(lead.try_send(to_itself).await, invalid, "RECIPIENT_SELF");
    let limit = v1::ReceiveMessagesRequest {
        limit: -1,
        ..v1::ReceiveMessagesRequest::default()
    };
    refused(lead.try_receive(limit).await, invalid, "VALUE_INVALID");
    assert!(lead.mailbox().await.is_empty(), "nothing was sent");
}

/// P6: the sender is who calls, whatever a message says.
#[tokio::test]
async fn answer_carries_its_true_sender_and_comes_back_to_who_asked() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob", "carol"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    let question = of_type(MessageType::Question, ["bob"], "which schema?");
    let asked = alice.send(question).await;
    assert_eq!(asked.correlation_id, asked.message_id.to_string());

    let answer = |tie: &str| v1::SendMessageRequest {
        correlation_id: tie.into(),
        ..of_type(MessageType::Answer, ["alice"], "the new one")
    };
    let carol = red.clone().member("carol");
    refused(
        carol.try_send(answer(&asked.correlation_id)).await,
        Code::FailedPrecondition,
        "NOT_ASKED",
    );
    let others = bob.try_send(answer("another")).await;
    refused(others, Code::FailedPrecondition, "NOT_ASKED");
    let sent = bob.send(answer("")).await;

    // T21 of the replay: it was waiting, and takes it as its answer.
    assert!(sent.receipts[0].answers, "{sent:?}");
    assert_eq!(sent.correlation_id, asked.correlation_id);
    let heard = &alice.mailbox().await[0];
    assert_eq!(
        (&heard.from[..], heard.r#type()),
        ("bob", MessageType::Answer)
    );
    assert_eq!(heard.correlation_id, asked.correlation_id);
    let late = bob.try_send(answer("")).await;
    refused(late, Code::FailedPrecondition, "NOT_ASKED");
}

/// T21: any word of who was asked is the answer.
#[tokio::test]
async fn message_to_a_member_who_waits_is_its_answer() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    let question = of_type(MessageType::Question, ["team-lead"], "go on?");
    let asked = alice.send(question).await;

    let from_bob = bob.send(words(["alice"], "lunch?")).await;
    let from_lead = red.send(words(["alice"], "yes, go on")).await;
    let another = red.send(words(["alice"], "and be quick")).await;

    let answers = |sent: &v1::SendMessageResponse| sent.receipts[0].answers;
    assert_eq!(
        [&from_bob, &from_lead, &another].map(answers),
        [false, true, false]
    );
    assert_eq!(from_lead.correlation_id, asked.correlation_id);
}

/// K10.
#[tokio::test]
async fn message_that_is_sent_again_with_its_request_id_is_sent_once() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let request = v1::SendMessageRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        ..words(["alice", "bob"], "once")
    };

    let first = red.send(request.clone()).await;
    let again = red.send(request.clone()).await;

    assert_eq!(again.message_id, first.message_id);
    assert_eq!(again.receipts.len(), 2);
    assert_eq!(texts(&red.clone().member("bob").mailbox().await), ["once"]);
    let other = v1::SendMessageRequest {
        text: "twice".into(),
        ..request
    };
    refused(
        red.try_send(other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
}

/// M5: a thousand messages, and the reserve for the coordinator's.
#[tokio::test]
async fn full_mailbox_refuses_members_and_takes_notices() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob", "carol"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    for _ in 0..500 {
        alice.send(words(["bob"], "hi")).await;
    }
    // M5: one sender has half of it, and leaves the rest to the others.
    let refusal = alice.try_send(words(["team-lead", "bob"], "hi")).await;
    let info = refused(refusal, Code::ResourceExhausted, "MAILBOX_SHARE_FULL");
    let facts = ["member", "sender", "count", "max"].map(|fact| &info.metadata[fact][..]);
    assert_eq!(facts, ["bob", "alice", "500", "500"]);
    for _ in 0..500 {
        red.send(words(["bob"], "hi")).await;
    }

    let carol = red.clone().member("carol");
    let refusal = carol.try_send(words(["team-lead", "bob"], "hi")).await;
    let info = error_info(&refusal.unwrap_err());
    assert_eq!(info.reason, "MAILBOX_FULL");
    assert_eq!(
        (&info.metadata["member"][..], &info.metadata["count"][..]),
        ("bob", "1000")
    );
    assert!(red.mailbox().await.is_empty(), "all or nothing");
    let task = v1::CreateTaskRequest {
        subject: "for bob".into(),
        owner: "bob".into(),
        ..v1::CreateTaskRequest::default()
    };
    red.create(task).await;

    let page = bob.receive(everything()).await;
    assert_eq!(
        (page.messages.len(), page.unread, page.has_more),
        (1_000, 1_001, true)
    );
    let rest = v1::ReceiveMessagesRequest {
        after_message_id: page.messages[999].id,
        ..everything()
    };
    let rest = bob.receive(rest).await;
    assert_eq!(types(&rest.messages), [MessageType::TaskAssignment]);
    assert_eq!(rest.messages[0].from, "coordinator");
    bob.ack(0, &[page.messages[0].id, page.messages[1].id])
        .await;
    alice.send(words(["bob"], "there is room again")).await;
}

/// An answer is cut at 2 MiB, and says so; nothing is skipped.
#[tokio::test]
async fn long_mail_comes_in_pages_that_fit() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.member("bob"));
    let numbers: Vec<u8> = vec![1; 16_000];
    let heavy = v1::SendMessageRequest {
        payload: Some(struct_of(json!({ "n": numbers }))),
        ..words(["bob"], &"x".repeat(64 * 1024))
    };
    for _ in 0..12 {
        alice.send(heavy.clone()).await;
    }

    let (mut seen, mut pages, mut after) = (0, 0, 0);
    loop {
        let request = v1::ReceiveMessagesRequest {
            after_message_id: after,
            ..everything()
        };
        let page = bob.receive(request).await;
        let len: usize = page.messages.iter().map(prost::Message::encoded_len).sum();
        assert!(len <= 2 * 1024 * 1024, "{len}");
        (seen, pages) = (seen + page.messages.len(), pages + 1);
        after = page.messages.last().unwrap().id;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen, 12);
    assert!(pages > 1, "in one page");
}

/// P3, K5, K8: the coordinator's own mail says which task it is about.
#[tokio::test]
async fn coordinator_tells_of_assigned_freed_and_finished_tasks() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    let task = |subject: &str, owner: &str, blocked_by: &[u64]| v1::CreateTaskRequest {
        subject: subject.into(),
        description: format!("how to {subject}"),
        owner: owner.into(),
        blocked_by: blocked_by.to_vec(),
        ..v1::CreateTaskRequest::default()
    };
    let first = red.create(task("design", "alice", &[])).await;
    let second = red.create(task("build", "bob", &[first.id])).await;

    let mail = alice.mailbox().await;
    assert_eq!(types(&mail), [MessageType::TaskAssignment]);
    let assigned = &mail[0];
    assert_eq!(
        (&assigned.from[..], assigned.task_id, &assigned.summary[..]),
        ("coordinator", first.id, "design")
    );
    assert_eq!(assigned.text, "how to design");
    let by = ganger_tests::object_of(assigned.payload.clone().unwrap());
    assert_eq!(by, json!({"assigned_by": "team-lead"}));
    assert_eq!(assigned.revision, first.revision);

    let done = v1::UpdateTaskRequest {
        task_id: first.id,
        status: v1::TaskStatus::Completed.into(),
        result: Some("see design.md".into()),
        ..v1::UpdateTaskRequest::default()
    };
    alice.task().update_task(done).await.unwrap();
    let mail = bob.mailbox().await;
    assert_eq!(
        types(&mail),
        [MessageType::TaskAssignment, MessageType::TaskUnblocked]
    );
    assert_eq!(mail[1].task_id, second.id);
    let mail = red.mailbox().await;
    assert_eq!(types(&mail), [MessageType::TaskFinished]);
    assert_eq!(
        (mail[0].task_id, &mail[0].text[..]),
        (first.id, "see design.md")
    );
}

/// E2: who sent what is in the team's history, and what a message caused names it.
#[tokio::test]
async fn messages_are_in_the_history_without_their_words() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let sent = red
        .clone()
        .member("alice")
        .send(words(["bob"], "a secret"))
        .await;

    let request = v1::WatchTeamRequest {
        after_revision: Some(0),
        ..v1::WatchTeamRequest::default()
    };
    let mut stream = red.team().watch_team(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while !events
        .iter()
        .any(|event: &v1::Event| event.r#type() == v1::EventType::MessageSent)
    {
        let answer = patiently("an event", stream.message()).await.unwrap();
        events.extend(answer.unwrap().events);
    }
    let event = events.last().unwrap();
    assert_eq!(
        (&event.actor[..], event.message_id),
        ("alice", sent.message_id)
    );
    assert_eq!(event.message_type(), MessageType::Text);
    assert_eq!(event.member, "bob");
    assert!(!format!("{event:?}").contains("secret"));
}
