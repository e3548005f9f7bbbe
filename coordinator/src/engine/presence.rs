//! Who was heard of, and when: soft state, which a restart forgets.

use std::collections::BTreeMap;

use board::{
    Board,
    command::Caller,
    id::{MemberKey, MemberName, TeamUid},
    time::Time,
};

/// When the members of all teams were last heard of.
#[derive(Debug)]
pub(super) struct Presence {
    /// Nobody can have been heard of before this coordinator started: until a member is, it
    /// counts as heard of then, so that a restart takes no claim away.
    since: Time,
    heard: BTreeMap<MemberKey, Time>,
}

impl Presence {
    pub(super) fn new(since: Time) -> Self {
        Self {
            since,
            heard: BTreeMap::new(),
        }
    }

    /// Notes that somebody calls in a team; without a name it is the lead.
    pub(super) fn note(&mut self, board: &Board, team: &str, caller: &Caller, now: Time) {
        if caller.attempt.is_some() {
            return;
        }
        let Some(team) = board.team_named(team) else {
            return;
        };
        let name = caller.member.as_ref().unwrap_or(&team.lead);
        let is_its = |incarnation| {
            caller
                .incarnation
                .is_none_or(|wanted| wanted == incarnation)
        };
        if let Some(member) = board.member(team.uid, name)
            && is_its(member.incarnation.0)
        {
            self.heard.insert((team.uid, name.clone()), now);
        }
    }

    /// When a member was last heard of, or this coordinator started.
    pub(super) fn seen(&self, team: TeamUid, member: &MemberName) -> Time {
        self.heard(team, member).unwrap_or(self.since)
    }

    /// When a member was last heard of, if it was since this coordinator started.
    pub(super) fn heard(&self, team: TeamUid, member: &MemberName) -> Option<Time> {
        self.heard.get(&(team, member.clone())).copied()
    }

    /// Forgets a member who has left.
    pub(super) fn forget(&mut self, key: &MemberKey) {
        self.heard.remove(key);
    }

    /// Forgets the members of a team that is there no more.
    pub(super) fn forget_team(&mut self, gone: TeamUid) {
        self.heard.retain(|(team, _), _| *team != gone);
    }
}
