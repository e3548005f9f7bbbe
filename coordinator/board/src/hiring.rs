//! What a sub-agent may make: tasks, so many of them; teams, if its type says so; and, hiring (D7),
//! how deep below its own task it may have others run.
//!
//! Every hirer up the chain bounds what is below it: where a type allows depth 2 and hires one that
//! allows 3, what that one hires may not hire again. A type allows nothing unless it says so.

use crate::{
    board::{Board, Card, TeamBoard},
    id::{AgentTypeName, TaskKey},
    limits,
    record::OfferedType,
    refusal::{Obstacle, Refusal, Staleness},
    task::{Placement, Task},
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
    /// How deep below its own task the sub-agent of a task may still have others hired, as far as
    /// its hirers are in memory; and the first one that has to be [recalled](Board::recall) before
    /// more can be said.
    pub fn hiring_left(&self, key: TaskKey) -> (u32, Option<TaskKey>) {
        let (chain, absent) = self.hirers(key);
        let left = (0..).zip(chain);
        let left = left.map(|(above, link)| link.allowed.saturating_sub(above));
        (left.min().unwrap_or(0), absent)
    }

    /// Refuses the sub-agent of a task to hire, where somebody up its chain doesn't allow it.
    pub(crate) fn check_hiring(&self, key: TaskKey) -> Result<(), Obstacle> {
        let (chain, absent) = self.hirers(key);
        for (depth, link) in (1..).zip(chain) {
            if link.allowed < depth {
                return Err(link.refusal(depth).into());
            }
        }
        absent.map_or(Ok(()), |absent| Err(Obstacle::Absent(absent)))
    }

    /// Refuses the sub-agent of an attempt to make so many tasks more than it has made, where that is
    /// over what its type allows.
    pub(crate) fn check_tasks_made(
        &self,
        key: TaskKey,
        placement: &Placement,
        count: usize,
    ) -> Result<(), Refusal> {
        let Some((agent_type, offered)) = self.type_run(key) else {
            return Ok(());
        };
        let max = offered.map_or(limits::ATTEMPT_TASKS, |offered| offered.tasks_max);
        let made = placement.tasks_made;
        if made as usize + count <= max as usize {
            return Ok(());
        }
        Err(Refusal::AttemptTasksFull {
            task: key.1,
            attempt: placement.attempt,
            agent_type,
            made,
            count,
            max,
        })
    }

    /// Refuses the sub-agent of a task to make a team, where its type doesn't allow it.
    pub(crate) fn check_team_creation(&self, key: TaskKey) -> Result<(), Refusal> {
        match self.type_run(key) {
            Some((_, Some(offered))) if offered.may_create_teams => Ok(()),
            Some((agent_type, _)) => Err(Refusal::TeamCreationRefused { agent_type }),
            None => Err(Refusal::Stale {
                why: Staleness::Attempt,
            }),
        }
    }

    /// How a task is run that a worker has, by name, and what is known of that type. None where no
    /// worker has it.
    fn type_run(&self, (team, task): TaskKey) -> Option<(AgentTypeName, Option<&OfferedType>)> {
        let team_board = self.teams.get(&team)?;
        let agent_type = type_of(team_board, self.whole((team, task))?)?;
        let offered = self.offered_type(&agent_type);
        Some((agent_type, offered))
    }

    /// The task, and what hired it, and what hired that, as far as it matters and is in memory; and
    /// the one of which memory has an outline. One that left the board can't say any more what it
    /// allowed: that is nothing.
    fn hirers(&self, (team, task): TaskKey) -> (Vec<Link>, Option<TaskKey>) {
        let mut chain = Vec::new();
        let mut at = Some(task);
        while let Some(id) = at {
            let Some(card) = self.card((team, id)) else {
                chain.push(Link {
                    agent_type: None,
                    allowed: 0,
                });
                break;
            };
            let Card::Whole(task) = card else {
                return (chain, Some((team, id)));
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
        (chain, None)
    }
}
