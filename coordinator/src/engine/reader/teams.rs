//! Looking at teams and their members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use board::{
    Board,
    command::Caller,
    decide,
    event::{Actor, Event},
    id::{MemberName, Revision, TaskId, TeamName, TeamUid, WorkerName},
    limits,
    refusal::Refusal,
    task::{Placement, Task},
    team::{Member, MemberKind, Team},
    time::Time,
    view::Counts,
};

use super::{PAGE_BYTES_MAX, Page, Reader};
use crate::{
    engine::{
        Engine,
        failure::Unread,
        liveness::{Contact, Known, Living, Run, STALL_SPAN, judge},
    },
    fleet::Standing,
    hub::{WATCHERS_MAX, Watcher},
};

/// A team, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamView {
    /// Its record.
    pub team: Team,
    /// Its tasks, counted.
    pub counts: Counts,
    /// Members on its roster.
    pub members: usize,
    /// The oldest revision whose event is kept; the next one where none is.
    pub oldest: Revision,
    /// Its tasks that workers run.
    pub running: u32,
}

/// A member, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its record.
    pub member: Member,
    /// What it owns, or runs, that is in progress.
    pub tasks: Vec<TaskId>,
    /// How it is.
    pub living: Living,
    /// How many messages wait in its mailbox.
    pub unread: usize,
}

/// A team's place in the list of all teams.
pub type TeamPlace = (TeamName, TeamUid);

/// The beginning of a watch.
#[derive(Debug)]
pub struct Watched {
    /// Tells what happens from now on.
    pub watcher: Watcher,
    /// The team as it is at this moment.
    pub view: TeamView,
}

impl Reader<'_> {
    /// Notes that somebody looks at a team. Refuses a member that isn't on its roster.
    pub fn hear(&mut self, team: &TeamName, caller: &Caller) -> Result<(), Refusal> {
        let uid = self.uid(team)?;
        if caller.attempt.is_none() {
            decide::list_of(&self.engine.board, uid, caller)?;
        }
        let engine = &mut *self.engine;
        let presence = &mut engine.presence;
        presence.note(&engine.board, team.as_str(), caller, self.now);
        Ok(())
    }

    /// One team: the last one of its name, be it over or not.
    pub fn team(&self, team: &TeamName) -> Result<TeamView, Refusal> {
        let uid = self.uid(team)?;
        let view = self.engine.team_view(uid);
        Ok(view.expect("a team found by its name"))
    }

    /// Teams after a place, by name, then by uid; those that are over where they are wished for.
    pub fn teams(
        &self,
        after: Option<TeamPlace>,
        size: usize,
        with_dissolved: bool,
    ) -> Page<TeamView, TeamPlace> {
        let place = |team: &Team| (team.name.clone(), team.uid);
        let teams = self.engine.board.teams_after(after);
        let weight = |team: &Team| team.description.len();
        pick(teams, size, place, weight, |team| {
            let is_wanted = with_dissolved || team.is_open();
            self.engine.team_view(team.uid).filter(|_| is_wanted)
        })
    }

    /// Members after a name, by name; those who left where they are wished for.
    pub fn members(
        &self,
        team: &TeamName,
        after: Option<&MemberName>,
        size: usize,
        with_gone: bool,
    ) -> Result<Page<MemberView, MemberName>, Refusal> {
        let uid = self.uid(team)?;
        let work = Work::of(&self.engine.board, uid);
        let members = self.engine.board.members_after(uid, after);
        let place = |member: &Member| member.name.clone();
        let weight = |member: &Member| {
            let texts = [&member.role, &member.description, &member.instructions];
            texts.iter().map(|text| text.len()).sum()
        };
        Ok(pick(members, size, place, weight, |member| {
            let is_wanted = with_gone || member.is_present();
            is_wanted.then(|| self.engine.member_view(uid, &work, member, self.now))
        }))
    }

    /// A watcher of a team's events, and the team as it is when the watching begins.
    pub fn watch(&self, team: &TeamName) -> Result<Watched, Refusal> {
        let view = self.team(team)?;
        let watcher = self.engine.hub.watch(view.team.uid, view.team.revision);
        let full = Refusal::Full {
            what: "watchers",
            max: WATCHERS_MAX,
        };
        Ok(Watched {
            watcher: watcher.ok_or(full)?,
            view,
        })
    }

    /// Events of a team after a revision that is not its last, oldest first and without gap.
    /// Refused when they are not kept any more.
    pub fn events(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, Refusal> {
        let stored = self.engine.store.events(team, after, limit);
        let events = stored.map_err(|failure| Unread::Events(team).because(&failure))?;
        if events.first().map(|event| event.revision) == Some(after.next()) {
            return Ok(events);
        }
        let head = self.engine.board.team(team);
        let oldest = match head {
            Some(team) => self.engine.oldest(team)?,
            None => after.next(),
        };
        Err(Refusal::RevisionGone { after, oldest })
    }
}

/// Takes a page off a list of which not everything is wanted. A bounded number is looked at, and
/// told until the page is long.
fn pick<'l, T: 'l, V, P>(
    list: impl Iterator<Item = &'l T>,
    size: usize,
    place: fn(&T) -> P,
    weight: fn(&T) -> usize,
    view: impl Fn(&T) -> Option<V>,
) -> Page<V, P> {
    /// What an entry has beside its texts.
    const ENTRY: usize = 500;
    let mut items = Vec::new();
    let mut last = None;
    let mut bytes = 0;
    for (examined, item) in list.enumerate() {
        let is_full = items.len() == size || bytes >= PAGE_BYTES_MAX;
        if is_full || examined == limits::LIST_EXAMINED_MAX {
            return Page { items, next: last };
        }
        if let Some(view) = view(item) {
            bytes += weight(item) + ENTRY;
            items.push(view);
        }
        last = Some(place(item));
    }
    Page { items, next: None }
}

/// What is in progress in a team, by everybody who has to do with it.
pub(in crate::engine) struct Work<'b> {
    by_name: BTreeMap<&'b str, Vec<&'b Arc<Task>>>,
}

impl<'b> Work<'b> {
    pub(in crate::engine) fn of(board: &'b Board, uid: TeamUid) -> Self {
        let mut by_name: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for task in board.in_progress(uid) {
            let owner = task.owner.as_ref().map(MemberName::as_str);
            let placement = task.placement();
            let runner = placement
                .and_then(|p| p.member.as_ref())
                .map(MemberName::as_str);
            let worker = placement.map(|placement| placement.worker.as_str());
            let names = [owner, runner, worker];
            let names: BTreeSet<&str> = names.into_iter().flatten().collect();
            for name in names {
                by_name.entry(name).or_default().push(task);
            }
        }
        Self { by_name }
    }

    /// The same of these members alone: what they hold, and are run at.
    pub(in crate::engine) fn of_some<'n>(
        board: &'b Board,
        uid: TeamUid,
        names: impl Iterator<Item = &'n MemberName>,
    ) -> Self {
        let mut by_name = BTreeMap::new();
        for name in names {
            let Some(member) = board.member(uid, name) else {
                continue;
            };
            if member.kind == MemberKind::Worker {
                // What it runs is looked for among everything.
                return Self::of(board, uid);
            }
            by_name.insert(member.name.as_str(), board.at_work(uid, name).collect());
        }
        Self { by_name }
    }

    /// The tasks that somebody of this name owns, holds or runs.
    fn around(&self, name: &MemberName) -> &[&'b Arc<Task>] {
        self.by_name.get(name.as_str()).map_or(&[], Vec::as_slice)
    }
}

/// The placement that makes a member one who runs a task: its own, or of a worker, any there.
fn run_by<'t>(member: &Member, task: &'t Task) -> Option<&'t Placement> {
    let is_worker = member.kind == MemberKind::Worker;
    task.placement().filter(|placement| match is_worker {
        true => placement.worker.as_str() == member.name.as_str(),
        false => placement.member.as_ref() == Some(&member.name),
    })
}

impl Engine {
    pub(in crate::engine) fn team_view(&self, uid: TeamUid) -> Option<TeamView> {
        let team = self.board.team(uid)?;
        Some(TeamView {
            counts: self.board.counts(uid),
            members: self.board.members(uid).count(),
            oldest: self.oldest(team).unwrap_or_default(),
            running: self.board.running(uid),
            team: team.clone(),
        })
    }

    /// The revision of a team's oldest event: in the store, or about to be.
    fn oldest(&self, team: &Team) -> Result<Revision, Refusal> {
        let stored = self.store.oldest_event(team.uid);
        let stored = stored.map_err(|failure| Unread::Events(team.uid).because(&failure))?;
        let first_here = || {
            let mut here = self.group.events.iter();
            here.find(|event| event.team == team.uid)
        };
        let oldest = stored.or_else(|| Some(first_here()?.revision));
        Ok(oldest.unwrap_or(team.revision.next()))
    }

    /// A member, among what is in progress in its team.
    pub(in crate::engine) fn member_view(
        &self,
        uid: TeamUid,
        work: &Work<'_>,
        member: &Member,
        now: Time,
    ) -> MemberView {
        let around = work.around(&member.name);
        let runs = |task: &&&Arc<Task>| run_by(member, task).is_some();
        let is_its = |task: &&&Arc<Task>| task.owner.as_ref() == Some(&member.name) || runs(task);
        let holds = |task: &&&Arc<Task>| {
            let claim = task.claim().map(|claim| &claim.by);
            matches!(claim, Some(Actor::Member(by)) if *by == member.name)
        };
        let known = Known {
            member,
            is_team_open: self.board.team(uid).is_some_and(Team::is_open),
            called_at: self.presence.heard(uid, &member.name),
            holds: around.iter().filter(holds).map(|task| task.id).collect(),
            runs: around
                .iter()
                .filter_map(|task| Some(self.run(uid, task, run_by(member, task)?, now)))
                .collect(),
            contact: self.contact_of(member, now),
        };
        MemberView {
            tasks: around.iter().filter(is_its).map(|task| task.id).collect(),
            living: judge(&known, now),
            unread: self.board.unread(uid, &member.name),
            member: member.clone(),
        }
    }

    pub(super) fn run(&self, uid: TeamUid, task: &Task, placement: &Placement, now: Time) -> Run {
        let instance = placement.instance;
        let entry = self.fleet.of_instance(instance);
        let fence = self.board.fence((uid, task.id));
        let contact = match (entry, self.fleet.ghost(instance)) {
            (Some(entry), _) => Some(self.contact(entry, now)),
            (None, Some(ghost)) => Some(awaited(ghost.until)),
            (None, None) => None,
        };
        Run {
            task: task.id,
            worker: placement.worker.clone(),
            contact,
            started_at: placement.started_at,
            is_stopping: placement.stop.is_some(),
            is_asking: placement.question.is_some(),
            progress_at: entry
                .zip(fence)
                .and_then(|(entry, fence)| Some(entry.heard.progress(&fence)?.at)),
            stall_span: entry
                .and_then(|entry| entry.stall_span(&self.runs_as(uid, task)?))
                .unwrap_or(STALL_SPAN),
        }
    }

    /// How far a worker that is a member can be reached.
    fn contact_of(&self, member: &Member, now: Time) -> Option<Contact> {
        if member.kind != MemberKind::Worker {
            return None;
        }
        let name = WorkerName::parse(member.name.as_str()).ok()?;
        Some(self.contact(self.fleet.worker(&name)?, now))
    }

    fn contact(&self, entry: &crate::fleet::WorkerEntry, now: Time) -> Contact {
        Contact {
            is_reached: entry.standing(now) != Standing::Unreachable,
            heard_at: Some(entry.heard.last()),
            connected_at: Some(entry.connected_at),
            lease_until: entry.lease_until(),
        }
    }

    /// A member who is, or was, on a roster.
    pub(in crate::engine) fn told_member(
        &self,
        team: TeamUid,
        name: &MemberName,
        now: Time,
    ) -> Result<MemberView, Refusal> {
        let work = Work::of(&self.board, team);
        match self.board.member_ever(team, name) {
            Some(member) => Ok(self.member_view(team, &work, member, now)),
            None => Err(Refusal::BadValue {
                field: "member",
                why: format!("{name} was never on the roster"),
            }),
        }
    }
}

fn awaited(until: Time) -> Contact {
    Contact {
        is_reached: false,
        heard_at: None,
        connected_at: None,
        lease_until: Some(until),
    }
}
