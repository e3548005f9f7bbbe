//! Where each kind of record lies.

use std::collections::BTreeSet;

use board::{
    id::{TaskId, TeamUid},
    record::Record,
    task::Task,
};

use super::{
    StoreError,
    codec::{
        encode_letter, encode_mark, encode_member, encode_meta, encode_offered, encode_stub,
        encode_task, encode_team,
    },
    key,
    stage::Stage,
};

/// Stages a record. Of the teams in `gone` nothing is written but that they are.
pub(super) fn put_record(
    record: &Record,
    gone: &BTreeSet<TeamUid>,
    stage: &mut Stage<'_>,
) -> Result<(), StoreError> {
    if team_of(record).is_some_and(|team| gone.contains(&team)) {
        return match record {
            Record::TeamGone(team) => stage.put(key::gone_team(*team), encode_mark()),
            _ => Ok(()),
        };
    }
    match record {
        Record::Meta(meta) => stage.put(key::meta(), encode_meta(meta)),
        Record::Team(team) => stage.put(key::team(team.uid), encode_team(team)),
        Record::Member(team, member) => {
            stage.put(key::member(*team, &member.name), encode_member(member))
        }
        Record::Task(team, task) => put_task(*team, task, stage),
        // It came from here, and its task is kept whole.
        Record::Stub(..) => Ok(()),
        Record::Offered(offered) => stage.put(key::offered(&offered.name), encode_offered(offered)),
        Record::OfferedGone(name) => stage.remove(key::offered(name)),
        Record::Letter(team, letter) => {
            stage.put(key::letter(*team, letter.id), encode_letter(letter))
        }
        Record::Post(team, member, id) => stage.put(key::post(*team, member, *id), encode_mark()),
        Record::TaskGone(team, task) => remove_task(*team, *task, stage),
        Record::LetterGone(team, id) => stage.remove(key::letter(*team, *id)),
        Record::PostGone(team, member, id) => stage.remove(key::post(*team, member, *id)),
        Record::TeamGone(_) => Ok(()),
    }
}

/// The team that a record is of.
pub(super) fn team_of(record: &Record) -> Option<TeamUid> {
    match record {
        Record::Meta(_) | Record::Offered(_) | Record::OfferedGone(_) => None,
        Record::Team(team) => Some(team.uid),
        Record::Member(team, _)
        | Record::Task(team, _)
        | Record::Stub(team, _)
        | Record::Letter(team, _)
        | Record::Post(team, ..)
        | Record::TaskGone(team, _)
        | Record::LetterGone(team, _)
        | Record::PostGone(team, ..)
        | Record::TeamGone(team) => Some(*team),
    }
}

/// A task lies either under its open key or under its finished one, the latter with a stub.
fn put_task(team: TeamUid, task: &Task, stage: &mut Stage<'_>) -> Result<(), StoreError> {
    let open = key::open_task(team, task.id);
    let finished = key::finished_task(team, task.id);
    let stub_key = key::stub(team, task.id);
    if let Some(stub) = task.stub() {
        stage.remove(open)?;
        stage.put(stub_key, encode_stub(&stub))?;
        return stage.put(finished, encode_task(task));
    }
    if !stage.has(&open)? && stage.has(&stub_key)? {
        stage.remove(stub_key)?;
        stage.remove(finished)?;
    }
    stage.put(open, encode_task(task))
}

fn remove_task(team: TeamUid, task: TaskId, stage: &mut Stage<'_>) -> Result<(), StoreError> {
    stage.remove(key::open_task(team, task))?;
    stage.remove(key::finished_task(team, task))?;
    stage.remove(key::stub(team, task))
}
