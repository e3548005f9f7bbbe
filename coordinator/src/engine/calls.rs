//! Calls: decided, or answered again.

use board::{
    Board,
    command::{Answer, Call, Wish},
    decide,
    event::Fields,
    id::{TaskId, TaskKey, TeamUid},
    record::CameTo,
    refusal::{Obstacle, Refusal},
    task::Status,
    time::Time,
    view::TaskView,
};
use tokio::sync::oneshot;

use super::{Engine, TeamView, reader::team_view, release::Release};

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
    Updated {
        /// The task.
        view: Box<TaskView>,
        /// Which fields changed.
        fields: Fields,
        /// The change of status.
        status: Option<(Status, Status)>,
        /// The tasks that were freed.
        unblocked: Vec<TaskId>,
        /// How many tasks wait to be verified, where that is too many.
        verification_nudge: Option<u32>,
    },
    /// A task was claimed, or is being cancelled.
    Task(Box<TaskView>),
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
        let told = match self.replayed(call) {
            Some(told) => told,
            None => self.decide_call(call, now),
        };
        self.group.releases.push(Release::Call(reply, told));
    }

    /// The answer to a request that came before.
    fn replayed(&mut self, call: &Call) -> Option<CallReply> {
        let request = call.request?;
        let outcome = match self.group.outcomes.get(&request.key) {
            Some(outcome) => *outcome,
            None => match self.store.outcome(request.key) {
                Ok(outcome) => outcome?,
                Err(failure) => {
                    tracing::error!(%failure, "can't read an outcome");
                    return Some(Err(Refusal::Full {
                        what: "readable outcomes",
                        max: 0,
                    }
                    .into()));
                }
            },
        };
        let came_to = match decide::replay(call, &outcome) {
            Ok(came_to) => came_to,
            Err(refusal) => return Some(Err(refusal.into())),
        };
        Some(self.told_again(outcome.team, came_to).map_err(Into::into))
    }

    fn told_again(&mut self, team: TeamUid, came_to: CameTo) -> Result<Told, Refusal> {
        match came_to {
            CameTo::Team => self.told(Answer::Team(team)),
            CameTo::Tasks { first, count } => self.told(Answer::Tasks { team, first, count }),
            CameTo::Updated {
                task,
                fields,
                status,
            } => self.told(Answer::Updated {
                task: (team, task),
                fields,
                status,
                unblocked: Vec::new(),
                verification_nudge: None,
            }),
            CameTo::Task { task } => self.told(Answer::Task((team, task))),
        }
    }

    fn decide_call(&mut self, call: &Call, now: Time) -> CallReply {
        loop {
            match decide::decide(&self.board, call, now) {
                Ok(mut decision) => {
                    let answer = std::mem::replace(&mut decision.answer, Answer::Done);
                    self.take_in(decision, now);
                    return self.told(answer).map_err(Into::into);
                }
                Err(Obstacle::Absent(key)) => self.recall(key)?,
                Err(Obstacle::Refused(refusal)) => {
                    let current = match &refusal {
                        Refusal::RevisionMismatch { .. } => {
                            named_task(&self.board, &call.wish).and_then(|key| self.view(key).ok())
                        }
                        _ => None,
                    };
                    return Err(Box::new(Refused { refusal, current }));
                }
            }
        }
    }

    fn told(&mut self, answer: Answer) -> Result<Told, Refusal> {
        Ok(match answer {
            Answer::Team(team) => {
                Told::Team(
                    team_view(&self.board, team).ok_or_else(|| Refusal::TeamUnknown {
                        team: team.to_string(),
                    })?,
                )
            }
            Answer::Tasks { team, first, count } => {
                let ids = first.0..first.0 + u64::from(count);
                let views = ids.map(|id| self.view((team, TaskId(id))));
                Told::Tasks(views.collect::<Result<_, _>>()?)
            }
            Answer::Updated {
                task,
                fields,
                status,
                unblocked,
                verification_nudge,
            } => Told::Updated {
                view: Box::new(self.view(task)?),
                fields,
                status,
                unblocked,
                verification_nudge,
            },
            Answer::Task(task) => Told::Task(Box::new(self.view(task)?)),
            Answer::Done => Told::Tasks(Vec::new()),
        })
    }
}

/// The task that a wish names.
fn named_task(board: &Board, wish: &Wish) -> Option<TaskKey> {
    match wish {
        Wish::UpdateTask(team, task, _)
        | Wish::ClaimTask(team, task, _)
        | Wish::CancelTask(team, task, _) => super::key_of(board, team, *task).ok(),
        Wish::CreateTeam(_) | Wish::CreateTasks(..) => None,
    }
}
