//! What comes, and is there no more.

use std::sync::Arc;

use board::{
    id::{Incarnation, MemberName, MessageId, Revision, TaskId, TeamName, TeamUid},
    mail::{Letter, MailKind, Recipients, Sender},
    record::Record,
    team::Team,
    time::Time,
};

use super::{Place, Store, batch_of, finished_task, joined, load, open_task, sweep};
use crate::store::Batch;

const TEAM: TeamUid = TeamUid(2);

fn name(text: &str) -> MemberName {
    MemberName::parse(text).unwrap()
}

fn letter(id: u64, to: Recipients) -> Letter {
    Letter {
        id: MessageId(id),
        from: Sender::Member(name("alice"), Incarnation(2)),
        to,
        kind: MailKind::Text,
        text: "long ".repeat(5_000).into(),
        summary: "s".into(),
        payload: "{}".into(),
        correlation: "c".into(),
        at: Time(7),
        task: Some(TaskId(3)),
        approve: None,
        deadline: None,
        revision: None,
    }
}

fn filed(letter: &Letter) -> Record {
    Record::Letter(TEAM, Arc::new(letter.clone()))
}

fn posted(member: &str, id: u64) -> Record {
    Record::Post(TEAM, name(member), MessageId(id))
}

pub(super) fn a_message_is_there_until_it_is_gone(place: &impl Place) {
    let one = letter(1, Recipients::One(name("bob")));
    let many = letter(2, Recipients::Many { is_broadcast: true });
    let mut store = place.open();
    let all = vec![filed(&one), filed(&many), posted("bob", 2), posted("b", 2)];
    store.commit(&batch_of(all)).unwrap();
    drop(store);

    // Messages before their copies, these by member.
    let mut store = place.open();
    let expected = [filed(&one), filed(&many), posted("b", 2), posted("bob", 2)];
    assert_eq!(load(&mut store).1, expected);
    assert_eq!(store.letter(TEAM, one.id).unwrap(), Some(one.clone()));
    assert_eq!(store.letter(TeamUid(1), one.id).unwrap(), None);

    let gone = vec![
        Record::LetterGone(TEAM, one.id),
        Record::PostGone(TEAM, name("bob"), many.id),
    ];
    store.commit(&batch_of(gone)).unwrap();
    assert_eq!(load(&mut store).1, [filed(&many), posted("b", 2)]);
    assert_eq!(store.letter(TEAM, one.id).unwrap(), None);
    let gone = vec![
        Record::PostGone(TEAM, name("b"), many.id),
        Record::LetterGone(TEAM, many.id),
    ];
    store.commit(&batch_of(gone)).unwrap();
    assert_eq!(load(&mut store).1, []);
}

pub(super) fn what_comes_and_goes_in_one_batch_is_not_there(place: &impl Place) {
    let many = letter(1, Recipients::Many { is_broadcast: true });
    let task = open_task();
    let mut store = place.open();

    let mut batch = batch_of(vec![
        filed(&many),
        posted("bob", 1),
        Record::Task(TEAM, Arc::new(task.clone())),
        Record::PostGone(TEAM, name("bob"), many.id),
        Record::LetterGone(TEAM, many.id),
        Record::TaskGone(TEAM, task.id),
    ]);
    store.commit(&batch).unwrap();

    assert_eq!(load(&mut store).1, []);
    assert_eq!(store.letter(TEAM, many.id).unwrap(), None);
    assert_eq!(store.task(TEAM, task.id).unwrap(), None);

    // The end alone, as a group has it that nets such things out.
    let batch = batch_of(batch.records.split_off(3));
    store.commit(&batch).unwrap();
    assert_eq!(load(&mut store).1, []);
}

pub(super) fn a_deleted_task_is_not_there_be_it_open_or_finished(place: &impl Place) {
    for task in [open_task(), finished_task()] {
        let mut store = place.open();
        let record = Record::Task(TEAM, Arc::new(task.clone()));
        store.commit(&batch_of(vec![record])).unwrap();
        let gone = Record::TaskGone(TEAM, task.id);

        store.commit(&batch_of(vec![gone])).unwrap();

        assert_eq!(load(&mut store).1, []);
        assert_eq!(store.task(TEAM, task.id).unwrap(), None);
    }
}

fn team(uid: TeamUid) -> Record {
    Record::Team(Team {
        weight: 1,
        max_running: 0,
        uid,
        name: TeamName::parse("team").unwrap(),
        description: "".into(),
        lead: name("lead"),
        created_at: Time(1),
        revision: Revision(3),
        last_task: TaskId(0),
        expired_through: TaskId(0),
        last_message: MessageId(1),
        closed_since_verification: 0,
        verification_threshold: 3,
        idle_notices: false,
        dissolved: None,
    })
}

fn batch_of_team(uid: TeamUid) -> Batch {
    let one = letter(1, Recipients::One(name("bob")));
    let mut batch = batch_of(vec![
        team(uid),
        Record::Task(uid, Arc::new(finished_task())),
        Record::Letter(uid, Arc::new(one)),
        Record::Post(uid, name("bob"), MessageId(4)),
    ]);
    batch.events = (1..=3).map(|at| joined(uid.0, at, "a")).collect();
    batch
}

pub(super) fn of_a_team_that_is_gone_nothing_is_answered(place: &impl Place) {
    let mut store = place.open();
    store.commit(&batch_of_team(TeamUid(1))).unwrap();
    let other = load(&mut store).1;
    store.commit(&batch_of_team(TEAM)).unwrap();

    // Whatever else the group brings, and in whatever order.
    let mut batch = batch_of(vec![Record::TeamGone(TEAM), team(TEAM)]);
    batch.events = vec![joined(TEAM.0, 4, "late")];
    store.commit(&batch).unwrap();

    drop(store);
    let mut store = place.open();
    assert_eq!(load(&mut store).1, other);
    assert_eq!(store.task(TEAM, finished_task().id).unwrap(), None);
    assert_eq!(store.letter(TEAM, MessageId(1)).unwrap(), None);
    assert_eq!(store.events(TEAM, Revision(0), 9).unwrap(), []);
    assert_eq!(store.event(TEAM, Revision(4)).unwrap(), None);
    assert_eq!(store.oldest_event(TEAM).unwrap(), None);
    let oldest = store.oldest_event(TeamUid(1)).unwrap();
    assert_eq!(oldest, Some(Revision(1)));
}

pub(super) fn a_gone_team_is_swept_and_the_others_are_left_alone(place: &impl Place) {
    let mut store = place.open();
    store.commit(&batch_of_team(TeamUid(1))).unwrap();
    store.commit(&batch_of_team(TeamUid(3))).unwrap();
    let others = load(&mut store).1;
    store.commit(&batch_of_team(TEAM)).unwrap();
    let batch = batch_of((0..1_000).map(|id| posted("bob", id)).collect());
    store.commit(&batch).unwrap();
    let batch = batch_of(vec![Record::TeamGone(TEAM)]);
    store.commit(&batch).unwrap();
    let opened = load(&mut store).0;

    // One step, and a crash.
    store.sweep(Time(9)).unwrap();
    drop(store);
    let mut store = place.open();
    sweep(&mut store, 9);

    assert_eq!(load(&mut store), (opened, others));
    for team in [1, 3].map(TeamUid) {
        assert_eq!(store.events(team, Revision(0), 9).unwrap().len(), 3);
    }
    assert_eq!(store.events(TEAM, Revision(0), 9).unwrap(), []);
}
