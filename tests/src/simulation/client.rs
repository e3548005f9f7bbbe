//! Clients: a lead and a member, who wish things, wait, and ask again with the same request id
//! until they are answered, whatever broke meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use board::{
    command::{Call, Caller},
    id::{AttemptNumber, MemberName, MessageId, TaskId, TeamUid},
    mail::{Letter, MailKind},
    record::{Request, RequestKey},
    refusal::Refusal,
    task::Task,
};
use ganger_coordinator::engine::{CallReply, Input, MailReply, MailWanted, Told};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    client_wishes::Intent,
    memory::Fact,
    world::{Event, World},
};

/// The team that everything happens in: the first one after the default team.
pub(super) const CREW: TeamUid = TeamUid(2);
pub(super) const CREW_NAME: &str = "crew";
pub(super) const LEAD: &str = "lead";
/// An agent who calls the API itself.
pub(super) const ALICE: &str = "alice";
/// A hosted member.
pub(super) const HANA: &str = "hana";

/// How long a client waits before it asks again, milliseconds.
const PATIENCE: u64 = 4_000;

/// Something of a client's own.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// It has had time to think.
    Act,
    /// What it asks arrives at the coordinator.
    Arrives(u64, Ask),
    /// The answer arrives.
    Answered(u64, Reply),
    /// It has waited long enough for an answer to this try.
    Impatient(u64, u32),
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Call(Box<Call>),
    Mail(Box<MailWanted>),
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Reply {
    Call(Box<CallReply>),
    Mail(Vec<Arc<Letter>>),
    Nothing,
}

/// A question that the engine has not answered.
pub(super) struct Asked {
    client: usize,
    number: u64,
    answer: Answer,
}

enum Answer {
    Call(oneshot::Receiver<CallReply>),
    Mail(oneshot::Receiver<MailReply>),
}

/// What a client waits for.
#[derive(Debug)]
struct Pending {
    number: u64,
    tries: u32,
    intent: Intent,
    ask: Ask,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: MemberName,
    last: u64,
    pending: Option<Pending>,
    /// What it was told it made, by the number of the question.
    made: BTreeMap<u64, Vec<TaskId>>,
    pub(super) is_team_made: bool,
    /// Tasks that it knows.
    pub(super) tasks: Vec<TaskId>,
    pub(super) paused: BTreeSet<TaskId>,
    pub(super) claimed: Option<(TaskId, AttemptNumber)>,
    /// Messages that it read and did not acknowledge.
    pub(super) unacked: BTreeSet<MessageId>,
    pub(super) received: BTreeSet<MessageId>,
    /// Tasks of whose end it was told.
    pub(super) finished: BTreeSet<TaskId>,
    pub(super) has_read_all: bool,
}

impl Client {
    pub(super) fn all() -> Vec<Self> {
        [LEAD, ALICE].map(Self::new).into()
    }

    fn new(name: &str) -> Self {
        Self {
            name: MemberName::parse(name).expect("a name"),
            last: 0,
            pending: None,
            made: BTreeMap::new(),
            is_team_made: false,
            tasks: Vec::new(),
            paused: BTreeSet::new(),
            claimed: None,
            unacked: BTreeSet::new(),
            received: BTreeSet::new(),
            finished: BTreeSet::new(),
            has_read_all: false,
        }
    }

    /// Whether it waits for nothing and has nothing to read.
    pub(super) fn is_at_rest(&self) -> bool {
        self.pending.is_none()
            && self.has_read_all
            && self.unacked.is_empty()
            && self.claimed.is_none()
            && self.paused.is_empty()
    }

    /// The number of the question that it waits for, and how often it asked.
    pub(super) fn awaits(&self) -> Option<(u64, u32)> {
        let pending = self.pending.as_ref()?;
        Some((pending.number, pending.tries))
    }

    pub(super) fn caller(&self) -> Caller {
        Caller {
            member: Some(self.name.clone()),
            ..Caller::default()
        }
    }
}

impl World {
    pub(super) fn client_event(&mut self, at: usize, event: ClientEvent) {
        match event {
            ClientEvent::Act => self.wish_something(at),
            ClientEvent::Arrives(number, ask) => self.arrive(at, number, ask),
            ClientEvent::Answered(number, reply) => self.answered(at, number, reply),
            ClientEvent::Impatient(..) => self.ask(at),
        }
    }

    fn wish_something(&mut self, at: usize) {
        if self.clients[at].pending.is_some() {
            return;
        }
        let number = self.clients[at].last + 1;
        let Some((intent, ask)) = self.wish(at, number) else {
            return self.think(at);
        };
        let client = &mut self.clients[at];
        client.last = number;
        client.pending = Some(Pending {
            number,
            tries: 0,
            intent,
            ask,
        });
        self.ask(at);
    }

    pub(super) fn think(&mut self, at: usize) {
        let span = match self.is_calm {
            true => self.chance.between(1_000, 8_000),
            false => self.chance.between(100, 2_500),
        };
        self.after(span, Event::Client(at, ClientEvent::Act));
    }

    /// Asks, or asks again, the very same.
    fn ask(&mut self, at: usize) {
        let pending = self.clients[at].pending.as_mut().expect("it asks");
        pending.tries += 1;
        let (number, tries) = (pending.number, pending.tries);
        let ask = pending.ask.clone();
        if self.is_client_heard() {
            let delay = self.delay();
            self.after(delay, Event::Client(at, ClientEvent::Arrives(number, ask)));
        }
        let impatient = ClientEvent::Impatient(number, tries);
        self.after(PATIENCE, Event::Client(at, impatient));
    }

    fn is_client_heard(&mut self) -> bool {
        self.is_calm || !self.chance.one_in(25)
    }

    fn arrive(&mut self, client: usize, number: u64, ask: Ask) {
        if !self.coordinator.is_up() {
            return;
        }
        let answer = match ask {
            Ask::Call(call) => {
                let (reply, answer) = oneshot::channel();
                self.put_client(Input::Call(call, reply));
                Answer::Call(answer)
            }
            Ask::Mail(wanted) => {
                let (reply, answer) = oneshot::channel();
                self.put_client(Input::Mail(wanted, reply));
                Answer::Mail(answer)
            }
        };
        self.coordinator.asked.push(Asked {
            client,
            number,
            answer,
        });
    }

    /// Sends clients what their questions came to.
    pub(super) fn answer_clients(&mut self) {
        for mut asked in std::mem::take(&mut self.coordinator.asked) {
            let reply = match &mut asked.answer {
                Answer::Call(answer) => answer.try_recv().map(|reply| Reply::Call(Box::new(reply))),
                Answer::Mail(answer) => answer.try_recv().map(|page| match page {
                    Ok(page) => Reply::Mail(page.letters),
                    Err(_) => Reply::Nothing,
                }),
            };
            match reply {
                Ok(reply) => {
                    if self.is_client_heard() {
                        let delay = self.delay();
                        let answered = ClientEvent::Answered(asked.number, reply);
                        self.after(delay, Event::Client(asked.client, answered));
                    }
                }
                Err(TryRecvError::Empty) => self.coordinator.asked.push(asked),
                Err(TryRecvError::Closed) => {}
            }
        }
    }

    fn answered(&mut self, at: usize, number: u64, reply: Reply) {
        let is_awaited = |pending: &mut Pending| pending.number == number;
        let Some(pending) = self.clients[at].pending.take_if(is_awaited) else {
            return self.answered_again(at, number, &reply);
        };
        match reply {
            Reply::Call(reply) => match *reply {
                Ok(told) => self.told(at, number, pending.intent, told),
                Err(refused) => {
                    self.note(|| format!("refused: {}", refused.refusal));
                    self.refused(at, pending.intent);
                }
            },
            Reply::Mail(letters) => self.received(at, &letters),
            Reply::Nothing => {}
        }
        self.think(at);
    }

    /// An answer to an earlier try of a question that was answered: it is the same.
    fn answered_again(&mut self, at: usize, number: u64, reply: &Reply) {
        let Some(made) = self.clients[at].made.get(&number) else {
            return;
        };
        let is_same = match reply {
            Reply::Call(reply) => match &**reply {
                Ok(Told::Tasks(views)) => {
                    let ids = views.iter().map(|view| view.task.id);
                    ids.eq(made.iter().copied())
                }
                // Their time was over meanwhile.
                Err(refused) => matches!(refused.refusal, Refusal::TaskExpired { .. }),
                _ => false,
            },
            _ => false,
        };
        if !is_same {
            self.broke(format!(
                "question {number} was answered {made:?}, then {reply:?}"
            ));
        }
    }

    fn told(&mut self, at: usize, number: u64, intent: Intent, told: Told) {
        let client = &mut self.clients[at];
        let facts = &mut self.memory.facts;
        match (intent, told) {
            (Intent::MakeTeam, _) => self.clients.iter_mut().for_each(|c| c.is_team_made = true),
            (Intent::Make, Told::Tasks(views)) => {
                let ids: Vec<TaskId> = views.iter().map(|view| view.task.id).collect();
                let subject = |task: &Task| task.subject.clone();
                facts.extend(
                    views
                        .iter()
                        .map(|view| Fact::Made((CREW, view.task.id), subject(&view.task))),
                );
                client.tasks.extend(&ids);
                client.made.insert(number, ids);
            }
            (Intent::Note(task, value), _) => facts.push(Fact::Noted((CREW, task), value)),
            (Intent::Cancel(task), _) => facts.push(Fact::Cancelled((CREW, task))),
            (Intent::Pause(task), _) => drop(client.paused.insert(task)),
            (Intent::Resume(task), _) => drop(client.paused.remove(&task)),
            (Intent::Send(mark, to), Told::Sent { message, .. }) => {
                facts.push(Fact::Sent(CREW, message, mark, to));
            }
            (Intent::Ack(messages), _) => {
                client.unacked.retain(|id| !messages.contains(id));
                facts.push(Fact::Acked(CREW, client.name.clone(), messages));
            }
            (Intent::Claim, Told::Task(view)) => {
                client.claimed = Some((view.task.id, view.task.last_attempt));
            }
            (Intent::Close(task, result), _) => {
                client.claimed = None;
                facts.push(Fact::Closed((CREW, task), result));
            }
            (Intent::Release, _) => client.claimed = None,
            _ => {}
        }
    }

    fn refused(&mut self, at: usize, intent: Intent) {
        let client = &mut self.clients[at];
        match intent {
            Intent::Close(..) | Intent::Release => client.claimed = None,
            // It is over, or was never held.
            Intent::Resume(task) => drop(client.paused.remove(&task)),
            _ => {}
        }
    }

    fn received(&mut self, at: usize, letters: &[Arc<Letter>]) {
        let client = &mut self.clients[at];
        client.has_read_all = letters.is_empty();
        for letter in letters {
            client.received.insert(letter.id);
            client.unacked.insert(letter.id);
            if letter.kind == MailKind::TaskFinished {
                client.finished.extend(letter.task);
            }
        }
    }
}

/// How a question is recognised when it comes again.
pub(super) fn request(client: usize, number: u64) -> Request {
    let id = (client as u128 + 1) << 64 | u128::from(number);
    Request {
        key: RequestKey(id),
        body: id,
    }
}
