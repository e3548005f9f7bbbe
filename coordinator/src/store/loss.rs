//! Going on without what is missing, because a person says so (P3a).
//!
//! Nothing that was handed out may be handed out again: so the board gets a new epoch, and every
//! counter is raised by all that is missing, whoever it was handed out by. After an unclean stop
//! nobody knows what the last second handed out, so they are raised by some more.

use std::{collections::BTreeSet, path::Path};

use board::{
    event::{Actor, Event, Happening},
    id::{Epoch, MessageId, Revision, TaskId, TeamUid},
    record::Meta,
    team::Team,
    time::Time,
};

use super::{
    Opened, StoreError,
    codec::{
        CodecError, Names, check_mark, decode_letter, decode_member, decode_stub, decode_task,
        decode_team, encode_event_pages, encode_meta, encode_team,
    },
    database,
    handed::Handed,
    key,
    mark::{self, Mark},
    sled_store::SledStore,
    stage::{Stage, Writes},
    tally,
};

/// What is added after an unclean stop: more than a second can hand out.
const UNCLEAN_EXTRA: u64 = 65_536;

/// Records that are removed at once: longer bursts make sled bloat or hang.
const REMOVED_AT_ONCE: usize = 256;

impl SledStore {
    /// Looks through all that a start reads, and notes what is not as the last commit left it.
    pub(super) fn survey(&mut self) -> Result<(), StoreError> {
        let found = self.count_again()?;
        let differs = |range: &&[u8]| {
            let expected = self.tallies.get(range);
            found.get(range).differs(expected, tally::name(range))
        };
        let missing: Vec<String> = tally::RANGES.iter().filter_map(differs).collect();
        for missing in missing {
            if !self.missing.contains(&missing) {
                self.missing.push(missing);
            }
        }
        Ok(())
    }

    /// Makes a whole board of what is there, under a new epoch, and marks it.
    pub(super) fn accept_loss(
        &mut self,
        dir: &Path,
        mark: Option<Mark>,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let mut missing = self.missing.join("; ");
        let dropped = self.drop_loose()?;
        if dropped > 0 {
            missing += &format!("; {dropped} records that belong to nothing any more are dropped");
        }
        let found = self.mark();
        let is_clean = mark.is_some_and(|mark| mark.is_clean && mark.commit >= found.commit);
        let expected = self
            .expected
            .max(mark.map_or(Handed::default(), |mark| mark.handed));
        let deficit = found.handed.behind(expected);
        let extra = if is_clean { 0 } else { UNCLEAN_EXTRA };
        let raise = Raise {
            ids: deficit.ids.saturating_add(extra),
            revisions: deficit.revisions.saturating_add(extra),
            at: mark.map_or(found.at, |mark| mark.at.max(found.at)),
            missing: missing.into(),
        };
        tracing::error!(
            missing = &*raise.missing,
            ids = deficit.ids,
            revisions = deficit.revisions,
            raised_by = raise.ids,
            is_clean,
            epoch = format!("{:032x}", epoch.0),
            "going on without what is missing, as --accept-loss says: every counter is raised, and \
             whatever worked for this board is stale"
        );
        let commit = mark.map_or(0, |mark| mark.commit).max(found.commit);
        self.opened = Opened {
            commit: commit.saturating_add(1),
            time: raise.at,
        };
        self.tallies = self.count_again()?;
        self.live_bytes = self.count_bytes()?;
        self.write(|store| store.stage_raise(&raise, epoch))?;
        self.missing.clear();
        mark::write_both(dir, &self.mark())
    }

    fn stage_raise(&mut self, raise: &Raise, epoch: Epoch) -> Result<Writes, StoreError> {
        let teams = self.teams()?;
        let mut stage = Stage::new(&self.db, &self.at, self.live_bytes, self.tallies);
        let last = teams.iter().map(|team| team.uid.0).max().unwrap_or(0);
        let last = self.counters.last_team().max(last);
        let meta = Meta {
            epoch,
            last_team: TeamUid(last.saturating_add(raise.ids)),
        };
        stage.put(key::meta(), encode_meta(&meta))?;
        self.counters.note_meta(&meta);
        self.epoch = epoch;
        for mut team in teams {
            raise.counters_of(&mut team);
            stage.put(key::team(team.uid), encode_team(&team))?;
            self.counters.note_team(&team);
            let event = raise.event(&team);
            self.shelves.note(team.uid, &[&event]);
            for (first, page) in encode_event_pages(&[&event]) {
                stage.put_new(key::events(team.uid, first), page)?;
            }
        }
        self.live_bytes = stage.live_bytes();
        self.tallies = stage.tallies();
        Ok(stage.into_writes())
    }

    /// Counts what lives.
    fn count_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = database::sum(&self.db, &self.at)?.bytes;
        // These two don't count.
        for key in [key::commit(), key::attempt_key()] {
            let value = database::guard(&self.at, "reading", || self.db.get(&key))?;
            let len = value.map_or(0, |value| key.len() + value.len());
            bytes = bytes.saturating_sub(len as u64);
        }
        Ok(bytes)
    }

    /// The teams that are there and not gone.
    fn teams(&self) -> Result<Vec<Team>, StoreError> {
        let mut teams = Vec::new();
        self.each_of(key::TEAMS, |key, value| {
            let team = key::team_of(key).ok_or(CodecError::Bad("key"));
            let team = team.and_then(|uid| decode_team(uid, value));
            let team = team.map_err(|error| self.explain(key, error))?;
            if !self.gone.contains(&team.uid) {
                teams.push(team);
            }
            Ok(())
        })?;
        Ok(teams)
    }

    /// Removes what can't be put together any more, or belongs to what is missing: a board is made
    /// of records that refer to each other. Answers how many there were.
    fn drop_loose(&mut self) -> Result<usize, StoreError> {
        let teams: BTreeSet<TeamUid> = self.teams()?.iter().map(|team| team.uid).collect();
        let mut loose: Vec<Vec<u8>> = Vec::new();
        let mut letters: BTreeSet<(TeamUid, MessageId)> = BTreeSet::new();
        let names = &mut Names::default();
        let ranges = [
            key::MEMBERS,
            key::OPEN_TASKS,
            key::STUBS,
            key::LETTERS,
            key::POSTS,
        ];
        for range in ranges {
            let mut pairs = self.db.scan_prefix(range);
            while let Some((key, value)) =
                database::guard(&self.at, "reading", || pairs.next().transpose())?
            {
                let (Some(team), Some(number)) = (key::team_of(&key), key::last_number(&key))
                else {
                    loose.push(key.to_vec());
                    continue;
                };
                if self.gone.contains(&team) {
                    continue;
                }
                let value = self.put_together(&key, Some(value)).ok().flatten();
                let is_sound = value.is_some_and(|value| {
                    let letter = (team, MessageId(number));
                    match range {
                        key::MEMBERS => decode_member(&value, names).is_ok(),
                        // A task that ended is no open one, too.
                        key::OPEN_TASKS => {
                            let stub = self.db.get(key::stub(team, TaskId(number)));
                            decode_task(TaskId(number), &value, names).is_ok()
                                && stub.is_ok_and(|stub| stub.is_none())
                        }
                        key::STUBS => {
                            decode_stub(TaskId(number), &value, names, || Time(0)).is_ok()
                        }
                        key::LETTERS => {
                            let is_sound = decode_letter(letter.1, &value, names).is_ok();
                            is_sound && letters.insert(letter)
                        }
                        _ => check_mark(&value).is_ok() && letters.contains(&letter),
                    }
                });
                if !is_sound || !teams.contains(&team) {
                    loose.push(key.to_vec());
                }
            }
        }
        for keys in loose.chunks(REMOVED_AT_ONCE) {
            let mut stage = Stage::new(&self.db, &self.at, self.live_bytes, self.tallies);
            for key in keys {
                stage.remove(key.clone())?;
            }
            self.live_bytes = stage.live_bytes();
            // No commit: until there is one, the board lacks what it lacked before.
            let writes = stage.into_writes();
            self.flush(writes)?;
        }
        Ok(loose.len())
    }
}

/// By how much counters are raised, and why.
struct Raise {
    ids: u64,
    revisions: u64,
    at: Time,
    missing: std::sync::Arc<str>,
}

impl Raise {
    fn counters_of(&self, team: &mut Team) {
        team.last_task = TaskId(team.last_task.0.saturating_add(self.ids));
        team.last_message = MessageId(team.last_message.0.saturating_add(self.ids));
        let revision = team.revision.0.saturating_add(self.revisions);
        // One more, for the event that says so.
        team.revision = Revision(revision).next();
    }

    fn event(&self, team: &Team) -> Event {
        Event {
            team: team.uid,
            revision: team.revision,
            at: self.at,
            actor: Actor::Coordinator,
            on_behalf_of: None,
            cause: None,
            cause_message: None,
            previous: Revision(0),
            what: Happening::LossAccepted {
                missing: self.missing.clone(),
            },
        }
    }
}
