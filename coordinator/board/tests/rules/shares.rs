//! What each may have of the fleet: weights, and bounds on how much runs (D10).

use board::{
    command::{FleetCommand, NewTask, TeamChanges, Update, Wish},
    id::{TaskId, TaskKey, TeamName, TeamUid},
    limits::{self, RunningLimits},
    placement::{Moment, Slots, place},
    refusal::Refusal,
    task::Status,
};

use crate::{
    placing::{offer, placed, why},
    support::*,
};

fn labelled(label: &str, task: NewTask) -> NewTask {
    NewTask {
        labels: vec![label.into()],
        ..task
    }
}

fn part_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

fn share(team: &str, weight: u32, max_running: u32) -> Wish {
    let changes = TeamChanges {
        weight: Some(weight),
        max_running: Some(max_running),
        ..TeamChanges::default()
    };
    Wish::UpdateTeam(TeamName::parse(team).unwrap(), changes)
}

fn window(task: u64, window: u32) -> Wish {
    let update = Update {
        window: Some(window),
        ..Update::default()
    };
    Wish::UpdateTask(t(), TaskId(task), Box::new(update))
}

#[test]
fn no_more_children_of_a_task_run_than_its_window_has_room_for() {
    let parent = NewTask {
        window: 2,
        ..card("all")
    };
    let mut script = Script::given(&[parent]);
    script.create(LEAD, &vec![part_of(1, job("a")); 4]).unwrap();
    script.create(LEAD, &[job("b")]).unwrap();
    let w1 = [offer("w1", 9)];

    assert_eq!(placed(&script, &w1, 9), ["t2 → w1", "t3 → w1", "t6 → w1"]);
    script.dispatch(2, "w1");
    assert_eq!(placed(&script, &w1, 9), ["t3 → w1", "t6 → w1"]);
    script.dispatch(3, "w1");
    assert_eq!(placed(&script, &w1, 9), ["t6 → w1"]);
    let full = ["WINDOW_FULL: 2 children of #1 run, and 2 may"];
    assert_eq!(why(&script, &w1, 4), full);
    script.by(LEAD, window(1, 3)).unwrap();
    assert_eq!(placed(&script, &w1, 9), ["t4 → w1", "t6 → w1"]);
    script.by(LEAD, window(1, 1)).unwrap();
    assert_eq!(placed(&script, &w1, 9), ["t6 → w1"]);
    // A parent that is over bounds nothing any more.
    script.set(LEAD, 1, Status::Completed).unwrap();
    assert_eq!(placed(&script, &w1, 9), ["t4 → w1", "t5 → w1", "t6 → w1"]);
}

#[test]
fn no_more_of_a_type_or_a_label_runs_than_is_bounded_over_all_teams() {
    let limits = RunningLimits {
        agent_types: [(agent_type("coder"), 3)].into(),
        labels: [("model:opus".into(), 1), ("off".into(), 0)].into(),
    };
    let mut script = Script::within(limits);
    let opus = || labelled("model:opus", job("a"));
    let off = labelled("off", job("b"));
    script
        .create(LEAD, &[opus(), opus(), off, job("c")])
        .unwrap();
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let u = TeamName::parse("u").unwrap();
    let others = Wish::CreateTasks(u, vec![opus(), job("d"), job("e")]);
    script.by(LEAD, others).unwrap();
    let w1 = [offer("w1", 9)];

    // Of seven, one may be labelled so, and three may be coders.
    assert_eq!(placed(&script, &w1, 9), ["t1 → w1", "u2 → w1", "t4 → w1"]);
    script.dispatch(1, "w1");
    assert_eq!(placed(&script, &w1, 9), ["u2 → w1", "t4 → w1"]);
    let opus = "LABEL_AT_LIMIT: 1 tasks labelled model:opus run, and 1 may";
    assert_eq!(why(&script, &w1, 2), [opus]);
    assert_eq!(
        why(&script, &w1, 3),
        ["LABEL_AT_LIMIT: 0 tasks labelled off run, and 0 may"]
    );
    assert_eq!(why(&script, &w1, 4), [""; 0]);
    script.dispatch(4, "w1");
    let more = Wish::CreateTasks(t(), vec![job("f"), job("g")]);
    script.by(LEAD, more).unwrap();
    script.dispatch(5, "w1");
    assert_eq!(placed(&script, &w1, 9), [""; 0]);
    let coder = "TYPE_AT_LIMIT: 3 tasks of coder run, and 3 may";
    assert_eq!(why(&script, &w1, 6), [coder]);
    assert_eq!(why(&script, &w1, 2), [coder, opus]);
    // What was counted is let go as it was counted, whatever its card says by then.
    let unlabel = Update {
        remove_labels: vec!["model:opus".into()],
        ..Update::default()
    };
    script.update(LEAD, 1, unlabel).unwrap();
    script.end(1, done(""));
    assert_eq!(script.board.running_with_label("model:opus"), 0);
    assert_eq!(script.board.running_of_type(&agent_type("coder")), 2);
    assert_eq!(script.board.running_in_all(), 2);
    assert_eq!(placed(&script, &w1, 9), ["u1 → w1"]);
}

#[test]
fn a_team_runs_no_more_than_it_may_and_leaves_the_rest_to_others() {
    let mut script = Script::given(&vec![job("a"); 4]);
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let u = TeamName::parse("u").unwrap();
    script
        .by(LEAD, Wish::CreateTasks(u, vec![job("b"); 3]))
        .unwrap();
    script.by(LEAD, share("t", 1, 2)).unwrap();
    let w1 = [offer("w1", 9)];

    let first = placed(&script, &w1, 9);
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");
    let then = placed(&script, &w1, 9);

    let expected = ["t1 → w1", "u1 → w1", "t2 → w1", "u2 → w1", "u3 → w1"];
    assert_eq!(first, expected);
    assert_eq!(then, ["u1 → w1", "u2 → w1", "u3 → w1"]);
    let at_limit = "TEAM_AT_LIMIT: its team runs 2 tasks, and may run 2";
    assert_eq!(why(&script, &w1, 3), [at_limit]);
    script.by(LEAD, share("t", 1, 0)).unwrap();
    assert_eq!(why(&script, &w1, 3), [""; 0]);
}

/// D10: whatever ends, and in whichever order, slots go to teams as their weights are.
#[test]
fn shares_come_to_be_as_the_weights_are() {
    let mut script = Script::given(&vec![job("a"); 60]);
    script.is_checked = false;
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let u = TeamName::parse("u").unwrap();
    script
        .by(LEAD, Wish::CreateTasks(u, vec![job("b"); 60]))
        .unwrap();
    script.by(LEAD, share("u", 3, 0)).unwrap();
    let mut slots = Slots::of([offer("w1", 8)]);
    let moment = |script: &Script| script.now;
    let mut running: Vec<TaskKey> = vec![];
    for turn in 0..40_usize {
        let moment = Moment {
            now: moment(&script),
            is_heard: &|_| true,
        };
        for given in place(&script.board, &mut slots, moment, 9) {
            script.fleet(FleetCommand::Dispatch(
                given.task,
                given.worker,
                given.instance,
            ));
            running.push(given.task);
        }

        let of_u = running.iter().filter(|key| key.0 == TeamUid(2)).count();
        assert_eq!((running.len() - of_u, of_u), (2, 6), "at turn {turn}");

        let key = running.remove(turn * 5 % running.len());
        let fence = script.board.fence(key).unwrap();
        script.fleet(FleetCommand::Ended {
            fence,
            instance: instance("w1"),
            report: done(""),
        });
        slots.set_free(&worker_name("w1"), 1);
    }
    script.check();
}

#[test]
fn a_lead_sets_the_share_of_its_team_and_nobody_else() {
    let mut script = Script::new();

    let told = script.by(LEAD, share("t", 3, 20)).unwrap();

    told.is(&["lead: team updated"]);
    let head = script.board.team(TEAM).unwrap();
    assert_eq!((head.weight, head.max_running), (3, 20));
    script.by(LEAD, share("t", 3, 20)).unwrap().is(&[]);
    let refused = script.by("alice", share("t", 9, 0)).unwrap_err();
    assert!(matches!(refused, Refusal::LeadOnly { .. }), "{refused:?}");
}

#[test]
fn each_bound_of_what_may_run_holds_at_it_and_refuses_one_past_it() {
    let mut script = Script::given(&[card("a")]);
    let field = |came: Step| match came.unwrap_err() {
        Refusal::BadValue { field, .. } => field,
        other => panic!("{other:?}"),
    };

    script.by(LEAD, share("t", 1, limits::RUNNING_MAX)).unwrap();
    script.by(LEAD, share("t", limits::WEIGHT_MAX, 0)).unwrap();
    script.by(LEAD, window(1, limits::RUNNING_MAX)).unwrap();
    let refused = [
        share("t", 0, 0),
        share("t", limits::WEIGHT_MAX + 1, 0),
        share("t", 1, limits::RUNNING_MAX + 1),
        window(1, limits::RUNNING_MAX + 1),
    ];
    let fields = refused.map(|wish| field(script.by(LEAD, wish)));

    assert_eq!(fields, ["weight", "weight", "max_running", "window"]);
    let wide = NewTask {
        window: limits::RUNNING_MAX + 1,
        ..card("b")
    };
    assert_eq!(field(script.create(LEAD, &[wide])), "window");
    let wants = |count: usize| NewTask {
        worker_labels: (0..count)
            .map(|n| (n.to_string().into(), "x".into()))
            .collect(),
        ..card("c")
    };
    script
        .create(LEAD, &[wants(limits::WORKER_LABELS_MAX)])
        .unwrap();
    script
        .create(LEAD, &[wants(limits::WORKER_LABELS_MAX + 1)])
        .unwrap_err();
}
