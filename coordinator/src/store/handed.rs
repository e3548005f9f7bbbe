//! How many ids and revisions were handed out in all: what a loss must never let be handed out
//! again.

use std::collections::BTreeMap;

use board::{
    id::TeamUid,
    record::{Meta, Record},
    team::Team,
};

/// So many ids and revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Handed {
    /// Ids of teams, tasks and messages.
    pub(super) ids: u64,
    /// Revisions of teams.
    pub(super) revisions: u64,
}

impl Handed {
    fn by(team: &Team) -> Self {
        Self {
            ids: team.last_task.0.wrapping_add(team.last_message.0),
            revisions: team.revision.0,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            ids: self.ids.wrapping_add(other.ids),
            revisions: self.revisions.wrapping_add(other.revisions),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            ids: self.ids.wrapping_sub(other.ids),
            revisions: self.revisions.wrapping_sub(other.revisions),
        }
    }

    /// How far this is behind another one.
    pub(super) fn behind(self, other: Self) -> Self {
        Self {
            ids: other.ids.saturating_sub(self.ids),
            revisions: other.revisions.saturating_sub(self.revisions),
        }
    }

    /// The larger of both, each for itself.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            ids: self.ids.max(other.ids),
            revisions: self.revisions.max(other.revisions),
        }
    }
}

/// What was handed out, by whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    by_team: BTreeMap<TeamUid, Handed>,
    last_team: u64,
    /// By teams that are gone.
    gone: Handed,
    all: Handed,
}

impl Counters {
    /// Of a board where teams that are gone handed out so many.
    pub(super) fn new(gone: Handed) -> Self {
        Self {
            gone,
            all: gone,
            ..Self::default()
        }
    }

    /// Notes what a record says that is written.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Meta(meta) => self.note_meta(meta),
            Record::Team(team) => self.note_team(team),
            Record::TeamGone(team) => {
                let handed = self.by_team.remove(team).unwrap_or_default();
                self.gone = self.gone.and(handed);
            }
            _ => {}
        }
    }

    pub(super) fn note_meta(&mut self, meta: &Meta) {
        let before = std::mem::replace(&mut self.last_team, meta.last_team.0);
        let ids = self.all.ids.wrapping_sub(before);
        self.all.ids = ids.wrapping_add(self.last_team);
    }

    pub(super) fn note_team(&mut self, team: &Team) {
        let handed = Handed::by(team);
        let before = self.by_team.insert(team.uid, handed).unwrap_or_default();
        self.all = self.all.without(before).and(handed);
    }

    /// The last uid that was given to a team.
    pub(super) fn last_team(&self) -> u64 {
        self.last_team
    }

    /// By teams that are gone.
    pub(super) fn gone(&self) -> Handed {
        self.gone
    }

    /// In all.
    pub(super) fn all(&self) -> Handed {
        self.all
    }
}
