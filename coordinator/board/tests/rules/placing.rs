//! Which waiting task goes to which worker (D10, W2, K13).

use board::{
    command::{NewTask, Wish},
    id::{TeamName, TeamUid},
    placement::{Offer, place},
    task::Priority,
};

use crate::support::*;

fn offer(worker: &str, free: u32) -> Offer {
    Offer {
        worker: worker_name(worker),
        instance: instance(worker),
        free,
        types: [agent_type("coder")].into(),
        teams: None,
    }
}

/// Places, and says which task went where: `u2 → w1` is task #2 of team `u`.
fn placed(script: &Script, offers: &[Offer], most: usize) -> Vec<String> {
    let assignments = place(&script.board, offers.to_vec(), most);
    let line = |a: &board::placement::Assignment| {
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
    script.set(LEAD, 1, board::task::Status::Completed).unwrap();

    let order = placed(&script, &[offer("w1", 9)], 9);

    assert_eq!(order, ["t3 → w1", "t2 → w1"]);
}
