//! Hiring (D7): how deep below its own task a sub-agent may have others run.
//!
//! Every hirer up the chain bounds what is below it: where a type allows depth 2 and hires one that
//! allows 3, what that one hires may not hire again. A type allows nothing unless it says so.

use crate::{
    board::{Board, Card, TeamBoard},
    id::{AgentTypeName, TaskKey},
    limits,
    refusal::{Obstacle, Refusal},
    task::Task,
};

/// A sub-agent that hires, or hired one that does.
struct Link {
    agent_type: Option<AgentTypeName>,
    /// How deep below its own task it allows.
    allowed: u32,
}

impl Link {
    fn refusal(self, depth: u32) -> Refusal {
        match self.agent_type {
            Some(agent_type) => Refusal::HiringRefused {
                agent_type,
                depth,
                allowed: self.allowed,
            },
            None => Refusal::BadValue {
                field: "agent_type",
                why: "of the sub-agent that hires is not known any more".into(),
            },
        }
    }
}

/// How a task is run that a worker has, or had.
fn type_of(team: &TeamBoard, task: &Task) -> Option<AgentTypeName> {
    let acts_as = task.placement().and_then(|placed| placed.member.as_ref());
    let member = acts_as.or(task.owner.as_ref());
    let member = member.and_then(|name| team.members.get(name));
    let own_type = member.and_then(|member| member.agent_type.as_ref());
    task.agent_type.as_ref().or(own_type).cloned()
}

impl Board {
    /// How deep below its own task the sub-agent of a task may still have others hired. An error
    /// is a finished hirer that has to be [recalled](Board::recall) first.
    pub fn hiring_left(&self, key: TaskKey) -> Result<u32, TaskKey> {
        let left = (0..).zip(self.hirers(key)?);
        let left = left.map(|(above, link)| link.allowed.saturating_sub(above));
        Ok(left.min().unwrap_or(0))
    }

    /// Refuses the sub-agent of a task to hire, where somebody up its chain doesn't allow it.
    pub(crate) fn check_hiring(&self, key: TaskKey) -> Result<(), Obstacle> {
        for (depth, link) in (1..).zip(self.hirers(key).map_err(Obstacle::Absent)?) {
            if link.allowed < depth {
                return Err(link.refusal(depth).into());
            }
        }
        Ok(())
    }

    /// The task, and what hired it, and what hired that, as far as it matters.
    fn hirers(&self, (team, task): TaskKey) -> Result<Vec<Link>, TaskKey> {
        let mut chain = Vec::new();
        let mut at = Some(task);
        while let Some(id) = at {
            let Some(card) = self.card((team, id)) else {
                break;
            };
            let Card::Whole(task) = card else {
                return Err((team, id));
            };
            let agent_type = type_of(&self.teams[&team], task);
            let offered = agent_type.as_ref().and_then(|name| self.offered_type(name));
            chain.push(Link {
                allowed: offered.map_or(0, |offered| offered.hiring_depth),
                agent_type,
            });
            // What is deeper than may ever be is refused by the nearest already.
            if chain.len() > limits::HIRING_DEPTH_MAX as usize {
                break;
            }
            at = task.terms().hired_by.map(|hirer| hirer.task);
        }
        Ok(chain)
    }
}
