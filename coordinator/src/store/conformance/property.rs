//! Whatever is committed, the store on the disk answers as the one in memory.

use std::{collections::BTreeSet, sync::Arc};

use board::{
    event::Event,
    id::{Epoch, MessageId, Revision, TaskId, TeamUid},
    mail::Letter,
    record::{Meta, Outcome, Record},
    task::Task,
    time::Time,
};
use proptest::{collection::vec, prelude::*};

use super::{Disk, HORIZON, Place, RETENTION, load, sweep};
use crate::store::{
    Batch, MemoryStore, Opened, OutcomesKept, Store,
    arbitrary::{self, KEYS, LETTERS, TASKS, TEAMS, request_key},
    backup_tests::Shelf,
    records::team_of,
    restore::restore,
};

/// Everything that a store answers.
#[derive(Debug, PartialEq)]
struct Answers {
    opened: Opened,
    records: Vec<Record>,
    tasks: Vec<Option<Task>>,
    letters: Vec<Option<Letter>>,
    outcomes: Vec<Option<Outcome>>,
    kept: OutcomesKept,
    events: Vec<Vec<Event>>,
    single_events: Vec<Option<Event>>,
    oldest_events: Vec<Option<Revision>>,
}

impl Answers {
    fn of(store: &mut impl Store) -> Self {
        let (opened, records) = load(store);
        let mut tasks = Vec::new();
        let mut letters = Vec::new();
        let mut events = Vec::new();
        let mut single_events = Vec::new();
        let mut oldest_events = Vec::new();
        for team in (0..=TEAMS + 1).map(TeamUid) {
            for task in 0..=TASKS + 1 {
                tasks.push(store.task(team, TaskId(task)).unwrap());
            }
            for letter in 0..=LETTERS + 1 {
                letters.push(store.letter(team, MessageId(letter)).unwrap());
            }
            oldest_events.push(store.oldest_event(team).unwrap());
            for after in [0, 1, 2, 3, 7, 20, u64::MAX] {
                single_events.push(store.event(team, Revision(after)).unwrap());
                for limit in [0, 1, 3, 1_000] {
                    events.push(store.events(team, Revision(after), limit).unwrap());
                }
            }
        }
        let outcome = |key| store.outcome(request_key(key)).unwrap();
        Self {
            opened,
            records,
            tasks,
            letters,
            outcomes: (0..KEYS).map(outcome).collect(),
            kept: store.outcomes_kept(),
            events,
            single_events,
            oldest_events,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Batch),
    /// Sweeps until there is no more.
    Sweep,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = (
        0..40_000_i64,
        vec(arbitrary::record(), 0..6),
        vec(arbitrary::event(), 0..8),
        vec(arbitrary::outcome(), 0..5),
    )
        .prop_map(|(at, records, events, outcomes)| {
            Step::Commit(Batch {
                at: Time(at),
                records,
                events,
                outcomes,
            })
        });
    vec(
        prop_oneof![
            5 => batch,
            1 => Just(Step::Sweep),
            1 => Just(Step::Reopen),
        ],
        1..12,
    )
    .prop_map(make_sensible)
}

/// Lets time go on, gives events their revisions, messages their ids, and no batch two outcomes of
/// one request. No copy of a message comes twice, and nothing of a team that is gone.
fn make_sensible(mut steps: Vec<Step>) -> Vec<Step> {
    let mut now = 0;
    let mut revisions = [0; TEAMS as usize + 1];
    let mut last_letters = [0; TEAMS as usize + 1];
    let mut posts = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for step in &mut steps {
        let Step::Commit(batch) = step else { continue };
        now += batch.at.0;
        batch.at = Time(now);
        for event in &mut batch.events {
            let revision = &mut revisions[event.team.0 as usize];
            *revision += 1;
            event.revision = Revision(*revision);
            // Now and then the clock was wrong.
            if *revision % 5 != 0 {
                event.at = batch.at;
            }
        }
        for record in &mut batch.records {
            if let Record::Letter(team, letter) = record {
                let last = &mut last_letters[team.0 as usize];
                *last += 1;
                Arc::make_mut(letter).id = MessageId(*last);
            }
        }
        let is_of_gone = |record: &Record| team_of(record).is_some_and(|team| gone.contains(&team));
        batch.records.retain(|record| !is_of_gone(record));
        batch.events.retain(|event| !gone.contains(&event.team));
        batch.records.retain(|record| match record {
            Record::Post(team, member, id) => posts.insert((*team, member.clone(), *id)),
            Record::TeamGone(team) => gone.insert(*team),
            _ => true,
        });
        let mut keys = BTreeSet::new();
        batch
            .outcomes
            .retain(|outcome| keys.insert(outcome.request.key));
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_answers_as_the_one_in_memory(steps in steps()) {
        let disk = Disk::new();
        let mut store = disk.open();
        let mut memory = MemoryStore::that_forgets(HORIZON, RETENTION);

        let mut now = 0;
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    now = batch.at.0;
                    store.commit(&batch).unwrap();
                    memory.commit(&batch).unwrap();
                }
                Step::Sweep => {
                    sweep(&mut store, now);
                    sweep(&mut memory, now);
                }
                Step::Reopen => {
                    drop(store);
                    store = disk.open();
                }
            }
            prop_assert_eq!(Answers::of(&mut store), Answers::of(&mut memory));
        }

        store.check_counts();
        let copy = tempfile::tempdir().unwrap();
        store.export(copy.path()).unwrap();
        drop(store);
        let mut copy = Disk(copy).open();
        prop_assert_eq!(Answers::of(&mut copy), Answers::of(&mut memory));
        copy.check_counts();
    }
    #[test]
    fn a_backup_is_the_board_as_it_was_at_its_commit(
        steps in steps(),
        paces in vec(0..40_usize, 12),
    ) {
        let disk = Disk::new();
        let mut store = disk.open();
        let mut memory = MemoryStore::that_forgets(HORIZON, RETENTION);
        let first = Batch {
            records: vec![Record::Meta(META)],
            ..Batch::default()
        };
        store.commit(&first).unwrap();
        memory.commit(&first).unwrap();

        let mut now = 0;
        let mut shelf = begin_backup(&mut store);
        // The last one is finished whatever came before.
        let steps = steps.iter().zip(paces).chain([(&Step::Sweep, usize::MAX)]);
        for (step, pace) in steps {
            match step {
                Step::Commit(batch) => {
                    now = batch.at.0;
                    store.commit(batch).unwrap();
                    memory.commit(batch).unwrap();
                }
                Step::Sweep | Step::Reopen => {
                    sweep(&mut store, now);
                    sweep(&mut memory, now);
                }
            }
            let goes_on = (0..pace).all(|_| store.back_up());
            if !goes_on {
                check_backup(&shelf, &mut memory)?;
                shelf = begin_backup(&mut store);
            }
        }
    }
}

fn begin_backup(store: &mut impl Store) -> Shelf {
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    shelf
}

const META: Meta = Meta {
    epoch: Epoch(1),
    last_team: TeamUid(TEAMS),
};

/// Restores a backup, and compares.
fn check_backup(shelf: &Shelf, memory: &mut MemoryStore) -> Result<(), TestCaseError> {
    let mut expected = Answers::of(memory);
    prop_assert_eq!(shelf.ended(), Some(Ok(expected.opened.commit)));
    let dir = tempfile::tempdir().unwrap();
    restore(dir.path(), &*shelf.bytes(), Epoch(9)).unwrap();
    let mut restored = Disk(dir).open();

    restored.check_counts();
    let Some(Record::Meta(meta)) = expected.records.first_mut() else {
        panic!("the counters come first");
    };
    meta.epoch = Epoch(9);
    prop_assert_eq!(Answers::of(&mut restored), expected);
    Ok(())
}
