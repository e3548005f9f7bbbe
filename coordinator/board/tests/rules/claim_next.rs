//! Taking the best task that is ready (K12, D10).

use std::sync::Arc;

use board::{
    command::{Answer, ClaimNext, Lease, NewTask, Removal, Update, Wish},
    id::TaskId,
    task::{AttemptEnding, BlockerFailedPolicy, Priority, Retry, Status},
};

use crate::support::*;

fn next(labels: &[&str], priority_min: Option<Priority>) -> Wish {
    let wanted = ClaimNext {
        labels: labels.iter().map(|label| (*label).into()).collect(),
        priority_min,
        lease: Lease::default(),
    };
    Wish::ClaimNext(t(), wanted)
}

/// The task that a member gets next.
fn taken(script: &mut Script, who: &str, wish: Wish) -> Option<u64> {
    let told = script.by(who, wish).unwrap();
    match told.answer {
        Answer::Task((TEAM, task)) => {
            let claimed = format!("{who}: #{task} claimed by {who} as attempt ");
            assert!(told.lines[0].starts_with(&claimed), "{:?}", told.lines);
            assert_eq!(told.lines.len(), 1);
            Some(task.0)
        }
        Answer::NothingReady => {
            told.is(&[]);
            assert_eq!(told.decision.records, []);
            None
        }
        other => panic!("{other:?}"),
    }
}

/// All that a member gets, until nothing is ready for it.
fn all_taken(script: &mut Script, who: &str, wish: &Wish) -> Vec<u64> {
    std::iter::from_fn(|| taken(script, who, wish.clone())).collect()
}

fn prior(priority: Priority, task: NewTask) -> NewTask {
    NewTask { priority, ..task }
}

fn labelled(labels: &[&str], task: NewTask) -> NewTask {
    let labels: Vec<Arc<str>> = labels.iter().map(|label| (*label).into()).collect();
    NewTask { labels, ..task }
}

#[test]
fn the_oldest_is_taken_first_and_of_one_age_the_least_id() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.after(secs(1));
    script.create(LEAD, &[card("c"), card("d")]).unwrap();
    // What is freed, given back or resumed is ready from then on.
    let release = Wish::ReleaseTask(t(), TaskId(1), None, "".into());
    script.claim("bob", 1).unwrap();
    script.after(secs(1)).by("bob", release).unwrap();

    assert_eq!(
        all_taken(&mut script, "alice", &next(&[], None)),
        [2, 3, 4, 1]
    );
}

/// A priority is worth so much waiting, as where workers wait for tasks.
#[test]
fn a_priority_goes_before_what_waits_less_than_it_is_worth() {
    let table = [
        (Priority::Normal, 299, [2, 1]),
        (Priority::Normal, 301, [1, 2]),
        (Priority::High, 899, [2, 1]),
        (Priority::High, 901, [1, 2]),
        (Priority::Critical, 3_599, [2, 1]),
        (Priority::Critical, 3_601, [1, 2]),
    ];
    for (priority, later, expected) in table {
        let mut script = Script::given(&[prior(Priority::Low, card("a"))]);
        script.after(secs(later));
        script.create(LEAD, &[prior(priority, card("b"))]).unwrap();

        let order = all_taken(&mut script, "alice", &next(&[], None));

        assert_eq!(order, expected, "{priority:?} {later} s later");
    }
}

/// At the same rank what is one's own goes before what is nobody's; otherwise the rank decides.
#[test]
fn ones_own_goes_before_nobodys_of_the_same_rank() {
    let mut script = Script::given(&[card("a"), owned_by("alice", card("own"))]);
    script.after(secs(1));
    let later = [owned_by("alice", card("own, later")), card("b, later")];
    script.create(LEAD, &later).unwrap();

    let order = all_taken(&mut script, "alice", &next(&[], None));

    assert_eq!(order, [2, 1, 3, 4]);
}

#[test]
fn what_is_not_free_for_a_claim_is_never_taken() {
    let mut script = Script::new();
    script.join("w1");
    script
        .create(
            LEAD,
            &[
                job("for a worker"),
                owned_by("hana", card("for a hosted member")),
                owned_by("w1", job("of a worker")),
                owned_by("bob", card("another's")),
                card("paused"),
                card("blocker"),
                waits_for([6], card("blocked")),
                card("claimed"),
                card("over"),
                NewTask {
                    retry: Some(Retry {
                        max_attempts: 9,
                        initial_backoff: secs(60),
                        max_backoff: secs(60),
                    }),
                    ..owned_by("hugo", card("backs off"))
                },
            ],
        )
        .unwrap();
    let pause = Wish::PauseTask(t(), TaskId(5), "".into());
    script.by(LEAD, pause).unwrap();
    script.claim("bob", 6).unwrap();
    script.claim("bob", 8).unwrap();
    script.set(LEAD, 9, Status::Completed).unwrap();
    // It waits for its next try, and has come to be nobody's.
    script.dispatch(10, "w1");
    script.end(10, report(AttemptEnding::Failed, "", "boom"));
    let nobodys = Update {
        owner: Some(None),
        ..Update::default()
    };
    script.update(LEAD, 10, nobodys).unwrap();

    assert_eq!(taken(&mut script, "alice", next(&[], None)), None);
    // Each of them is, once nothing is in its way.
    script.by(LEAD, Wish::ResumeTask(t(), TaskId(5))).unwrap();
    script.set(LEAD, 6, Status::Completed).unwrap();
    let view = script.board.view(key(10)).unwrap();
    let waits = view.task.waiting().unwrap().not_before.unwrap();
    script.now = waits;
    script.tick().unwrap();
    let mut rest = all_taken(&mut script, "alice", &next(&[], None));
    rest.sort_unstable();
    assert_eq!(rest, [5, 7, 10]);
}

#[test]
fn only_what_has_all_of_the_labels_is_taken() {
    let mut script = Script::given(&[
        card("none"),
        labelled(&["red"], card("a")),
        labelled(&["red", "big"], card("b")),
        owned_by("alice", labelled(&["big"], card("own"))),
        owned_by("alice", labelled(&["red", "big"], card("own"))),
        labelled(&["big", "old", "red"], card("c")),
    ]);

    let both = all_taken(&mut script.clone(), "alice", &next(&["red", "big"], None));
    let turned = all_taken(&mut script.clone(), "alice", &next(&["big", "red"], None));
    let red = all_taken(&mut script.clone(), "bob", &next(&["red"], None));
    let green = all_taken(&mut script, "alice", &next(&["red", "green"], None));

    assert_eq!(both, [5, 3, 6]);
    assert_eq!(turned, both);
    assert_eq!(red, [2, 3, 6]);
    assert_eq!(green, [0; 0]);
}

/// Labels and priorities that changed are what counts.
#[test]
fn what_is_wanted_is_compared_with_the_task_as_it_is() {
    let mut script = Script::given(&[labelled(&["red"], card("a")), card("b")]);
    let turn = |add: &str, remove: &str, priority| Update {
        add_labels: vec![add.into()],
        remove_labels: vec![remove.into()],
        priority: Some(priority),
        ..Update::default()
    };
    script
        .update(LEAD, 1, turn("blue", "red", Priority::Low))
        .unwrap();
    script
        .update(LEAD, 2, turn("red", "blue", Priority::High))
        .unwrap();

    let red = taken(&mut script.clone(), "alice", next(&["red"], None));
    let blue = taken(&mut script.clone(), "alice", next(&["blue"], None));
    let high = taken(
        &mut script.clone(),
        "alice",
        next(&[], Some(Priority::High)),
    );
    let low_blue = next(&["blue"], Some(Priority::Normal));

    assert_eq!((red, blue, high), (Some(2), Some(1), Some(2)));
    assert_eq!(taken(&mut script, "alice", low_blue), None);
}

#[test]
fn only_what_is_urgent_enough_is_taken() {
    let all = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    let mut tasks: Vec<NewTask> = all.map(|each| prior(each, card("a"))).to_vec();
    tasks.extend(all.map(|each| owned_by("alice", prior(each, card("own")))));
    let script = Script::given(&tasks);

    for (least, expected) in [
        (Priority::Low, &[8, 4, 7, 3, 6, 2, 5, 1][..]),
        (Priority::Normal, &[8, 4, 7, 3, 6, 2]),
        (Priority::High, &[8, 4, 7, 3]),
        (Priority::Critical, &[8, 4]),
    ] {
        let mut script = script.clone();
        let order = all_taken(&mut script, "alice", &next(&[], Some(least)));
        assert_eq!(order, expected, "{least:?}");
    }
}

/// Q12: whoever asks gets another one, until none is left; then each is told that there is none.
#[test]
fn of_many_who_ask_exactly_one_gets_each() {
    let mut script = Script::given(&vec![card("a"); 30]);
    let askers = ["alice", "bob", LEAD];

    let wish = next(&[], None);
    let rounds = (0..36).map(|turn| taken(&mut script, askers[turn % 3], wish.clone()));
    let taken: Vec<Option<u64>> = rounds.collect();

    let expected: Vec<Option<u64>> = (1..=36).map(|id| (id <= 30).then_some(id)).collect();
    assert_eq!(taken, expected);
    let holders = (1..=30).map(|id| script.task(id).owner.clone().unwrap());
    let turns = (0..30).map(|turn| name(askers[turn % 3]));
    assert!(holders.eq(turns));
}

/// The lease that was asked for counts, and what is over or given back comes again.
#[test]
fn what_its_holder_loses_is_taken_by_the_next_who_asks() {
    let mut script = Script::given(&[card("a")]);
    let short = ClaimNext {
        lease: Lease(Some(secs(5))),
        ..ClaimNext::default()
    };
    script.by("alice", Wish::ClaimNext(t(), short)).unwrap();
    assert_eq!(taken(&mut script, "bob", next(&[], None)), None);

    script.after(secs(5)).tick().unwrap();

    assert_eq!(taken(&mut script, "bob", next(&[], None)), Some(1));
    assert_eq!(script.task(1).last_attempt.0, 2);
}

/// Whose blocker failed and who goes ahead all the same; whose owner left.
#[test]
fn what_comes_free_in_any_way_is_taken() {
    let mut script = Script::given(&[
        card("a"),
        NewTask {
            blocker_failed_policy: BlockerFailedPolicy::Proceed,
            ..waits_for([1], card("b"))
        },
        owned_by("bob", card("c")),
    ]);
    script.set(LEAD, 1, Status::Failed).unwrap();
    let leave = Wish::RemoveMember(t(), name("bob"), Removal::default());
    script.by("bob", leave).unwrap();

    assert_eq!(all_taken(&mut script, "alice", &next(&[], None)), [2, 3]);
}
