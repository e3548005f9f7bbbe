//! A team's own record, and its members.

use std::sync::Arc;

use crate::{
    id::{AgentTypeName, Incarnation, MemberName, Revision, TaskId, TeamName, TeamUid},
    time::Time,
};

/// A team without its members and tasks. Its counters are in it, so it changes with each commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The identity.
    pub uid: TeamUid,
    /// The name.
    pub name: TeamName,
    /// What the team is for.
    pub description: Arc<str>,
    /// Who leads.
    pub lead: MemberName,
    /// When it was made.
    pub created_at: Time,
    /// The revision of its last event.
    pub revision: Revision,
    /// The last task id that was given out.
    pub last_task: TaskId,
    /// Tasks that members closed since the last verification task was closed (K9).
    pub closed_since_verification: u32,
}

/// How a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    /// Leads the team.
    Lead,
    /// Calls the API itself.
    Agent,
    /// Runs as a sub-agent on whatever worker fits.
    Hosted,
    /// A worker daemon in its own name.
    Worker,
}

/// Someone on a team's roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: MemberName,
    /// How often the name has joined.
    pub incarnation: Incarnation,
    /// How it takes part.
    pub kind: MemberKind,
    /// What it is for; for a lead its role label.
    pub role: Arc<str>,
    /// More about it.
    pub description: Arc<str>,
    /// What is put before the prompt of a hosted member's tasks.
    pub instructions: Arc<str>,
    /// The type that runs a hosted member's tasks.
    pub agent_type: Option<AgentTypeName>,
    /// The model that a hosted member wants; empty for its type's.
    pub model: Arc<str>,
    /// When this incarnation joined.
    pub joined_at: Time,
    /// When this incarnation left. Who left stays, so that the name's next one counts on.
    pub left_at: Option<Time>,
}

impl Member {
    /// Whether it is on the roster now.
    pub fn is_present(&self) -> bool {
        self.left_at.is_none()
    }
}
