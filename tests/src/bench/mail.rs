//! `mail`: sent, delivered on a stream, acknowledged; all of it durable.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use ganger_proto::{
    MEMBER_KEY, TEAM_KEY,
    v1::{
        self, mailbox_service_client::MailboxServiceClient, team_service_client::TeamServiceClient,
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tonic::{Request, transport::Channel};

use crate::{
    Setting, ceiling,
    cluster::{self, Coordinator},
    figures::{Times, line, rate},
};

/// Connections that all pairs are spread over.
const CONNECTIONS: usize = 4;
/// Messages of a busy pair that are not acknowledged yet: far fewer than a mailbox takes.
const WINDOW: usize = 64;

pub fn mail(setting: &Setting) -> anyhow::Result<()> {
    println!("mail: 64 bytes sent, delivered on a stream and acknowledged, all of it durable");
    let dir = cluster::fresh_dir(setting, "disk")?;
    let coordinator = Coordinator::start(setting, "mail")?;
    let runtime = cluster::runtime(1)?;

    let (mut disk, disk_rate) = ceiling::fdatasync(&dir, setting.span / 2)?;
    let told = format!("{}  {disk_rate:.0}/s", disk.told());
    line("  ceiling: append + fdatasync", told, "");
    let one = runtime.block_on(run(coordinator.addr, "one", 1, 1, setting.span))?;
    one.tell("1 pair, one at a time", "goal: p50 < 2 ms");
    let many = runtime.block_on(run(coordinator.addr, "many", 64, WINDOW, setting.span))?;
    many.tell("64 pairs", "goal: > 10,000/s");
    Ok(())
}

/// How it went.
struct Figures {
    /// From before the sending until the message came by the stream.
    delivered: Times,
    /// From before the sending until its acknowledgement was answered.
    acknowledged: Times,
    rate: f64,
}

impl Figures {
    fn tell(mut self, what: &str, goal: &str) {
        line(&format!("  {what}: delivered"), self.delivered.told(), "");
        let told = format!("{}  {:.0}/s", self.acknowledged.told(), self.rate);
        line(&format!("  {what}: acknowledged"), told, goal);
    }
}

/// One end of a pair.
#[derive(Clone)]
struct Member {
    client: MailboxServiceClient<Channel>,
    team: &'static str,
    name: String,
}

impl Member {
    fn say<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let words = request.metadata_mut();
        words.insert(TEAM_KEY, self.team.parse()?);
        words.insert(MEMBER_KEY, self.name.parse()?);
        Ok(request)
    }
}

/// Has so many pairs in a team of this name send and acknowledge, for so long; each with so many
/// messages under way at the most.
async fn run(
    addr: SocketAddr,
    team: &'static str,
    pairs: usize,
    window: usize,
    span: Duration,
) -> anyhow::Result<Figures> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS.min(pairs) {
        channels.push(cluster::connect(addr).await?);
    }
    make_team(&channels[0], team, pairs).await?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for pair in 0..pairs {
        let member = |end: &str| Member {
            client: MailboxServiceClient::new(channels[pair % channels.len()].clone()),
            team,
            name: format!("{end}{pair}"),
        };
        let until = start + span;
        running.spawn(one_pair(member("from"), member("to"), window, until));
    }
    let (mut delivered, mut acknowledged) = (Times::default(), Times::default());
    while let Some(ended) = running.join_next().await {
        let (first, second) = ended??;
        delivered.extend(first);
        acknowledged.extend(second);
    }
    Ok(Figures {
        rate: rate(acknowledged.count(), start),
        delivered,
        acknowledged,
    })
}

async fn make_team(channel: &Channel, team: &str, pairs: usize) -> anyhow::Result<()> {
    let names = (0..pairs).flat_map(|pair| [format!("from{pair}"), format!("to{pair}")]);
    let members = names.map(|name| v1::NewMember {
        name,
        ..v1::NewMember::default()
    });
    let request = v1::CreateTeamRequest {
        team_name: team.into(),
        members: members.collect(),
        ..v1::CreateTeamRequest::default()
    };
    TeamServiceClient::new(channel.clone())
        .create_team(request)
        .await?;
    Ok(())
}

async fn one_pair(
    from: Member,
    to: Member,
    window: usize,
    until: Instant,
) -> anyhow::Result<(Times, Times)> {
    let room = Arc::new(Semaphore::new(window));
    let is_over = Arc::new(AtomicBool::new(false));
    // When each message was sent, in the order of their sending.
    let (began, times) = mpsc::unbounded_channel();
    let request = to.say(v1::WatchMailboxRequest::default())?;
    let mut stream = to.client.clone().watch_mailbox(request).await?.into_inner();
    stream.message().await?.context("the first answer")?;
    let reading = read(to, stream, times, room.clone(), is_over.clone());
    let sending = send(from, began, room, until, is_over);
    let (sent, read) = tokio::join!(sending, reading);
    sent?;
    read
}

async fn send(
    from: Member,
    began: mpsc::UnboundedSender<Instant>,
    room: Arc<Semaphore>,
    until: Instant,
    is_over: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let to = from.name.replace("from", "to");
    let mut client = from.client.clone();
    loop {
        room.acquire().await?.forget();
        let now = Instant::now();
        // The last one ends the pair.
        let is_last = now >= until;
        began.send(now)?;
        is_over.store(is_last, Ordering::Relaxed);
        let message = v1::SendMessageRequest {
            to: vec![to.clone()],
            text: "The schema is ready for review: see schema.sql, lines 1 to 80.  ".into(),
            summary: "schema ready".into(),
            ..v1::SendMessageRequest::default()
        };
        client.send_message(from.say(message)?).await?;
        if is_last {
            return Ok(());
        }
    }
}

async fn read(
    to: Member,
    mut stream: tonic::Streaming<v1::WatchMailboxResponse>,
    mut times: mpsc::UnboundedReceiver<Instant>,
    room: Arc<Semaphore>,
    is_over: Arc<AtomicBool>,
) -> anyhow::Result<(Times, Times)> {
    let mut client = to.client.clone();
    let (mut delivered, mut acknowledged) = (Times::default(), Times::default());
    loop {
        let answer = stream.message().await?.context("the stream ended")?;
        let Some(last) = answer.messages.last() else {
            continue;
        };
        let mut began = Vec::with_capacity(answer.messages.len());
        for _ in &answer.messages {
            let sent = times.recv().await.context("more came than was sent")?;
            delivered.add(sent.elapsed());
            began.push(sent);
        }
        let ack = v1::AckMessagesRequest {
            up_to_message_id: last.id,
            ..v1::AckMessagesRequest::default()
        };
        client.ack_messages(to.say(ack)?).await?;
        for sent in &began {
            acknowledged.add(sent.elapsed());
        }
        room.add_permits(began.len());
        if is_over.load(Ordering::Relaxed) && times.is_empty() {
            return Ok((delivered, acknowledged));
        }
    }
}
