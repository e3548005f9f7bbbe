//! What clients wish, as chance has it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{
    command::{
        Ack, Addressees, Call, Caller, ClaimNext, CreateTeam, Lease, NewLetter, NewMember, NewTask,
        Update, Wish,
    },
    id::{AgentTypeName, MemberName, MessageId, TaskId, TeamName},
    mail::MailKind,
    task::{BlockerFailedPolicy, Priority, Retry, Status},
    team::MemberKind,
};
use ganger_coordinator::engine::{MailFilter, MailWanted};

use super::{
    client::{ALICE, Ask, CREW_NAME, HANA, LEAD, request},
    coordinator::AGENT_TYPE,
    memory::NOTED,
    world::World,
};

/// Tasks that a lead makes at the most.
const TASKS_MAX: usize = 60;

/// What a client has in mind with a question.
#[derive(Debug, Clone)]
pub(super) enum Intent {
    MakeTeam,
    Make,
    Note(TaskId, u64),
    Cancel(TaskId),
    Pause(TaskId),
    Resume(TaskId),
    Send(Arc<str>, Vec<MemberName>),
    Ack(Vec<MessageId>),
    Claim,
    Close(TaskId, Arc<str>),
    Release,
    Read,
}

fn crew() -> TeamName {
    TeamName::parse(CREW_NAME).expect("a name")
}

fn member(name: &str) -> MemberName {
    MemberName::parse(name).expect("a name")
}

impl World {
    /// The next question of a client, or none for now.
    pub(super) fn wish(&mut self, at: usize, number: u64) -> Option<(Intent, Ask)> {
        let client = &self.clients[at];
        if !client.is_team_made {
            let is_lead = client.name.as_str() == LEAD;
            return is_lead.then(|| {
                (
                    Intent::MakeTeam,
                    call(at, number, Caller::default(), team()),
                )
            });
        }
        let caller = client.caller();
        let intended = if self.is_calm {
            self.wish_to_end(at)
        } else if client.name.as_str() == LEAD {
            self.wish_as_lead(at, number)
        } else {
            self.wish_as_member(at, number)
        };
        let (intent, wish) = intended?;
        let Some(wish) = wish else {
            let wanted = MailWanted {
                team: crew(),
                caller,
                filter: MailFilter::default(),
                after: MessageId(0),
                count_max: 20,
                bytes_max: 1 << 20,
                acknowledges: false,
                watches: false,
            };
            return Some((intent, Ask::Mail(Box::new(wanted))));
        };
        Some((intent, call(at, number, caller, wish)))
    }

    /// Nothing new: what was begun is brought to its end.
    fn wish_to_end(&mut self, at: usize) -> Option<(Intent, Option<Wish>)> {
        let client = &self.clients[at];
        if let Some(task) = client.paused.first() {
            return Some((Intent::Resume(*task), Some(Wish::ResumeTask(crew(), *task))));
        }
        if !client.unacked.is_empty() {
            return Some(self.acknowledge(at));
        }
        if client.name.as_str() == ALICE && self.chance.one_in(2) {
            // It may hold what it was never told of: the board says so.
            let held = self.history.claimed_by(&client.name);
            let client = &mut self.clients[at];
            client.claimed = client.claimed.or(held);
            return Some(self.work(at));
        }
        Some((Intent::Read, None))
    }

    fn wish_as_lead(&mut self, at: usize, number: u64) -> Option<(Intent, Option<Wish>)> {
        let has_room = self.clients[at].tasks.len() < TASKS_MAX;
        Some(match self.chance.below(20) {
            0..8 if has_room => {
                let tasks = self.new_tasks(at, number);
                (Intent::Make, Some(Wish::CreateTasks(crew(), tasks)))
            }
            8..10 => {
                let task = self.some_task(at)?;
                let wish = Wish::CancelTask(crew(), task, "enough".into());
                (Intent::Cancel(task), Some(wish))
            }
            10..12 => {
                let task = self.some_task(at)?;
                let noted = (NOTED.into(), Some(number.to_string().into()));
                let update = Update {
                    metadata: BTreeMap::from([noted]),
                    ..Update::default()
                };
                let wish = Wish::UpdateTask(crew(), task, Box::new(update));
                (Intent::Note(task, number), Some(wish))
            }
            12 => {
                let task = self.some_task(at)?;
                let wish = Wish::PauseTask(crew(), task, "later".into());
                (Intent::Pause(task), Some(wish))
            }
            13 => {
                let task = *self.clients[at].paused.first()?;
                (Intent::Resume(task), Some(Wish::ResumeTask(crew(), task)))
            }
            14..16 => {
                let to: &[&str] = match self.chance.below(3) {
                    0 => &[ALICE],
                    1 => &[HANA],
                    _ => &[ALICE, HANA],
                };
                self.send(at, number, to)
            }
            _ if !self.clients[at].unacked.is_empty() => self.acknowledge(at),
            _ => (Intent::Read, None),
        })
    }

    fn wish_as_member(&mut self, at: usize, number: u64) -> Option<(Intent, Option<Wish>)> {
        Some(match self.chance.below(10) {
            0..5 => self.work(at),
            5..7 => self.send(at, number, &[LEAD]),
            _ if !self.clients[at].unacked.is_empty() => self.acknowledge(at),
            _ => (Intent::Read, None),
        })
    }

    /// Takes a task, or ends the one that it has.
    fn work(&mut self, at: usize) -> (Intent, Option<Wish>) {
        match self.clients[at].claimed {
            None => {
                let lease = match self.chance.below(3) {
                    0 => Lease(Some(Duration::from_secs(20))),
                    _ => Lease::default(),
                };
                let next = ClaimNext {
                    lease,
                    ..ClaimNext::default()
                };
                (Intent::Claim, Some(Wish::ClaimNext(crew(), next)))
            }
            Some((task, attempt)) if self.chance.one_in(6) => {
                let wish = Wish::ReleaseTask(crew(), task, Some(attempt), "not mine".into());
                (Intent::Release, Some(wish))
            }
            Some((task, attempt)) => {
                let result: Arc<str> = format!("alice did {task}.{attempt}").into();
                let update = Update {
                    status: Some(Status::Completed),
                    result: Some(result.clone()),
                    attempt: Some(attempt),
                    ..Update::default()
                };
                let wish = Wish::UpdateTask(crew(), task, Box::new(update));
                (Intent::Close(task, result), Some(wish))
            }
        }
    }

    fn acknowledge(&mut self, at: usize) -> (Intent, Option<Wish>) {
        let client = &self.clients[at];
        let messages: Vec<MessageId> = client.unacked.iter().copied().collect();
        let asked = messages.iter().map(|id| (client.name.clone(), *id));
        self.memory.acks.extend(asked);
        let ack = Ack {
            up_to: None,
            messages: messages.clone(),
        };
        (Intent::Ack(messages), Some(Wish::AckMessages(crew(), ack)))
    }

    fn send(&mut self, at: usize, number: u64, to: &[&str]) -> (Intent, Option<Wish>) {
        let mark: Arc<str> = format!("mark-{at}-{number}").into();
        let to: Vec<MemberName> = to.iter().map(|name| member(name)).collect();
        let letter = NewLetter {
            to: Addressees::Named(to.clone()),
            kind: MailKind::Text,
            text: mark.clone(),
            summary: "".into(),
            payload: "".into(),
            correlation: "".into(),
            approve: None,
            task: None,
            timeout: None,
        };
        let wish = Wish::SendMessage(crew(), Box::new(letter));
        (Intent::Send(mark, to), Some(wish))
    }

    fn some_task(&mut self, at: usize) -> Option<TaskId> {
        let tasks = &self.clients[at].tasks;
        let recent = &tasks[tasks.len().saturating_sub(12)..];
        let picked = self.chance.below(recent.len().max(1) as u64);
        recent.get(usize::try_from(picked).expect("few")).copied()
    }

    fn new_tasks(&mut self, at: usize, number: u64) -> Vec<NewTask> {
        let count = self.chance.between(1, 4);
        (0..count)
            .map(|item| self.new_task(at, number, item))
            .collect()
    }

    fn new_task(&mut self, at: usize, number: u64, item: u64) -> NewTask {
        let agent_type = AgentTypeName::parse(AGENT_TYPE).expect("a name");
        let (agent_type, owner) = match self.chance.below(10) {
            0 | 1 => (None, Some(member(HANA))),
            2 => (None, None),
            _ => (Some(agent_type), None),
        };
        let blocked_by = match self.chance.below(3) {
            0 => self.some_task(at).into_iter().collect(),
            _ => Vec::new(),
        };
        let blocked_by_items = match item {
            1.. if self.chance.one_in(3) => vec![0],
            _ => Vec::new(),
        };
        let retry = Retry {
            max_attempts: 3,
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
        };
        let late = self.time() + Duration::from_secs(self.chance.between(20, 300));
        NewTask {
            subject: format!("task {number}.{item}").into(),
            agent_type,
            owner,
            blocked_by,
            blocked_by_items,
            priority: match self.chance.below(3) {
                0 => Priority::Critical,
                _ => Priority::Normal,
            },
            retry: self.chance.one_in(2).then_some(retry),
            timeout: (self.chance.one_in(3)).then_some(Duration::from_secs(15)),
            deadline: self.chance.one_in(8).then_some(late),
            crash_limit: Some(8),
            blocker_failed_policy: match self.chance.below(2) {
                0 => BlockerFailedPolicy::Cancel,
                _ => BlockerFailedPolicy::Proceed,
            },
            ..NewTask::default()
        }
    }
}

fn call(client: usize, number: u64, caller: Caller, wish: Wish) -> Ask {
    Ask::Call(Box::new(Call {
        caller,
        request: Some(request(client, number)),
        wish,
    }))
}

fn team() -> Wish {
    let joining = |name, kind, agent_type: Option<&str>| NewMember {
        name: member(name),
        kind,
        role: "".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: agent_type.map(|name| AgentTypeName::parse(name).expect("a name")),
        model: "".into(),
        plan_required: false,
    };
    Wish::CreateTeam(CreateTeam {
        name: crew(),
        description: "".into(),
        lead: member(LEAD),
        lead_role: "".into(),
        members: vec![
            joining(ALICE, MemberKind::Agent, None),
            joining(HANA, MemberKind::Hosted, Some(AGENT_TYPE)),
        ],
        verification_threshold: None,
        idle_notices: false,
        weight: None,
        max_running: 0,
    })
}
