//! Calls: decided, or answered again.

use board::{
    Board,
    command::{Answer, Call, Receipt, Updated, Wish},
    decide,
    event::Fields,
    id::{MessageId, TaskId, TaskKey, TeamUid},
    record::{CameTo, Outcome},
    refusal::{Obstacle, Refusal},
    task::Status,
    time::Time,
    view::TaskView,
};
use tokio::sync::oneshot;

use super::{Engine, MemberView, TeamView, failure::Unread, reader::Work, release::Release};

/// What a call is answered.
pub type CallReply = Result<Told, Box<Refused>>;

/// What a call came to, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A team was made.
    Team(TeamView),
    /// Tasks were made, in this order.
    Tasks(Vec<TaskView>),
    /// A task was changed.
    Updated(Box<ToldUpdate>),
    /// Tasks were changed, in this order.
    Batch(Vec<ToldUpdate>),
    /// A task was claimed, given back, held, resumed, or is being cancelled.
    Task(Box<TaskView>),
    /// The caller held the task already, and its claim was renewed.
    Renewed(Box<TaskView>),
    /// No task is ready.
    NothingReady,
    /// A task was opened again.
    Reopened {
        /// The task.
        view: Box<TaskView>,
        /// Tasks that are blocked by it again.
        blocked: Vec<TaskId>,
        /// Tasks that had begun.
        started: Vec<TaskId>,
    },
    /// A task was deleted.
    Deleted {
        /// The tasks that were freed.
        unblocked: Vec<TaskId>,
    },
    /// A team was dissolved.
    Dissolved {
        /// The team.
        view: Box<TeamView>,
        /// It had been before.
        already: bool,
        /// Tasks that are being stopped.
        stopping: Vec<TaskId>,
    },
    /// A member joined.
    Member(Box<MemberView>),
    /// A member left.
    Removed {
        /// The member.
        view: Box<MemberView>,
        /// The tasks that are free again.
        released: Vec<TaskId>,
        /// Those that are being stopped first.
        stopping: Vec<TaskId>,
    },
    /// A message was sent.
    Sent {
        /// Which.
        message: MessageId,
        /// What ties answers to it.
        correlation: std::sync::Arc<str>,
        /// To whom: what became of each copy, and the recipient.
        receipts: Vec<(Receipt, MemberView)>,
    },
    /// Tasks that a filter found were changed.
    Swept {
        /// How many.
        count: u32,
        /// There are more.
        is_more: bool,
        /// The last that was looked at.
        last: TaskId,
    },
    /// Messages were acknowledged.
    Acked {
        /// How many.
        count: usize,
        /// How many are left.
        left: usize,
    },
}

/// What a change of a task came to, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldUpdate {
    /// The task.
    pub view: TaskView,
    /// Which fields changed.
    pub fields: Fields,
    /// The change of status.
    pub status: Option<(Status, Status)>,
    /// The tasks that were freed.
    pub unblocked: Vec<TaskId>,
    /// How many tasks wait to be verified, where that is too many.
    pub verification_nudge: Option<u32>,
}

/// A refusal, with what the caller may want to see beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The task as it is, where the caller had another idea of it.
    pub current: Option<TaskView>,
}

impl From<Refusal> for Box<Refused> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused {
            refusal,
            current: None,
        })
    }
}

impl Engine {
    pub(super) fn call(&mut self, call: &Call, reply: oneshot::Sender<CallReply>, now: Time) {
        let team = call.wish.team().as_str();
        self.presence.note(&self.board, team, &call.caller, now);
        let told = match self.replayed(call, now) {
            Some(told) => told,
            None => match self.check_room(&call.wish) {
                Ok(()) => self.decide_call(call, now),
                Err(refusal) => Err(refusal.into()),
            },
        };
        self.group.releases.push(Release::Call(reply, told));
    }

    /// The answer to a request that came before.
    fn replayed(&mut self, call: &Call, now: Time) -> Option<CallReply> {
        let request = call.request?;
        let outcome = match self.group.outcomes.get(&request.key) {
            Some(outcome) => *outcome,
            None => match self.store.outcome(request.key) {
                Ok(outcome) => outcome?,
                // It may have been carried out: it is not done again.
                Err(failure) => return Some(Err(Unread::Outcome.because(&failure).into())),
            },
        };
        let came_to = match decide::replay(call, &outcome) {
            Ok(came_to) => came_to,
            Err(refusal) => return Some(Err(refusal.into())),
        };
        let answer = self.answer_again(call, &outcome, came_to);
        Some(self.told(answer, now).map_err(Into::into))
    }

    /// What a request came to, put together again from what of it is remembered and from the
    /// request itself, which is the same again.
    fn answer_again(&self, call: &Call, outcome: &Outcome, came_to: CameTo) -> Answer {
        let team = outcome.team;
        let unchanged = |task| Updated {
            task: (team, task),
            fields: Fields::default(),
            status: None,
            unblocked: Vec::new(),
            verification_nudge: None,
        };
        match (came_to, &call.wish) {
            (CameTo::Team, _) => Answer::Team(team),
            (CameTo::Tasks { first, count }, _) => Answer::Tasks { team, first, count },
            (
                CameTo::Updated {
                    task,
                    fields,
                    status,
                },
                _,
            ) => Answer::Updated(Updated {
                fields,
                status,
                ..unchanged(task)
            }),
            (CameTo::Batch, Wish::UpdateTasks(_, changes)) => {
                let all = changes.iter().map(|(task, _)| unchanged(*task));
                Answer::Batch(team, all.collect())
            }
            (CameTo::Task { task }, _) => Answer::Task((team, task)),
            (CameTo::Renewed { task }, _) => Answer::Renewed((team, task)),
            (
                CameTo::Swept {
                    count,
                    is_more,
                    last,
                },
                _,
            ) => Answer::Swept {
                team,
                count,
                is_more,
                last,
            },
            (CameTo::Reopened { task }, _) => Answer::Reopened {
                task: (team, task),
                blocked: Vec::new(),
                started: Vec::new(),
            },
            (CameTo::Deleted, _) => Answer::Deleted {
                team,
                unblocked: Vec::new(),
            },
            (CameTo::Dissolved, _) => Answer::Dissolved {
                team,
                already: false,
                stopping: Vec::new(),
            },
            (CameTo::Member, Wish::AddMember(_, new)) => Answer::Member(team, new.name.clone()),
            (CameTo::Removed, Wish::RemoveMember(_, member, _)) => Answer::Removed {
                team,
                member: member.clone(),
                released: Vec::new(),
                stopping: Vec::new(),
            },
            (CameTo::Sent { message }, Wish::SendMessage(_, letter)) => {
                self.sent_again(team, &call.caller, letter, message)
            }
            // The body of a request is hashed with its call: no other wish has such an outcome.
            _ => Answer::Team(team),
        }
    }

    fn told_update(&mut self, updated: Updated) -> Result<ToldUpdate, Refusal> {
        Ok(ToldUpdate {
            view: self.view(updated.task)?,
            fields: updated.fields,
            status: updated.status,
            unblocked: updated.unblocked,
            verification_nudge: updated.verification_nudge,
        })
    }

    fn told_team(&self, team: TeamUid) -> Result<TeamView, Refusal> {
        self.team_view(team).ok_or_else(|| Refusal::TeamUnknown {
            team: team.to_string(),
        })
    }

    pub(super) fn decide_call(&mut self, call: &Call, now: Time) -> CallReply {
        loop {
            match decide::decide(&self.board, call, now) {
                Ok(mut decision) => {
                    let answer = std::mem::replace(&mut decision.answer, Answer::Done);
                    self.take_in(decision, now);
                    return self.told(answer, now).map_err(Into::into);
                }
                Err(Obstacle::Absent(key)) => self.recall(key)?,
                Err(Obstacle::Refused(refusal)) => {
                    let current = match &refusal {
                        Refusal::RevisionMismatch { .. } => {
                            let named = named_task(&self.board, &call.wish);
                            named.map(|key| self.view(key)).transpose()?
                        }
                        _ => None,
                    };
                    let refusal = self.with_offerings(refusal, now);
                    return Err(Box::new(Refused { refusal, current }));
                }
            }
        }
    }

    fn told(&mut self, answer: Answer, now: Time) -> Result<Told, Refusal> {
        Ok(match answer {
            Answer::Team(team) => Told::Team(self.told_team(team)?),
            Answer::Tasks { team, first, count } => {
                let ids = first.0..first.0 + u64::from(count);
                let views = ids.map(|id| self.view((team, TaskId(id))));
                Told::Tasks(views.collect::<Result<_, _>>()?)
            }
            Answer::Updated(updated) => Told::Updated(Box::new(self.told_update(updated)?)),
            Answer::Batch(_, all) => {
                let all = all.into_iter().map(|updated| self.told_update(updated));
                Told::Batch(all.collect::<Result<_, _>>()?)
            }
            Answer::Task(task) => Told::Task(Box::new(self.view(task)?)),
            Answer::Renewed(task) => Told::Renewed(Box::new(self.view(task)?)),
            Answer::NothingReady => Told::NothingReady,
            Answer::Reopened {
                task,
                blocked,
                started,
            } => Told::Reopened {
                view: Box::new(self.view(task)?),
                blocked,
                started,
            },
            Answer::Deleted { unblocked, .. } => Told::Deleted { unblocked },
            Answer::Dissolved {
                team,
                already,
                stopping,
            } => Told::Dissolved {
                view: Box::new(self.told_team(team)?),
                already,
                stopping,
            },
            Answer::Member(team, name) => {
                Told::Member(Box::new(self.told_member(team, &name, now)?))
            }
            Answer::Removed {
                team,
                member,
                released,
                stopping,
            } => Told::Removed {
                view: Box::new(self.told_member(team, &member, now)?),
                released,
                stopping,
            },
            Answer::Sent {
                team,
                message,
                correlation,
                receipts,
            } => {
                let to = receipts.iter().map(|receipt| &receipt.member);
                let work = Work::of_some(&self.board, team, to);
                let told = receipts.into_iter().filter_map(|receipt| {
                    let member = self.board.member_ever(team, &receipt.member)?;
                    let view = self.member_view(team, &work, member, now);
                    Some((receipt, view))
                });
                let receipts = told.collect();
                Told::Sent {
                    message,
                    correlation,
                    receipts,
                }
            }
            Answer::Acked { count, left } => Told::Acked { count, left },
            Answer::Swept {
                count,
                is_more,
                last,
                ..
            } => Told::Swept {
                count,
                is_more,
                last,
            },
            Answer::Done => Told::Tasks(Vec::new()),
        })
    }
}

/// The task that a wish names.
fn named_task(board: &Board, wish: &Wish) -> Option<TaskKey> {
    super::key_of(board, wish.team(), wish.task()?).ok()
}
