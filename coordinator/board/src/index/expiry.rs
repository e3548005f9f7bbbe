//! The order in which finished tasks leave a team (K15).
//!
//! They stand in line by when they ended. A task whose time came while another still needs it
//! steps aside, and is noted under the task that needs it, so that it is not looked at again
//! before that task changes. Who stands aside was found out by looking: it is not what the cards
//! say, a loaded board looks anew, and so it counts for nothing when boards are compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    command::TasksKept,
    id::{TaskId, TeamUid},
    ids::IdSet,
    time::Time,
};

/// The finished tasks of a team, in the order in which they leave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiry {
    line: BTreeSet<(Time, TaskId)>,
    /// Those that stepped aside: when each ended, and the task that needs it.
    aside: BTreeMap<TaskId, (Time, TaskId)>,
    /// The other direction.
    needing: BTreeMap<TaskId, IdSet>,
}

impl Expiry {
    /// Enters a task that ended.
    pub(crate) fn enter(&mut self, id: TaskId, ended: Time) {
        self.line.insert((ended, id));
    }

    /// Takes out a task that ended then, because it is gone or was opened again.
    pub(crate) fn leave(&mut self, id: TaskId, ended: Time) {
        if !self.line.remove(&(ended, id)) {
            self.rejoin(id);
            self.line.remove(&(ended, id));
        }
    }

    /// Lets a task step aside, because another needs it.
    pub(crate) fn set_aside(&mut self, id: TaskId, ended: Time, needed_by: TaskId) {
        if self.line.remove(&(ended, id)) {
            self.aside.insert(id, (ended, needed_by));
            self.needing.entry(needed_by).or_default().insert(id);
        }
    }

    /// Puts back in line what stepped aside for a task that may not need it any more.
    pub(crate) fn release(&mut self, needing: TaskId) {
        for id in self.needing.remove(&needing).iter().flat_map(IdSet::iter) {
            if let Some((ended, _)) = self.aside.remove(&id) {
                self.line.insert((ended, id));
            }
        }
    }

    /// Puts one task back in line, if it stepped aside for this one.
    pub(crate) fn release_one(&mut self, id: TaskId, needing: TaskId) {
        if self.aside.get(&id).is_some_and(|(_, by)| *by == needing) {
            self.rejoin(id);
        }
    }

    fn rejoin(&mut self, id: TaskId) {
        let Some((ended, by)) = self.aside.remove(&id) else {
            return;
        };
        if let Some(set) = self.needing.get_mut(&by) {
            set.remove(&id);
            if set.is_empty() {
                self.needing.remove(&by);
            }
        }
        self.line.insert((ended, id));
    }

    /// When the first in line ended.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.line.first().map(|(ended, _)| *ended)
    }

    /// How many stand in line.
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// Those whose time has come, the oldest first.
    pub(crate) fn due(
        &self,
        now: Time,
        kept: TasksKept,
    ) -> impl Iterator<Item = (Time, TaskId)> + '_ {
        let too_many = self.line.len().saturating_sub(kept.count);
        let line = self.line.iter().copied().enumerate();
        line.take_while(move |(at, (ended, _))| *at < too_many || *ended + kept.span <= now)
            .map(|(_, place)| place)
    }

    /// All of them, wherever they stand.
    pub(crate) fn all(&self) -> BTreeSet<(Time, TaskId)> {
        let aside = self.aside.iter().map(|(id, (ended, _))| (*ended, *id));
        aside.chain(self.line.iter().copied()).collect()
    }

    /// Those that stepped aside, each with the task that needs it.
    pub(crate) fn aside(&self) -> impl Iterator<Item = (TaskId, TaskId)> + '_ {
        self.aside.iter().map(|(id, (_, by))| (*id, *by))
    }

    /// Whether both directions say the same.
    pub(crate) fn is_in_step(&self) -> bool {
        let noted = self.needing.values().map(IdSet::len).sum::<usize>();
        noted == self.aside.len()
            && self.aside().all(|(id, by)| {
                let set = self.needing.get(&by);
                set.is_some_and(|set| set.contains(&id))
            })
    }
}

/// Who stands where in it was found out by looking, and is no difference.
impl PartialEq for Expiry {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Expiry {}

/// The open teams with finished tasks in line: by when the first in line ended, and by how many
/// stand there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expiries {
    oldest: BTreeSet<(Time, TeamUid)>,
    longest: BTreeSet<(usize, TeamUid)>,
}

impl Expiries {
    /// Lists a team as its line is.
    pub(crate) fn list(&mut self, team: TeamUid, line: &Expiry) {
        if let Some(oldest) = line.oldest() {
            self.oldest.insert((oldest, team));
            self.longest.insert((line.len(), team));
        }
    }

    /// Takes a team off, whose line is as it was when it was listed.
    pub(crate) fn unlist(&mut self, team: TeamUid, line: &Expiry) {
        if let Some(oldest) = line.oldest() {
            self.oldest.remove(&(oldest, team));
            self.longest.remove(&(line.len(), team));
        }
    }

    /// When the next task's time comes.
    pub(crate) fn next(&self, kept: TasksKept) -> Option<Time> {
        if self
            .longest
            .last()
            .is_some_and(|(len, _)| *len > kept.count)
        {
            return Some(Time(0));
        }
        let (oldest, _) = self.oldest.first()?;
        Some(*oldest + kept.span)
    }

    /// The teams with tasks whose time has come, each once: those with too many first.
    pub(crate) fn due(&self, now: Time, kept: TasksKept) -> Vec<TeamUid> {
        let longest = self.longest.iter().rev();
        let crowded = longest.take_while(|(len, _)| *len > kept.count);
        let oldest = self.oldest.iter();
        let old = oldest.take_while(|(ended, _)| *ended + kept.span <= now);
        let crowded = crowded.map(|(_, team)| *team).take(TEAMS_PER_STEP);
        let mut teams: Vec<TeamUid> = crowded.collect();
        for (_, team) in old.take(TEAMS_PER_STEP) {
            if !teams.contains(team) {
                teams.push(*team);
            }
        }
        teams.truncate(TEAMS_PER_STEP);
        teams
    }

    /// When the oldest finished task of each team ended.
    pub(crate) fn oldest(&self) -> &BTreeSet<(Time, TeamUid)> {
        &self.oldest
    }

    /// How many finished tasks each team has.
    pub(crate) fn longest(&self) -> &BTreeSet<(usize, TeamUid)> {
        &self.longest
    }
}

/// How many teams one step looks at.
const TEAMS_PER_STEP: usize = 64;

/// It follows from the lines, and those differ without a difference.
impl PartialEq for Expiries {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Expiries {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEPT: TasksKept = TasksKept {
        count: 2,
        span: Duration::from_millis(100),
    };

    fn line(ended: impl IntoIterator<Item = i64>) -> Expiry {
        let mut line = Expiry::default();
        for (id, ended) in (1..).zip(ended) {
            line.enter(TaskId(id), Time(ended));
        }
        line
    }

    fn due(line: &Expiry, now: i64) -> Vec<u64> {
        line.due(Time(now), KEPT).map(|(_, id)| id.0).collect()
    }

    #[test]
    fn those_beyond_the_count_and_those_past_the_span_are_due() {
        let line = line([30, 10, 20, 20]);

        assert_eq!(due(&line, 100), [2, 3]);
        assert_eq!(due(&line, 119), [2, 3]);
        assert_eq!(due(&line, 120), [2, 3, 4]);
        assert_eq!(due(&line, 130), [2, 3, 4, 1]);
    }

    #[test]
    fn a_team_that_is_over_both_bounds_is_looked_at_once() {
        let mut teams = Expiries::default();
        teams.list(TeamUid(1), &line([10, 20]));
        teams.list(TeamUid(2), &line([10, 20, 30]));
        teams.list(TeamUid(3), &line([900]));

        assert_eq!(teams.due(Time(110), KEPT), [TeamUid(2), TeamUid(1)]);
    }

    #[test]
    fn who_stepped_aside_counts_again_when_it_is_let_go() {
        let mut held = line([10, 20, 30, 40]);
        held.set_aside(TaskId(1), Time(10), TaskId(9));
        held.set_aside(TaskId(2), Time(20), TaskId(9));
        assert_eq!((due(&held, 50), held.len()), (vec![], 2));
        assert!(held.is_in_step() && held == line([10, 20, 30, 40]));

        held.release_one(TaskId(1), TaskId(8));
        assert_eq!(held.len(), 2);
        held.release_one(TaskId(1), TaskId(9));
        assert_eq!(due(&held, 50), [1]);
        held.leave(TaskId(2), Time(20));
        held.release(TaskId(9));

        assert_eq!((held.len(), held.aside().count()), (3, 0));
        assert!(held.is_in_step() && held.needing.is_empty());
    }
}
