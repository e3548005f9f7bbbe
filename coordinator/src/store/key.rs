//! The layout: one ordered space of keys, told apart by their first byte.
//!
//! Numbers are big-endian, so that they sort. What a start needs (`g k l m n o p q r s t x`) and what
//! it doesn't (`c e f`) have prefixes of their own, so that it scans no more than it must.

use board::id::{AgentTypeName, MemberName, MessageId, Revision, TaskId, TeamUid};

pub(super) const ATTEMPT_KEY: &[u8] = b"k";
const EVENTS: &[u8] = b"e";
pub(super) const FINISHED_TASKS: &[u8] = b"f";
pub(super) const GONE_TEAMS: &[u8] = b"x";
pub(super) const LETTERS: &[u8] = b"l";
pub(super) const MEMBERS: &[u8] = b"p";
pub(super) const META: &[u8] = b"m";
pub(super) const OFFERED: &[u8] = b"t";
pub(super) const OPEN_TASKS: &[u8] = b"o";
pub(super) const OUTCOMES: &[u8] = b"r";
pub(super) const POSTS: &[u8] = b"q";
pub(super) const STUBS: &[u8] = b"s";
pub(super) const TEAMS: &[u8] = b"g";

/// No key of events is after this one.
pub(super) const LAST_EVENTS: &[u8] = &[b'e', 255, 255, 255, 255, 255, 255, 255, 255, 255];

/// A piece of a value that is too long for one record: `PIECES`, its key, its index.
const PIECES: u8 = b'c';

/// The number and time of the last commit.
pub(super) fn commit() -> Vec<u8> {
    b"n".to_vec()
}

/// The board's counters.
pub(super) fn meta() -> Vec<u8> {
    META.to_vec()
}

/// The key of attempts' secrets. It is never in a backup.
pub(super) fn attempt_key() -> Vec<u8> {
    ATTEMPT_KEY.to_vec()
}

/// Whether what lies under a key is left out of backups.
pub(super) fn is_left_out(key: &[u8]) -> bool {
    key == ATTEMPT_KEY
}

/// A team.
pub(super) fn team(team: TeamUid) -> Vec<u8> {
    of_team(TEAMS[0], team)
}

/// A member.
pub(super) fn member(team: TeamUid, name: &MemberName) -> Vec<u8> {
    let mut key = of_team(MEMBERS[0], team);
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// A task that is not over, whole.
pub(super) fn open_task(team: TeamUid, task: TaskId) -> Vec<u8> {
    in_team(OPEN_TASKS[0], team, task.0)
}

/// A task that is over, whole.
pub(super) fn finished_task(team: TeamUid, task: TaskId) -> Vec<u8> {
    in_team(FINISHED_TASKS[0], team, task.0)
}

/// What a start needs of a task that is over.
pub(super) fn stub(team: TeamUid, task: TaskId) -> Vec<u8> {
    in_team(STUBS[0], team, task.0)
}

/// A page of a team's events, of which `first` is the first.
pub(super) fn events(team: TeamUid, first: Revision) -> Vec<u8> {
    in_team(EVENTS[0], team, first.0)
}

/// A message.
pub(super) fn letter(team: TeamUid, letter: MessageId) -> Vec<u8> {
    in_team(LETTERS[0], team, letter.0)
}

/// A copy of a message in a member's mailbox.
pub(super) fn post(team: TeamUid, member: &MemberName, letter: MessageId) -> Vec<u8> {
    let mut key = of_team(POSTS[0], team);
    key.extend_from_slice(member.as_str().as_bytes());
    key.extend_from_slice(&letter.0.to_be_bytes());
    key
}

/// That a team is there no more, while some of what was its own still lies here.
pub(super) fn gone_team(team: TeamUid) -> Vec<u8> {
    of_team(GONE_TEAMS[0], team)
}

/// The prefixes of all that is a team's own.
pub(super) fn all_of_team(team: TeamUid) -> impl Iterator<Item = Vec<u8>> {
    let prefixes = [
        OPEN_TASKS,
        STUBS,
        FINISHED_TASKS,
        LETTERS,
        POSTS,
        EVENTS,
        MEMBERS,
        TEAMS,
    ];
    prefixes
        .into_iter()
        .map(move |prefix| of_team(prefix[0], team))
}

/// An offered agent type.
pub(super) fn offered(name: &AgentTypeName) -> Vec<u8> {
    let mut key = OFFERED.to_vec();
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// A page of outcomes.
pub(super) fn outcomes(page: u64) -> Vec<u8> {
    let mut key = OUTCOMES.to_vec();
    key.extend_from_slice(&page.to_be_bytes());
    key
}

/// A piece of the value under `key`.
pub(super) fn piece(key: &[u8], index: u16) -> Vec<u8> {
    let mut piece = Vec::with_capacity(key.len() + 3);
    piece.push(PIECES);
    piece.extend_from_slice(key);
    piece.extend_from_slice(&index.to_be_bytes());
    piece
}

/// The number at the end of a key: a task's or message's id, a page's revision or number.
pub(super) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().copied().map(u64::from_be_bytes)
}

/// The member in the key of a copy of a message.
pub(super) fn member_of(post: &[u8]) -> Option<&str> {
    let (rest, _) = post.split_last_chunk::<8>()?;
    std::str::from_utf8(rest.get(9..)?).ok()
}

/// The team that a key belongs to.
pub(super) fn team_of(key: &[u8]) -> Option<TeamUid> {
    let bytes = key.get(1..)?.first_chunk().copied()?;
    Some(TeamUid(u64::from_be_bytes(bytes)))
}

fn of_team(prefix: u8, team: TeamUid) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(prefix);
    key.extend_from_slice(&team.0.to_be_bytes());
    key
}

fn in_team(prefix: u8, team: TeamUid, number: u64) -> Vec<u8> {
    let mut key = of_team(prefix, team);
    key.extend_from_slice(&number.to_be_bytes());
    key
}
