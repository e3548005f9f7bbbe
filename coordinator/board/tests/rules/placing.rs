//! Which waiting task goes to which worker (D10, W2, K13).

use std::collections::BTreeMap;

use board::{
    command::{FleetCommand, NewTask, Wish},
    id::{TaskId, TeamName, TeamUid},
    placement::{self, Assignment, Moment, Offer, Slots, Why, place},
    task::{Priority, Status},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::support::*;

/// A worker that is not heard of.
const SILENT: &str = "w13";

pub fn offer(worker: &str, free: u32) -> Offer {
    Offer {
        worker: worker_name(worker),
        instance: instance(worker),
        slots: 9,
        free,
        types: [agent_type("coder")].into(),
        teams: None,
        labels: [].into(),
    }
}

/// Places, and says which task went where: `u2 → w1` is task #2 of team `u`.
pub fn placed(script: &Script, offers: &[Offer], most: usize) -> Vec<String> {
    placed_by(script, &mut Slots::of(offers.iter().cloned()), most)
}

fn placed_by(script: &Script, slots: &mut Slots, most: usize) -> Vec<String> {
    let moment = Moment {
        now: script.now,
        is_heard: &|worker| worker.as_str() != SILENT,
    };
    let assignments = place(&script.board, slots, moment, most);
    let line = |a: &Assignment| {
        let team = script.board.team(a.task.0).unwrap();
        format!("{}{} → {}", team.name, a.task.1, a.worker)
    };
    assignments.iter().map(line).collect()
}

fn prior(priority: Priority, task: NewTask) -> NewTask {
    NewTask { priority, ..task }
}

#[test]
fn the_oldest_goes_first_to_the_worker_with_most_free_slots() {
    let script = Script::given(&[job("a"), card("for a claim"), job("b"), job("c")]);

    let all = placed(&script, &[offer("w1", 1), offer("w2", 2)], 9);

    assert_eq!(all, ["t1 → w2", "t3 → w1", "t4 → w2"]);
}

#[test]
fn no_more_is_placed_than_asked_for_or_than_there_are_slots() {
    let script = Script::given(&[job("a"), job("b"), job("c")]);

    assert_eq!(placed(&script, &[offer("w1", 9)], 2).len(), 2);
    assert_eq!(placed(&script, &[offer("w1", 2)], 9).len(), 2);
    assert_eq!(placed(&script, &[offer("w1", 0)], 9).len(), 0);
    assert_eq!(placed(&script, &[], 9).len(), 0);
}

/// D10: a priority is worth some waiting, and no more: nothing starves.
#[test]
fn a_priority_goes_before_what_waits_less_than_it_is_worth() {
    let table = [
        (Priority::Normal, 299, ["t2 → w1", "t1 → w1"]),
        (Priority::Normal, 301, ["t1 → w1", "t2 → w1"]),
        (Priority::High, 899, ["t2 → w1", "t1 → w1"]),
        (Priority::High, 901, ["t1 → w1", "t2 → w1"]),
        (Priority::Critical, 3_599, ["t2 → w1", "t1 → w1"]),
        (Priority::Critical, 3_601, ["t1 → w1", "t2 → w1"]),
    ];
    for (priority, later, expected) in table {
        let mut script = Script::given(&[prior(Priority::Low, job("a"))]);
        script.after(secs(later));
        script.create(LEAD, &[prior(priority, job("b"))]).unwrap();

        let order = placed(&script, &[offer("w1", 2)], 9);

        assert_eq!(order, expected, "{priority:?} {later} s later");
    }
}

/// D10.
#[test]
fn the_team_that_runs_least_goes_first() {
    let mut script = Script::given(&vec![job("a"); 4]);
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let u = TeamName::parse("u").unwrap();
    script.dispatch(1, "w9");
    script.after(secs(9_000));
    let later = Wish::CreateTasks(u, vec![job("b"); 3]);
    script.by(LEAD, later).unwrap();

    let turns = placed(&script, &[offer("w1", 5)], 9);

    let expected = ["u1 → w1", "t2 → w1", "u2 → w1", "t3 → w1", "u3 → w1"];
    assert_eq!(turns, expected);
}

#[test]
fn a_worker_gets_only_what_it_offers_to_run() {
    let mut script = Script::new();
    script.join("w2");
    let shell = NewTask {
        agent_type: Some(agent_type("shell")),
        prompt: "true".into(),
        ..card("a")
    };
    let batch = [shell, owned_by("w2", job("b")), job("c")];
    script.create(LEAD, &batch).unwrap();
    let elsewhere = Offer {
        teams: Some([TeamUid(9)].into()),
        ..offer("w3", 9)
    };
    let here = Offer {
        teams: Some([TEAM].into()),
        ..offer("w4", 1)
    };

    assert_eq!(placed(&script, &[offer("w1", 9)], 9), ["t3 → w1"]);
    assert_eq!(
        placed(&script, &[offer("w2", 9)], 9),
        ["t2 → w2", "t3 → w2"]
    );
    assert_eq!(placed(&script, &[elsewhere, here], 9), ["t3 → w4"]);
}

#[test]
fn a_busy_hosted_member_holds_up_nobody_else() {
    let mut script = Script::given(&[
        owned_by("hana", card("a")),
        owned_by("hana", job("b")),
        owned_by("hugo", card("c")),
        job("d"),
    ]);

    let first = placed(&script, &[offer("w1", 9)], 9);
    script.dispatch(1, "w1");
    let then = placed(&script, &[offer("w1", 9)], 9);
    script.end(1, done(""));
    let at_last = placed(&script, &[offer("w1", 9)], 9);

    assert_eq!(first, ["t1 → w1", "t3 → w1", "t4 → w1"]);
    assert_eq!(then, ["t3 → w1", "t4 → w1"]);
    assert_eq!(at_last, ["t2 → w1", "t3 → w1", "t4 → w1"]);
}

/// What a task waits for is counted from when it could have run.
#[test]
fn a_freed_task_goes_behind_what_was_ready_before() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.after(secs(1));
    script.create(LEAD, &[job("c")]).unwrap();
    script.after(secs(1));
    script.set(LEAD, 1, Status::Completed).unwrap();

    let order = placed(&script, &[offer("w1", 9)], 9);

    assert_eq!(order, ["t3 → w1", "t2 → w1"]);
}

fn in_zone(zone: &str, task: NewTask) -> NewTask {
    NewTask {
        worker_labels: [("zone".into(), zone.into())].into(),
        ..task
    }
}

fn zoned(zone: &str, offer: Offer) -> Offer {
    Offer {
        labels: [("zone".into(), zone.into())].into(),
        ..offer
    }
}

/// Why a task waits, in words, with these offers.
pub fn why(script: &Script, offers: &[Offer], task: u64) -> Vec<String> {
    let moment = Moment {
        now: script.now,
        is_heard: &|worker| worker.as_str() != SILENT,
    };
    let slots = Slots::of(offers.iter().cloned());
    let reasons = placement::why(&script.board, &slots, moment, key(task));
    let line = |why: &Why| format!("{}: {why}", why.word());
    reasons.iter().map(line).collect()
}

#[test]
fn a_task_goes_only_to_a_worker_with_the_labels_that_it_wants() {
    let script = Script::given(&[
        in_zone("east", job("a")),
        in_zone("west", job("b")),
        job("c"),
    ]);
    let west = zoned("west", offer("w2", 2));
    let both = [zoned("south", offer("w1", 9)), west];

    assert_eq!(placed(&script, &both, 9), ["t2 → w2", "t3 → w1"]);
    let missing = "NO_WORKER_FOR_LABELS: no connected worker that offers coder has zone=east; on \
                   connected workers zone is south, west";
    assert_eq!(why(&script, &both, 1), [missing]);
    let plain = [offer("w1", 1)];
    let none = "NO_WORKER_FOR_LABELS: no connected worker that offers coder has zone=east; on \
                connected workers none has zone";
    assert_eq!(why(&script, &plain, 1), [none]);
    let nobody = "NO_WORKER_FOR_TYPE: no connected worker offers coder";
    assert_eq!(why(&script, &[], 1), [nobody]);
    assert_eq!(why(&script, &[], 3), [nobody]);
}

#[test]
fn a_worker_that_is_not_heard_of_is_given_nothing() {
    let script = Script::given(&[job("a"), job("b")]);
    let both = [offer(SILENT, 9), offer("w1", 1)];

    assert_eq!(placed(&script, &both, 9), ["t1 → w1"]);
    let nobody = "NO_WORKER_FOR_TYPE: no connected worker offers coder";
    assert_eq!(why(&script, &[offer(SILENT, 9)], 1), [nobody]);
}

/// D10: ageing. However much of what is critical comes after it, a low task waits an hour at the
/// most for a slot that gets free.
#[test]
fn what_is_low_is_not_starved_by_what_is_critical() {
    let mut script = Script::given(&[prior(Priority::Low, job("a"))]);
    script.is_checked = false;
    let began = script.now;
    let is_there = |placed: &[String]| placed == ["t1 → w1"];

    let mut turns = 0;
    loop {
        script
            .create(LEAD, &[prior(Priority::Critical, job("b"))])
            .unwrap();
        let given = placed(&script, &[offer("w1", 1)], 9);
        if is_there(&given) {
            break;
        }
        let task: u64 = given[0]
            .trim_start_matches('t')
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        script.dispatch(task, "w1");
        script.after(secs(60));
        script.end(task, done(""));
        turns += 1;
        assert!(turns < 100, "it is starved");
    }

    assert_eq!(script.now.since(began), secs(3_600));
}

#[test]
fn a_retry_is_kept_from_the_worker_that_lost_it_while_another_could_take_it() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    script.lose(1);
    let busy = [offer("w1", 2), offer("w2", 0)];

    // The one behind it is not held up, and neither is it where there is another slot.
    assert_eq!(placed(&script, &busy, 9), ["t2 → w1"]);
    let kept = "AVOIDS_WORKER: is kept from w1, where its last attempts came to nothing, while \
                another worker could take it, for 61 s more at the most";
    assert_eq!(why(&script, &busy, 1), [kept]);
    let free = [offer("w1", 2), offer("w2", 1)];
    assert_eq!(placed(&script, &free, 9), ["t1 → w2", "t2 → w1"]);
    // Nobody else could ever take it.
    assert_eq!(
        placed(&script, &[offer("w1", 2)], 9),
        ["t1 → w1", "t2 → w1"]
    );
    let elsewhere = Offer {
        teams: Some([TeamUid(9)].into()),
        ..offer("w2", 0)
    };
    let alone = [offer("w1", 2), elsewhere, offer(SILENT, 0)];
    assert_eq!(placed(&script, &alone, 9), ["t1 → w1", "t2 → w1"]);

    script.after(secs(60));
    assert_eq!(placed(&script, &busy, 9), ["t1 → w1", "t2 → w1"]);
}

/// A worker that was started again may lose the task again; a process that refused it may be
/// another by now.
#[test]
fn who_lost_a_task_is_avoided_by_name_and_who_refused_it_by_its_process() {
    let mut script = Script::given(&[job("a")]);
    let again = |worker: &str| Offer {
        instance: instance("w99"),
        ..offer(worker, 1)
    };
    script.dispatch(1, "w1");
    script.lose(1);
    assert_eq!(placed(&script, &[again("w1"), offer("w2", 0)], 9), [""; 0]);
    script.dispatch(1, "w2");
    script.hand_back(1, "no room");
    script.until_due();

    let both = [offer("w1", 1), offer("w2", 1), offer("w3", 0)];
    assert_eq!(placed(&script, &both, 9), [""; 0]);
    let others = [offer("w1", 1), again("w2")];
    assert_eq!(placed(&script, &others, 9), ["t1 → w2"]);
    // What never arrived says nothing of its worker, and takes back nothing either.
    script.dispatch(1, "w2");
    let fence = script.running(1).0;
    script.fleet(FleetCommand::NeverArrived(key(1), fence.attempt));
    assert_eq!(
        placed(&script, &[offer("w1", 1), offer("w2", 1)], 9),
        ["t1 → w2"]
    );
    // What came of it since is what counts.
    script.dispatch(1, "w2");
    script.end(1, done(""));
    let reopen = Wish::ReopenTask(t(), TaskId(1), None, "again".into());
    script.by(LEAD, reopen).unwrap();
    assert_eq!(placed(&script, &both, 9), ["t1 → w1"]);
}

/// A task that may go to one worker only has no other to go to.
#[test]
fn a_workers_own_task_goes_back_to_it_at_once() {
    let mut script = Script::new();
    script.join("w1");
    script.create(LEAD, &[owned_by("w1", job("a"))]).unwrap();
    script.dispatch(1, "w1");
    script.lose(1);

    let both = [offer("w1", 1), offer("w2", 1)];

    assert_eq!(placed(&script, &both, 9), ["t1 → w1"]);
    let gone =
        "NO_WORKER_FOR_TYPE: worker w1, whose it is, is not connected or does not offer coder";
    assert_eq!(why(&script, &[offer("w2", 1)], 1), [gone]);
}

/// What there is for each type, and who stands where, comes out the same whether it is kept up or
/// made anew.
#[test]
fn slots_that_are_kept_up_equal_slots_that_are_made_anew() {
    #[derive(Debug, Clone)]
    enum Change {
        Put(u8, u32, u8),
        Remove(u8),
        SetFree(u8, u32),
    }
    let name = |worker: u8| format!("w{worker}");
    let built = |worker: u8, free: u32, bits: u8| {
        let types = ["coder", "prover", "shell"].into_iter().enumerate();
        let types = types.filter(|(at, _)| bits & (1 << at) != 0);
        Offer {
            types: types.map(|(_, name)| agent_type(name)).collect(),
            teams: (bits & 8 != 0).then(|| [TEAM, TeamUid(u64::from(bits >> 6))].into()),
            ..zoned(
                if bits & 16 == 0 { "east" } else { "west" },
                offer(&name(worker), free),
            )
        }
    };
    let change = prop_oneof![
        3 => (0..6_u8, 0..4_u32, any::<u8>()).prop_map(|(w, f, b)| Change::Put(w, f, b)),
        1 => (0..6_u8).prop_map(Change::Remove),
        3 => (0..6_u8, 0..4_u32).prop_map(|(w, f)| Change::SetFree(w, f)),
    ];
    let changes = prop::collection::vec(change, 1..40);
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };

    let outcome = TestRunner::new(config).run(&changes, |changes| {
        let mut kept = Slots::default();
        let mut plain: BTreeMap<String, Offer> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(worker, free, bits) => {
                    kept.put(built(worker, free, bits));
                    plain.insert(name(worker), built(worker, free, bits));
                }
                Change::Remove(worker) => {
                    kept.remove(&worker_name(&name(worker)));
                    plain.remove(&name(worker));
                }
                Change::SetFree(worker, free) => {
                    kept.set_free(&worker_name(&name(worker)), free);
                    if let Some(offer) = plain.get_mut(&name(worker)) {
                        offer.free = free;
                    }
                }
            }
            prop_assert_eq!(&kept, &Slots::of(plain.values().cloned()));
            let coder = agent_type("coder");
            let of_type = plain.values().filter(|offer| offer.types.contains(&coder));
            let free: u32 = of_type.map(|offer| offer.free).sum();
            prop_assert_eq!(kept.supply(&coder).free, free);
        }
        Ok(())
    });

    outcome.unwrap();
}
