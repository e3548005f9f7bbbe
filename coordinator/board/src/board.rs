//! The board in memory: records, and what is derived from them.
//!
//! It owns every team, member, open task and offered type, and a stub of each finished task. It
//! doesn't know the store, the fleet or the time. [`Board::install`] is the only thing that
//! changes it, both when it runs and when it is loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    command::Soft,
    event::Actor,
    id::{
        AgentTypeName, Epoch, Fence, InstanceId, MemberKey, MemberName, MessageId, Revision,
        TaskId, TaskKey, TeamName, TeamUid,
    },
    index::{Expiries, JOIN_SHOWN, Marks, Queueing, Running, TeamIndex, wakes_since},
    limits::{self, RunningLimits},
    mail::{Filed, Mailbox},
    record::{Meta, OfferedType},
    shelf::Shelf,
    task::{BlockerFailedPolicy, EndStatus, Status, Stub, Task},
    team::{Member, Team},
    time::Time,
};

/// Everything that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    pub(crate) meta: Meta,
    pub(crate) teams: BTreeMap<TeamUid, TeamBoard>,
    /// All teams by name; the last one of a name is meant where the name is said.
    pub(crate) names: BTreeSet<(TeamName, TeamUid)>,
    pub(crate) offered: BTreeMap<AgentTypeName, OfferedType>,
    /// Teams with something that may go to a worker, by how it is run.
    pub(crate) queueing: Queueing,
    /// How many tasks workers have.
    pub(crate) running: Running,
    /// How many they may have.
    pub(crate) limits: Arc<RunningLimits>,
    /// The next moment at which each task wants to be looked at.
    pub(crate) deadlines: BTreeSet<(Time, TaskKey)>,
    /// Ended tasks whose dependants are still to be cancelled.
    pub(crate) cascades: BTreeSet<TaskKey>,
    /// The teams that each worker is a member of, also those that are over.
    pub(crate) serving: BTreeMap<MemberName, BTreeSet<TeamUid>>,
    /// What each worker's process holds.
    pub(crate) placed: BTreeMap<InstanceId, BTreeSet<TaskKey>>,
    /// The next moment at which each member wants to be looked at.
    pub(crate) member_deadlines: BTreeSet<(Time, MemberKey)>,
    /// Members who left and still own open tasks.
    pub(crate) stranded: BTreeSet<MemberKey>,
    /// Tasks that are over, and whose sub-agents still hold others.
    pub(crate) adrift: BTreeSet<TaskKey>,
    /// Tasks that are to be cancelled because what they depend on is over.
    pub(crate) orphans: BTreeSet<TaskKey>,
    /// Dissolved teams with open tasks.
    pub(crate) dissolving: BTreeSet<TeamUid>,
    /// Dissolved teams without, and since when they are.
    pub(crate) tombstones: BTreeSet<(Time, TeamUid)>,
    /// Open teams with finished tasks, by whose time comes next.
    pub(crate) expiries: Expiries,
}

/// A team with all that is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TeamBoard {
    pub(crate) head: Team,
    pub(crate) members: BTreeMap<MemberName, Member>,
    pub(crate) tasks: Shelf<Entry>,
    pub(crate) index: TeamIndex,
    pub(crate) mailboxes: BTreeMap<MemberName, Mailbox>,
    pub(crate) letters: BTreeMap<MessageId, Filed>,
}

/// A task with what the indexes hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) card: Card,
    pub(crate) marks: Marks,
}

/// A task as it lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Card {
    /// With everything.
    Whole(Arc<Task>),
    /// Over for a while, and in outline only.
    Outline(Box<Stub>),
}

impl Card {
    /// The word for where it stands.
    pub fn status(&self) -> Status {
        match self {
            Self::Whole(task) => task.status(),
            Self::Outline(stub) => stub.status.into(),
        }
    }

    /// When it ended, if it is over.
    pub(crate) fn ended_at(&self) -> Option<Time> {
        match self {
            Self::Whole(task) => Some(task.end()?.at),
            Self::Outline(stub) => Some(stub.ended_at),
        }
    }

    /// The team's revision at its last change.
    pub(crate) fn revision(&self) -> Revision {
        match self {
            Self::Whole(task) => task.revision,
            Self::Outline(stub) => stub.revision,
        }
    }

    pub(crate) fn blocked_by(&self) -> &[TaskId] {
        match self {
            Self::Whole(task) => &task.blocked_by,
            Self::Outline(stub) => &stub.blocked_by,
        }
    }

    pub(crate) fn parent(&self) -> Option<TaskId> {
        match self {
            Self::Whole(task) => task.parent,
            Self::Outline(stub) => stub.parent,
        }
    }

    pub(crate) fn owner(&self) -> Option<&MemberName> {
        match self {
            Self::Whole(task) => task.owner.as_ref(),
            Self::Outline(stub) => stub.owner.as_ref(),
        }
    }

    pub(crate) fn shares_todos(&self) -> bool {
        match self {
            Self::Whole(task) => task.share_todos,
            Self::Outline(stub) => stub.share_todos,
        }
    }

    /// The task whose sub-agent holds it by a claim.
    pub(crate) fn lent_to(&self) -> Option<TaskId> {
        match self {
            Self::Whole(task) => match task.claim()?.by {
                Actor::Task(by) => Some(by),
                _ => None,
            },
            Self::Outline(_) => None,
        }
    }

    pub(crate) fn is_cascade_due(&self) -> bool {
        match self {
            Self::Whole(task) => task.is_cascade_due(),
            Self::Outline(stub) => stub.cascade_due,
        }
    }

    /// Whether, as a blocker, it holds back a dependant with this policy.
    pub(crate) fn holds_back(&self, policy: BlockerFailedPolicy) -> bool {
        holds_back(self.status(), self.is_cascade_due(), policy)
    }
}

/// Whether a blocker holds back a dependant with this policy. One whose dependants are still to be
/// looked after holds back all of them, so that each is freed in the commit that says so.
pub(crate) fn holds_back(
    blocker: Status,
    is_cascade_due: bool,
    policy: BlockerFailedPolicy,
) -> bool {
    match blocker {
        Status::Pending | Status::InProgress => true,
        _ if is_cascade_due => true,
        Status::Completed => false,
        Status::Failed | Status::Cancelled => policy != BlockerFailedPolicy::Proceed,
    }
}

impl Board {
    /// An empty board of this epoch, on which nothing bounds how much runs.
    pub fn new(epoch: Epoch) -> Self {
        Self::with_limits(epoch, Arc::default())
    }

    /// An empty board of this epoch, with these bounds on what runs.
    pub fn with_limits(epoch: Epoch, limits: Arc<RunningLimits>) -> Self {
        Self {
            limits,
            meta: Meta {
                epoch,
                last_team: TeamUid(0),
            },
            teams: BTreeMap::new(),
            names: BTreeSet::new(),
            offered: BTreeMap::new(),
            queueing: BTreeMap::new(),
            running: Running::default(),
            deadlines: BTreeSet::new(),
            cascades: BTreeSet::new(),
            serving: BTreeMap::new(),
            placed: BTreeMap::new(),
            member_deadlines: BTreeSet::new(),
            stranded: BTreeSet::new(),
            adrift: BTreeSet::new(),
            orphans: BTreeSet::new(),
            dissolving: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            expiries: Expiries::default(),
        }
    }

    /// The board's own counters.
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Takes a finished task back into memory, whole, because a command names it.
    pub fn recall(&mut self, team: TeamUid, task: Arc<Task>) {
        debug_assert!(
            task.end().is_some(),
            "only finished tasks are ever outlined"
        );
        if let Some(entry) = self
            .teams
            .get_mut(&team)
            .and_then(|board| board.tasks.get_mut(&task.id))
        {
            entry.card = Card::Whole(task);
        }
    }

    /// Lets go of a finished task, all but its stub.
    pub fn outline(&mut self, (team, task): TaskKey) {
        let Some(entry) = self
            .teams
            .get_mut(&team)
            .and_then(|board| board.tasks.get_mut(&task))
        else {
            return;
        };
        if let Card::Whole(whole) = &entry.card
            && let Some(stub) = whole.stub()
        {
            entry.card = Card::Outline(Box::new(stub));
        }
    }

    /// The next moment at which something is to be done that nobody asks for: [`tick`](crate::decide::tick).
    /// Attempts of the spared processes don't count, and those that came back count anew.
    pub fn next_deadline(&self, soft: &Soft<'_>) -> Option<Time> {
        let has_steps = self.cascades.iter().any(|key| !soft.unread.contains(key))
            || !self.stranded.is_empty()
            || !self.adrift.is_empty()
            || !self.orphans.is_empty()
            || self.dissolving.iter().any(|team| self.has_unstopped(*team));
        if has_steps {
            return Some(Time(0));
        }
        let mut of_task: Option<Time> = None;
        for (at, key) in &self.deadlines {
            // Whatever comes later is due later: nothing is due before its deadline.
            if of_task.is_some_and(|earliest| earliest <= *at) {
                break;
            }
            of_task = [of_task, self.due_at(*at, *key, soft)]
                .into_iter()
                .flatten()
                .min();
        }
        let of_member = self.member_deadlines.first().map(|(at, _)| *at);
        let of_team = self.tombstones.first();
        let of_team = of_team.map(|(at, _)| *at + soft.tombstones_kept);
        let of_expiry = self.expiries.next(soft.tasks_kept);
        [of_task, of_member, of_team, of_expiry]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a task is to be looked at whose deadline this is, with what is known beside the board;
    /// none while its worker's process is spared.
    pub(crate) fn due_at(&self, at: Time, key: TaskKey, soft: &Soft<'_>) -> Option<Time> {
        if soft.spared.is_empty() && soft.came_back.is_empty() {
            return Some(at);
        }
        let task = self.whole(key);
        let Some((task, placement)) = task.and_then(|task| Some((task, task.placement()?))) else {
            return Some(at);
        };
        if soft.spared.contains(&placement.instance) {
            return None;
        }
        match soft.came_back.get(&placement.instance) {
            Some(since) => wakes_since(task, *since),
            None => Some(at),
        }
    }

    /// A member's mailbox; none when it is empty.
    pub fn mailbox(&self, team: TeamUid, member: &MemberName) -> Option<&Mailbox> {
        self.teams.get(&team)?.mailboxes.get(member)
    }

    pub(crate) fn card(&self, (team, task): TaskKey) -> Option<&Card> {
        Some(&self.teams.get(&team)?.tasks.get(&task)?.card)
    }

    pub(crate) fn whole(&self, key: TaskKey) -> Option<&Arc<Task>> {
        match self.card(key)? {
            Card::Whole(task) => Some(task),
            Card::Outline(_) => None,
        }
    }

    /// The last team of this name, be it open or not.
    pub fn team_named(&self, name: &str) -> Option<&Team> {
        let name = TeamName::parse(name).ok()?;
        self.team(self.last_named(&name)?)
    }

    /// The team of this uid.
    pub fn team(&self, uid: TeamUid) -> Option<&Team> {
        Some(&self.teams.get(&uid)?.head)
    }

    pub(crate) fn last_named(&self, name: &TeamName) -> Option<TeamUid> {
        let of_name = (name.clone(), TeamUid(0))..=(name.clone(), TeamUid(u64::MAX));
        self.names.range(of_name).next_back().map(|(_, uid)| *uid)
    }

    /// All teams that are open, by name.
    pub fn teams(&self) -> impl Iterator<Item = &Team> {
        self.teams_after(None).filter(|team| team.is_open())
    }

    /// All teams after a place, dissolved ones too, by name, then by uid.
    pub fn teams_after(&self, after: Option<(TeamName, TeamUid)>) -> impl Iterator<Item = &Team> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.names.range((from, Bound::Unbounded));
        rest.map(|(_, uid)| &self.teams[uid].head)
    }

    /// All teams, dissolved ones too, by uid.
    pub fn teams_ever(&self) -> impl Iterator<Item = &Team> {
        self.teams.values().map(|team| &team.head)
    }

    /// The workers that are members of teams, each with its teams, also those that are over.
    pub fn serving(&self) -> &BTreeMap<MemberName, BTreeSet<TeamUid>> {
        &self.serving
    }

    /// One who was ever on a team's roster.
    pub fn member_ever(&self, uid: TeamUid, name: &MemberName) -> Option<&Member> {
        self.teams.get(&uid)?.members.get(name)
    }

    /// Those who were ever on a team's roster, by name.
    pub fn members_ever(&self, uid: TeamUid) -> impl Iterator<Item = &Member> {
        self.members_after(uid, None)
    }

    /// The same after a name.
    pub fn members_after(
        &self,
        uid: TeamUid,
        after: Option<&MemberName>,
    ) -> impl Iterator<Item = &Member> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let team = self.teams.get(&uid).into_iter();
        team.flat_map(move |team| team.members.range((from, Bound::Unbounded)))
            .map(|(_, member)| member)
    }

    /// Whether a dissolved team has a task that is not being stopped, or none at all that is not
    /// over.
    pub(crate) fn has_unstopped(&self, uid: TeamUid) -> bool {
        let index = &self.teams[&uid].index;
        index.open.is_empty() || index.open.len() > index.stopping
    }

    /// Those on a team's roster, by name.
    pub fn members(&self, uid: TeamUid) -> impl Iterator<Item = &Member> {
        self.teams
            .get(&uid)
            .into_iter()
            .flat_map(|team| team.members.values())
            .filter(|member| member.is_present())
    }

    /// A member on a team's roster.
    pub fn member(&self, uid: TeamUid, name: &MemberName) -> Option<&Member> {
        let member = self.teams.get(&uid)?.members.get(name)?;
        member.is_present().then_some(member)
    }

    /// The agent types that are offered, were of late, or are expected, by name.
    pub fn offered(&self) -> impl Iterator<Item = &OfferedType> {
        self.offered.values()
    }

    /// One agent type.
    pub fn offered_type(&self, name: &AgentTypeName) -> Option<&OfferedType> {
        self.offered.get(name)
    }

    /// Whether any task may go to a worker, if there is one that fits.
    pub fn is_queueing(&self) -> bool {
        !self.queueing.is_empty()
    }

    /// The bounds on how many tasks workers have, over all teams.
    pub fn limits(&self) -> &RunningLimits {
        &self.limits
    }

    /// How many tasks workers have, over all teams.
    pub fn running_in_all(&self) -> u32 {
        self.running.all
    }

    /// How many of them are of an agent type.
    pub fn running_of_type(&self, agent_type: &AgentTypeName) -> u32 {
        self.running.of_type(agent_type)
    }

    /// How many of them have a label, where that bounds how much runs.
    pub fn running_with_label(&self, label: &str) -> u32 {
        self.running.of_label(label)
    }

    /// The process of the worker that has a task.
    pub fn instance_of(&self, key: TaskKey) -> Option<InstanceId> {
        Some(self.whole(key)?.placement()?.instance)
    }

    /// What a worker's process holds, with fences.
    pub fn held_by(&self, instance: InstanceId) -> Vec<Fence> {
        let keys = self.placed.get(&instance).into_iter().flatten();
        keys.filter_map(|key| self.fence(*key)).collect()
    }

    /// How many attempts a worker's process holds.
    pub fn held_count(&self, instance: InstanceId) -> usize {
        self.placed.get(&instance).map_or(0, BTreeSet::len)
    }

    /// The worker processes that hold something, each with its worker's name.
    pub fn holders(&self) -> BTreeMap<InstanceId, crate::id::WorkerName> {
        let name = |keys: &BTreeSet<TaskKey>| {
            let task = self.whole(*keys.first()?)?;
            Some(task.placement()?.worker.clone())
        };
        self.placed
            .iter()
            .filter_map(|(instance, keys)| Some((*instance, name(keys)?)))
            .collect()
    }

    /// The fence of a task's running attempt.
    pub fn fence(&self, key: TaskKey) -> Option<Fence> {
        let placement = self.whole(key)?.placement()?;
        Some(Fence {
            epoch: self.meta.epoch,
            team: key.0,
            task: key.1,
            attempt: placement.attempt,
        })
    }

    /// How a task ended, if it is over.
    pub fn ended(&self, key: TaskKey) -> Option<EndStatus> {
        match self.card(key)? {
            Card::Whole(task) => Some(task.end()?.status),
            Card::Outline(stub) => Some(stub.status),
        }
    }
}

/// The blockers that hold a task back, and the first of the children that do where it joins some.
pub(crate) fn open_blockers<'t>(
    team: &'t TeamBoard,
    task: &'t Task,
) -> impl Iterator<Item = TaskId> + 't {
    let blockers = task.blocked_by.iter().copied();
    let blockers = blockers.filter(move |id| is_open(&team.tasks, task, *id));
    let children = team.index.joining.holders(task);
    let children = children.filter(|id| !task.blocked_by.contains(id));
    blockers.chain(children.take(JOIN_SHOWN))
}

pub(crate) fn is_open(tasks: &Shelf<Entry>, task: &Task, blocker: TaskId) -> bool {
    // While a board is being loaded a blocker may not be there yet; it will remark this task when
    // it comes.
    tasks
        .get(&blocker)
        .is_none_or(|blocker| blocker.card.holds_back(task.blocker_failed_policy))
}

/// Whether any of these is so, looked for from both ends: blockers mostly end in order, be it
/// forwards or backwards, so that one that is open is found soon. From one end, a thousand tasks
/// that wait for the same thousand would look at a thousand blockers each, at every ending.
pub(crate) fn is_any(ids: &[TaskId], is_so: impl Fn(TaskId) -> bool) -> bool {
    let from_both_ends = ids.iter().zip(ids.iter().rev());
    from_both_ends
        .take(ids.len().div_ceil(2))
        .any(|(first, last)| is_so(*first) || is_so(*last))
}

/// Limits that a board as a whole has.
pub(crate) fn has_room_for_teams(board: &Board) -> bool {
    board.teams.len() < limits::TEAMS_MAX
}
