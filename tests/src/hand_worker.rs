//! A worker that the test plays itself: it says what it is told to, be it right or wrong.

use std::collections::VecDeque;

use ganger_coordinator::fleet::PROTOCOL;
use ganger_proto::v1::{
    self, ConnectRequest, ConnectResponse, connect_request::Message as Says,
    connect_response::Message as Hears,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{Client, patiently};

/// One stream of a worker to its coordinator.
pub struct HandWorker {
    says: mpsc::Sender<ConnectRequest>,
    hears: Streaming<ConnectResponse>,
    /// What came while something else was waited for.
    heard: VecDeque<Hears>,
    /// What the coordinator said to the Hello.
    pub welcome: v1::Welcome,
    /// The stream's number.
    pub session: u64,
}

/// A Hello of a new process: one slot, one type `by-hand`, the open stream is the heartbeat.
pub fn hello(name: &str) -> v1::Hello {
    v1::Hello {
        name: name.into(),
        instance_id: new_instance(),
        slots: 1,
        agent_types: vec![v1::AgentType {
            name: "by-hand".into(),
            runtime: "command".into(),
            ..v1::AgentType::default()
        }],
        manual: true,
        protocol: PROTOCOL,
        ..v1::Hello::default()
    }
}

/// The same, with a type whose sub-agents can be told something while they run.
pub fn interactive(name: &str) -> v1::Hello {
    let mut hello = hello(name);
    hello.agent_types[0].runtime = "llm".into();
    hello.agent_types[0].interactive = true;
    hello
}

/// The id of a new process.
pub fn new_instance() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl HandWorker {
    /// Connects with this Hello; the status where it isn't welcome.
    pub async fn connect(client: &Client, hello: v1::Hello) -> Result<Self, Status> {
        let (says, said) = mpsc::channel(1_024);
        says.try_send(ConnectRequest {
            session: 0,
            message: Some(Says::Hello(hello)),
        })
        .unwrap();
        let mut client = client.worker();
        let connecting = client.connect(ReceiverStream::new(said));
        let mut hears = patiently("Connect", connecting).await?.into_inner();
        let first = patiently("Welcome", hears.message()).await?;
        let Some(ConnectResponse {
            session,
            message: Some(Hears::Welcome(welcome)),
        }) = first
        else {
            panic!("the first word was not Welcome: {first:?}");
        };
        Ok(Self {
            says,
            hears,
            heard: VecDeque::new(),
            welcome,
            session,
        })
    }

    /// Says something in this session.
    pub fn say(&self, message: Says) {
        self.say_in(self.session, message);
    }

    /// Says something in another session.
    pub fn say_in(&self, session: u64, message: Says) {
        let message = Some(message);
        self.says
            .try_send(ConnectRequest { session, message })
            .unwrap();
    }

    /// Says no more, hears the coordinator out, and tells how it ends the stream.
    pub async fn close(mut self) -> Result<(), Status> {
        let (nobody, _) = mpsc::channel(1);
        self.says = nobody;
        patiently("the stream ends", async {
            while self.hear().await?.is_some() {}
            Ok(())
        })
        .await
    }

    /// What the coordinator says next, heartbeats' answers left out; none at the end.
    pub async fn hear(&mut self) -> Result<Option<Hears>, Status> {
        match self.heard.pop_front() {
            Some(heard) => Ok(Some(heard)),
            None => self.hear_new().await,
        }
    }

    async fn hear_new(&mut self) -> Result<Option<Hears>, Status> {
        loop {
            let frame = patiently("a word of the coordinator", self.hears.message()).await?;
            match frame.map(|frame| frame.message.expect("a frame says something")) {
                Some(Hears::HeartbeatAck(_)) => {}
                other => return Ok(other),
            }
        }
    }

    /// Waits for a word of a kind. What comes before it is heard later.
    async fn pick<T>(&mut self, pick: impl Fn(&Hears) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            if at == self.heard.len() {
                let heard = self.hear_new().await.unwrap();
                let heard = heard.expect("the coordinator keeps the stream open");
                self.heard.push_back(heard);
            }
            if let Some(picked) = pick(&self.heard[at]) {
                self.heard.remove(at);
                return picked;
            }
            at += 1;
        }
    }

    /// Waits for an assignment.
    pub async fn assignment(&mut self) -> v1::Assignment {
        self.pick(|heard| match heard {
            Hears::Assignment(assignment) => Some(assignment.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a stop.
    pub async fn stop(&mut self) -> v1::Stop {
        self.pick(|heard| match heard {
            Hears::Stop(stop) => Some(stop.clone()),
            _ => None,
        })
        .await
    }

    /// Waits to be told to leave.
    pub async fn drain(&mut self) -> v1::Drain {
        self.pick(|heard| match heard {
            Hears::Drain(drain) => Some(drain.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for what became of a report.
    pub async fn report_ack(&mut self, kind: v1::ReportKind) -> v1::ReportAck {
        self.pick(|heard| match heard {
            Hears::ReportAck(ack) if ack.kind() == kind => Some(ack.clone()),
            _ => None,
        })
        .await
    }

    /// Says that a sub-agent began, and waits for the answer.
    pub async fn started(&mut self, fence: &v1::Fence) -> v1::ReportAck {
        self.say(Says::Started(v1::Started {
            fence: Some(fence.clone()),
            run_limit: None,
        }));
        self.report_ack(v1::ReportKind::Started).await
    }

    /// Says that a sub-agent got on, and waits for the answer.
    pub async fn progress(&mut self, progress: v1::Progress) -> v1::ProgressAck {
        self.say(Says::Progress(progress));
        self.pick(|heard| match heard {
            Hears::ProgressAck(ack) => Some(ack.clone()),
            _ => None,
        })
        .await
    }

    /// Says that an attempt ended with this result, and waits for the answer.
    pub async fn completed(&mut self, fence: &v1::Fence, result: &str) -> v1::ReportAck {
        self.ended(v1::Ended {
            fence: Some(fence.clone()),
            ending: v1::AttemptEnding::Completed.into(),
            result: result.into(),
            ..v1::Ended::default()
        })
        .await
    }

    /// Says how an attempt ended, and waits for the answer.
    pub async fn ended(&mut self, ended: v1::Ended) -> v1::ReportAck {
        self.say(Says::Ended(ended));
        self.report_ack(v1::ReportKind::Ended).await
    }

    /// Says that a sub-agent asks, and waits for the answer to that: not to the question.
    pub async fn asked(&mut self, fence: &v1::Fence, number: i32, text: &str) -> v1::ReportAck {
        self.asks(v1::Asked {
            fence: Some(fence.clone()),
            number,
            text: text.into(),
            timeout: None,
        })
        .await
    }

    /// The same with all that can be said.
    pub async fn asks(&mut self, asked: v1::Asked) -> v1::ReportAck {
        self.say(Says::Asked(asked));
        self.report_ack(v1::ReportKind::Asked).await
    }

    /// Waits for something that a sub-agent is to be told.
    pub async fn word(&mut self) -> v1::Word {
        self.pick(|heard| match heard {
            Hears::Word(word) => Some(word.clone()),
            _ => None,
        })
        .await
    }

    /// Says that a sub-agent was told all words up to this one.
    pub fn heeded(&self, fence: &v1::Fence, through: i32) {
        self.say(Says::Heeded(v1::Heeded {
            fence: Some(fence.clone()),
            through,
        }));
    }
}
