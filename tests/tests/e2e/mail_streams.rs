//! Waiting for mail, and watching a mailbox.

use std::time::Duration;

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{
    Client, Cluster, everything, of_type, patiently, programs, refused, texts, words,
};
use tonic::Code;

use crate::mail::team;

fn waiting(wait: Duration) -> v1::ReceiveMessagesRequest {
    v1::ReceiveMessagesRequest {
        wait: Some(pbjson_types::Duration {
            seconds: i64::try_from(wait.as_secs()).unwrap(),
            nanos: i32::try_from(wait.subsec_nanos()).unwrap(),
        }),
        ..everything()
    }
}

async fn pair(cluster: &Cluster) -> (Client, Client) {
    let red = team(cluster, &["alice", "bob"]).await;
    (red.clone().member("alice"), red.member("bob"))
}

#[tokio::test]
async fn receive_waits_for_mail_that_passes_its_filter() {
    let cluster = Cluster::start(programs!()).await;
    let (alice, bob) = pair(&cluster).await;
    let request = v1::ReceiveMessagesRequest {
        types: vec![v1::MessageType::Question.into()],
        ..waiting(Duration::from_secs(60))
    };
    let waiter = {
        let bob = bob.clone();
        tokio::spawn(async move { bob.receive(request).await })
    };

    alice.send(words(["bob"], "hello")).await;
    let question = of_type(v1::MessageType::Question, ["bob"], "well?");
    alice.send(question).await;

    let answer = waiter.await.unwrap();
    assert_eq!(texts(&answer.messages), ["well?"]);
    assert_eq!(answer.unread, 2);
}

#[tokio::test]
async fn receive_ends_empty_when_its_time_is_over() {
    let cluster = Cluster::start(programs!()).await;
    let (_, bob) = pair(&cluster).await;

    let short = bob.receive(waiting(Duration::from_millis(50))).await;
    assert_eq!(short, v1::ReceiveMessagesResponse::default());
}

#[tokio::test]
async fn coordinator_that_stops_ends_what_waits_for_mail() {
    let mut cluster = Cluster::start(programs!()).await;
    let (_, bob) = pair(&cluster).await;
    let mut watch = bob.watch_mailbox().await;
    let waiter = {
        let bob = bob.clone();
        tokio::spawn(async move { bob.try_receive(waiting(Duration::from_secs(60))).await })
    };
    bob.receive(waiting(Duration::from_millis(20))).await;

    cluster.coordinator.signal(rustix::process::Signal::TERM);

    let unavailable = Code::Unavailable;
    refused(waiter.await.unwrap(), unavailable, "SHUTTING_DOWN");
    refused(watch.more().await, unavailable, "SHUTTING_DOWN");
    assert!(cluster.coordinator.end().await.success());
}

#[tokio::test]
async fn watch_tells_what_is_there_and_then_each_message_as_it_is_committed() {
    let cluster = Cluster::start(programs!()).await;
    let (alice, bob) = pair(&cluster).await;
    let empty = bob.watch_mailbox().await;
    assert!(empty.messages.is_empty(), "the first answer comes at once");
    alice.send(words(["bob"], "one")).await;
    let mut watch = bob.watch_mailbox().await;
    assert_eq!(texts(&watch.messages), ["one"]);

    for text in ["two", "three"] {
        alice.send(words(["bob"], text)).await;
    }

    assert_eq!(watch.texts(3).await, ["one", "two", "three"]);
    // Watching removes nothing.
    assert_eq!(bob.mailbox().await, watch.messages);
    let request = v1::WatchMailboxRequest {
        after_message_id: watch.messages[1].id,
        ..v1::WatchMailboxRequest::default()
    };
    let later = bob.watch_mail(request).await.unwrap();
    assert_eq!(texts(&later.messages), ["three"]);
}

#[tokio::test]
async fn filtered_watch_tells_only_what_passes() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob", "carol"]).await;
    let bob = red.clone().member("bob");
    let request = v1::WatchMailboxRequest {
        from: "alice".into(),
        types: vec![v1::MessageType::Text.into()],
        ..v1::WatchMailboxRequest::default()
    };
    let mut watch = bob.watch_mail(request).await.unwrap();

    for (from, text) in [
        ("carol", "c"),
        ("alice", "a1"),
        ("carol", "c"),
        ("alice", "a2"),
    ] {
        red.clone().member(from).send(words(["bob"], text)).await;
    }

    assert_eq!(watch.texts(2).await, ["a1", "a2"]);
}

/// Delivered at most once, whoever else takes as well.
#[tokio::test]
async fn two_who_take_from_one_mailbox_never_get_the_same() {
    const MESSAGES: usize = 200;
    let cluster = Cluster::start(programs!()).await;
    let (alice, bob) = pair(&cluster).await;
    let request = v1::WatchMailboxRequest {
        auto_ack: true,
        ..v1::WatchMailboxRequest::default()
    };
    let mut one = bob.watch_mail(request.clone()).await.unwrap();
    let mut other = bob.watch_mail(request).await.unwrap();
    let sending = tokio::spawn(async move {
        for at in 0..MESSAGES {
            alice.send(words(["bob"], &at.to_string())).await;
        }
    });

    while one.messages.len() + other.messages.len() < MESSAGES {
        tokio::select! {
            more = one.more() => more.unwrap(),
            more = other.more() => more.unwrap(),
        }
    }

    sending.await.unwrap();
    let mut all = [texts(&one.messages), texts(&other.messages)].concat();
    for part in [&one.messages, &other.messages] {
        assert!(part.is_sorted_by_key(|message| message.id), "in order");
    }
    all.sort_by_key(|text| text.parse::<usize>().unwrap());
    let expected: Vec<String> = (0..MESSAGES).map(|at| at.to_string()).collect();
    assert_eq!(all, expected);
    assert!(bob.mailbox().await.is_empty());
}

/// A watcher that doesn't read holds nobody up, and misses nothing.
#[tokio::test]
async fn slow_watcher_gets_everything_in_order() {
    const MESSAGES: usize = 600;
    let cluster = Cluster::start(programs!()).await;
    let (alice, bob) = pair(&cluster).await;
    // One sender may fill half of a mailbox.
    let senders = [alice, cluster.client().saying(TEAM_KEY, "red")];
    let mut watch = bob.watch_mailbox().await;
    let long = "x".repeat(8 * 1024);
    // Far more than what waits on its way, and than the ring of what was committed last.
    for at in 0..MESSAGES {
        let sender = &senders[at % senders.len()];
        sender.send(words(["bob"], &format!("{at} {long}"))).await;
    }

    let told = watch.texts(MESSAGES).await;

    let numbers = told.iter().map(|text| text.split(' ').next().unwrap());
    let expected: Vec<String> = (0..MESSAGES).map(|at| at.to_string()).collect();
    assert_eq!(numbers.collect::<Vec<_>>(), expected);
}

/// Unacknowledged mail comes again after a restart, and the watching goes on.
#[tokio::test]
async fn unacknowledged_mail_comes_again_after_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let (alice, bob) = pair(&cluster).await;
    for text in ["one", "two", "three"] {
        alice.send(words(["bob"], text)).await;
    }
    let mut watch = bob.watch_mailbox().await;
    watch.texts(3).await;
    bob.ack(watch.messages[0].id, &[]).await;

    cluster.crash_coordinator().await;

    let red = cluster.client().saying(TEAM_KEY, "red");
    let (alice, bob) = (red.clone().member("alice"), red.member("bob"));
    let mut again = bob.watch_mailbox().await;
    assert_eq!(again.messages, watch.messages[1..]);
    let next = alice.send(words(["bob"], "four")).await;
    assert_eq!(again.texts(3).await, ["two", "three", "four"]);
    assert!(
        next.message_id > watch.messages[2].id,
        "ids are never reused"
    );
}

/// Whoever has the name next is somebody else.
#[tokio::test]
async fn watch_ends_with_its_member_and_not_with_the_next_of_its_name() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    let mut watch = bob.watch_mailbox().await;
    let remove = v1::RemoveMemberRequest {
        member: "bob".into(),
        ..v1::RemoveMemberRequest::default()
    };
    red.team().remove_member(remove).await.unwrap();
    let add = v1::AddMemberRequest {
        member: Some(v1::NewMember {
            name: "bob".into(),
            ..v1::NewMember::default()
        }),
        ..v1::AddMemberRequest::default()
    };
    red.team().add_member(add).await.unwrap();
    alice.send(words(["bob"], "for the new one")).await;

    let ended = patiently("its end", async {
        loop {
            if let Err(status) = watch.more().await {
                break status;
            }
        }
    })
    .await;

    assert!(watch.messages.is_empty(), "{:?}", watch.messages);
    let reason = ganger_tests::error_info(&ended).reason;
    assert!(
        ["MEMBER_NOT_FOUND", "INCARNATION_STALE"].contains(&&reason[..]),
        "{reason}"
    );
    assert_eq!(texts(&bob.mailbox().await), ["for the new one"]);
}
