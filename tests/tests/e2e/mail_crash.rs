//! Mail under load, and kill -9 in the middle of it: what was sent is there, in order, what was
//! acknowledged is gone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{Chance, Client, Cluster, everything, patiently, programs, words};
use tokio::sync::watch;

use crate::mail::team;

const MEMBERS: [&str; 4] = ["m0", "m1", "m2", "m3"];

/// What was answered about one mailbox.
#[derive(Debug, Default)]
struct Told {
    /// The messages that their senders were told of, with their words.
    sent: BTreeMap<u64, String>,
    /// Words whose sender was never answered: they may be there or not.
    unsure: Vec<String>,
    /// The last message whose acknowledgement was answered, and the last that was tried.
    acked: u64,
    ack_tried: u64,
}

type Board = Arc<[Mutex<Told>; MEMBERS.len()]>;

/// Sends to one mailbox after the other, until the coordinator is gone.
async fn send_on(client: Client, name: usize, round: usize, board: Board, calls: Counter) {
    for at in 0.. {
        let to = (name + 1 + at % (MEMBERS.len() - 1)) % MEMBERS.len();
        let text = format!("{name} round {round} message {at}");
        board[to].lock().unwrap().unsure.push(text.clone());
        let Ok(sent) = client.try_send(words([MEMBERS[to]], &text)).await else {
            return;
        };
        let mut told = board[to].lock().unwrap();
        told.unsure.retain(|unsure| *unsure != text);
        told.sent.insert(sent.message_id, text);
        drop(told);
        calls.send_modify(|calls| *calls += 1);
    }
}

/// Reads a mailbox and acknowledges what it read, a part at a time, until the coordinator is gone.
async fn read_on(client: Client, name: usize, board: Board, calls: Counter) {
    loop {
        let request = v1::ReceiveMessagesRequest {
            limit: 7,
            wait: Some(pbjson_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            ..v1::ReceiveMessagesRequest::default()
        };
        let Ok(page) = client.try_receive(request).await else {
            return;
        };
        let last = page.messages.last().expect("it waits for one").id;
        board[name].lock().unwrap().ack_tried = last;
        let request = v1::AckMessagesRequest {
            up_to_message_id: last,
            ..v1::AckMessagesRequest::default()
        };
        let mut mail = client.mail();
        if patiently("AckMessages", mail.ack_messages(request))
            .await
            .is_err()
        {
            return;
        }
        board[name].lock().unwrap().acked = last;
        calls.send_modify(|calls| *calls += 1);
    }
}

type Counter = Arc<watch::Sender<usize>>;

/// Has everybody write to everybody and read, and kills the coordinator after so many calls.
async fn crash_under_load(cluster: &mut Cluster, round: usize, board: &Board, moment: usize) {
    let red = cluster.client().saying(TEAM_KEY, "red");
    let calls = Arc::new(watch::Sender::new(0));
    let mut running = tokio::task::JoinSet::new();
    for (name, member) in MEMBERS.iter().enumerate() {
        let client = red.clone().member(member);
        let (told, counter) = (board.clone(), calls.clone());
        running.spawn(send_on(client.clone(), name, round, told, counter));
        running.spawn(read_on(client, name, board.clone(), calls.clone()));
    }
    let mut reached = calls.subscribe();
    let reached = reached.wait_for(|calls| *calls >= moment);
    drop(patiently("calls are answered", reached).await.unwrap());

    cluster.crash_coordinator().await;

    while let Some(ended) = patiently("they learn of it", running.join_next()).await {
        ended.unwrap();
    }
}

/// That each mailbox has what was sent and not acknowledged, in order, and nothing else but what
/// nobody was told of.
async fn check(cluster: &Cluster, board: &Board) {
    for (name, told) in MEMBERS.iter().zip(board.iter()) {
        let client = cluster.client().saying(TEAM_KEY, "red").member(name);
        let page = client.receive(everything()).await;
        assert!(!page.has_more, "{name} has all on one page");
        let mailbox = page.messages;
        let told = told.lock().unwrap();
        assert!(mailbox.is_sorted_by(|a, b| a.id < b.id), "{mailbox:?}");
        for message in &mailbox {
            assert!(
                message.id > told.acked,
                "{name}: {message:?} was acknowledged"
            );
            let is_known = told.sent.get(&message.id) == Some(&message.text);
            assert!(
                is_known || told.unsure.contains(&message.text),
                "{message:?}"
            );
        }
        // An acknowledgement that was not answered may have been carried out.
        let there: Vec<u64> = mailbox.iter().map(|message| message.id).collect();
        let gone = told.sent.range(told.acked + 1..).map(|(id, _)| *id);
        let missing: Vec<u64> = gone.filter(|id| !there.contains(id)).collect();
        assert!(
            missing.iter().all(|id| *id <= told.ack_tried),
            "{name}: {missing:?} are missing, {} was acknowledged last",
            told.ack_tried
        );
        // It was carried out whole, or not at all.
        let is_whole = there.iter().all(|id| *id > told.ack_tried);
        assert!(
            missing.is_empty() || is_whole,
            "{name}: {missing:?} of {there:?}"
        );
        // Of one sender the words come in the order in which they were said.
        for sender in MEMBERS {
            let words = mailbox.iter().filter(|message| message.from == *sender);
            let numbers = words.map(|message| {
                let numbers = message.text.split(' ').filter_map(|word| word.parse().ok());
                let numbers: Vec<usize> = numbers.collect();
                (numbers[1], numbers[2])
            });
            assert!(numbers.is_sorted(), "{mailbox:?}");
        }
    }
}

#[tokio::test]
async fn no_mail_is_lost_or_comes_back_when_the_coordinator_is_killed_at_random_moments() {
    const ROUNDS: usize = 5;
    let mut chance = Chance::new();
    let mut cluster = Cluster::start(programs!()).await;
    team(&cluster, &MEMBERS).await;
    let board = Board::default();

    for round in 0..ROUNDS {
        let moment = 20 + chance.below(400) as usize;
        crash_under_load(&mut cluster, round, &board, moment).await;
        check(&cluster, &board).await;
    }

    let sent: usize = board
        .iter()
        .map(|told| told.lock().unwrap().sent.len())
        .sum();
    println!("{sent} messages in {ROUNDS} rounds");
}

/// Append and acknowledge under load: each message comes once to who takes, and none is lost.
#[tokio::test]
async fn load_of_sending_and_acknowledging_loses_nothing() {
    const PAIRS: usize = 8;
    const MESSAGES: usize = 150;
    let cluster = Cluster::start(programs!()).await;
    let names: Vec<String> = (0..2 * PAIRS).map(|at| format!("m{at}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let red = team(&cluster, &members).await;

    let pairs = names.chunks(2).map(|pair| {
        let (from, to) = (pair[0].clone(), pair[1].clone());
        let (sender, receiver) = (red.clone().member(&from), red.clone().member(&to));
        let sending = async move {
            for at in 0..MESSAGES {
                sender.send(words([&to[..]], &at.to_string())).await;
            }
        };
        let reading = async move {
            let mut watch = receiver.watch_mailbox().await;
            let mut acked = 0;
            while acked < MESSAGES {
                watch.texts(acked + 1).await;
                let last = watch.messages.last().unwrap().id;
                let (count, _) = receiver.ack(last, &[]).await;
                acked += usize::try_from(count).unwrap();
            }
            let texts = watch.messages.iter().map(|message| message.text.parse());
            let texts: Vec<usize> = texts.map(Result::unwrap).collect();
            assert_eq!(texts, (0..MESSAGES).collect::<Vec<_>>());
            assert!(receiver.mailbox().await.is_empty());
        };
        tokio::spawn(async move { tokio::join!(sending, reading) })
    });
    for pair in pairs.collect::<Vec<_>>() {
        patiently("a pair is done", pair).await.unwrap();
    }
}
