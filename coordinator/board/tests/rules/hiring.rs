//! What sub-agents may make: others that run, how deep below them (D7); tasks, how many; teams.

use board::{
    command::{FleetCommand, NewTask, Update, Wish},
    id::{AttemptNumber, TaskId},
    limits,
    record::OfferedType,
    refusal::{Refusal, Staleness},
    task::{Hirer, Status},
};

use crate::support::*;

fn run_by(name: &str) -> NewTask {
    NewTask {
        agent_type: Some(agent_type(name)),
        ..card(name)
    }
}

/// With types that may hire 1, 2 and 3 deep, each with a task that runs: #1, #2, #3; #4 is one of
/// `coder`, which may not hire.
fn with_bosses() -> Script {
    let mut script = Script::new();
    let types = ["one", "two", "three"].into_iter().zip(1..);
    let types = types.map(|(name, depth)| hiring(name, depth));
    script.fleet(FleetCommand::OfferTypes(types.collect()));
    let tasks = ["one", "two", "three", "coder"].map(run_by);
    script.create(LEAD, &tasks).unwrap();
    for task in 1..=4 {
        script.dispatch(task, "w1");
    }
    script
}

/// Lets the sub-agent of a task's first attempt hire, and what it hired run. Answers the new task.
fn hire(script: &mut Script, by: u64, agent_type: &str) -> Result<u64, Refusal> {
    script.by_agent(by, 1, create(&[delegated(run_by(agent_type))]))?;
    let id = script.board.team(TEAM).unwrap().last_task.0;
    script.dispatch(id, "w1");
    Ok(id)
}

fn refused(agent_type: &str, depth: u32, allowed: u32) -> Refusal {
    Refusal::HiringRefused {
        agent_type: crate::support::agent_type(agent_type),
        depth,
        allowed,
    }
}

fn left(script: &Script, task: u64) -> u32 {
    let (left, absent) = script.board.hiring_left(key(task));
    assert_eq!(absent, None);
    left
}

#[test]
fn a_sub_agent_hires_only_if_its_type_allows_it() {
    let mut script = with_bosses();
    for new in [
        delegated(run_by("coder")),
        run_by("coder"),
        delegated(card("for nobody")),
    ] {
        let wish = create(&[new]);
        assert_eq!(
            script.by_agent(4, 1, wish).unwrap_err(),
            refused("coder", 1, 0)
        );
    }

    script
        .by_agent(4, 1, create(&[card("a note of its own")]))
        .unwrap();
    let hired = hire(&mut script, 1, "coder").unwrap();

    let task = script.task(hired);
    assert_eq!(task.parent, Some(TaskId(1)));
    let hirer = Hirer {
        task: TaskId(1),
        attempt: AttemptNumber(1),
    };
    assert_eq!(task.terms().hired_by, Some(hirer));
}

#[test]
fn everybody_up_the_chain_bounds_how_deep_it_goes() {
    let mut script = with_bosses();

    // What a type with depth 1 hires may not hire, whatever its own type allows.
    let below_one = hire(&mut script, 1, "three").unwrap();
    assert_eq!(
        hire(&mut script, below_one, "coder").unwrap_err(),
        refused("one", 2, 1)
    );
    // Depth 2 carries two levels; not if the one between allows none.
    let below_two = hire(&mut script, 2, "one").unwrap();
    let at_the_end = hire(&mut script, below_two, "three").unwrap();
    assert_eq!(
        hire(&mut script, at_the_end, "coder").unwrap_err(),
        refused("one", 2, 1)
    );
    let between = hire(&mut script, 2, "coder").unwrap();
    assert_eq!(
        hire(&mut script, between, "coder").unwrap_err(),
        refused("coder", 1, 0)
    );
    // Three is the most.
    let first = hire(&mut script, 3, "three").unwrap();
    let second = hire(&mut script, first, "three").unwrap();
    let third = hire(&mut script, second, "three").unwrap();
    assert_eq!(
        hire(&mut script, third, "three").unwrap_err(),
        refused("three", 4, 3)
    );

    let lefts = [
        1, 2, 3, 4, below_one, below_two, at_the_end, first, second, third,
    ];
    let lefts = lefts.map(|task| left(&script, task));
    assert_eq!(lefts, [1, 2, 3, 0, 0, 1, 0, 2, 1, 0]);
}

#[test]
fn a_plan_that_the_lead_made_is_not_hired_and_bounds_nobody() {
    let mut script = with_bosses();
    script.create(LEAD, &[part_of(4, run_by("one"))]).unwrap();
    script.dispatch(5, "w1");

    let hired = hire(&mut script, 5, "coder").unwrap();

    assert_eq!(script.task(5).terms().hired_by, None);
    assert_eq!(script.task(hired).parent, Some(TaskId(5)));
}

#[test]
fn a_sub_agent_hires_below_its_notes_too_and_is_bound_there_as_well() {
    let mut script = with_bosses();
    script.by_agent(1, 1, create(&[card("a note")])).unwrap();
    let below = create(&[part_of(5, delegated(run_by("one")))]);

    script.by_agent(1, 1, below).unwrap();
    script.dispatch(6, "w1");

    let hirer = Hirer {
        task: TaskId(1),
        attempt: AttemptNumber(1),
    };
    assert_eq!(script.task(6).terms().hired_by, Some(hirer));
    assert_eq!(
        hire(&mut script, 6, "coder").unwrap_err(),
        refused("one", 2, 1)
    );
}

/// To give a note a type is to hire, and so is to give one to oneself where a worker runs that.
#[test]
fn a_sub_agent_makes_no_worker_run_its_notes_by_changing_them() {
    let mut script = with_bosses();
    script.by_agent(4, 1, create(&[card("a note")])).unwrap();
    let typed = Update {
        agent_type: Some(Some(agent_type("coder"))),
        ..Update::default()
    };
    let wish =
        |task, update: &Update| Wish::UpdateTask(t(), TaskId(task), Box::new(update.clone()));
    assert_eq!(
        script.by_agent(4, 1, wish(5, &typed)).unwrap_err(),
        refused("coder", 1, 0)
    );
    let pending = Update {
        status: Some(Status::Pending),
        ..typed.clone()
    };
    assert_eq!(
        script.by_agent(4, 1, wish(5, &pending)).unwrap_err(),
        refused("coder", 1, 0)
    );
    let begun = Update {
        status: Some(Status::InProgress),
        ..typed.clone()
    };
    assert_eq!(
        script.by_agent(4, 1, wish(5, &begun)).unwrap_err(),
        refused("coder", 1, 0)
    );

    script
        .by_agent(1, 1, create(&[card("a note of one who may")]))
        .unwrap();
    script.by_agent(1, 1, wish(6, &typed)).unwrap();

    assert_eq!(script.queued(), [6]);
}

/// A hosted member's sub-agent has the whole board before it: what it hires is still its own.
#[test]
fn a_hosted_member_hires_for_its_task_and_writes_for_the_team() {
    let mut script = Script::new();
    script.fleet(FleetCommand::OfferTypes(vec![hiring("coder", 1)]));
    script
        .create(LEAD, &[owned_by("hana", card("hers"))])
        .unwrap();
    script.dispatch(1, "w1");

    let tasks = [
        delegated(job("hired")),
        card("for the team"),
        job("hired elsewhere"),
    ];
    script.by_agent(1, 1, create(&tasks)).unwrap();

    let parents = [2, 3, 4].map(|task| script.task(task).parent);
    assert_eq!(parents, [Some(TaskId(1)), None, None]);
    let hirers = [2, 3, 4].map(|task| script.task(task).terms().hired_by.is_some());
    assert_eq!(hirers, [true, false, true]);
    script.end(1, done(""));
    script.tick().unwrap();
    let statuses = [2, 3, 4].map(|task| script.task(task).status());
    assert_eq!(
        statuses,
        [Status::Cancelled, Status::Pending, Status::Cancelled]
    );
}

/// A type that nobody offered for long, or whose tasks left memory, still says how deep it goes.
#[test]
fn a_hirer_that_is_over_is_recalled_to_say_how_deep_its_chain_goes() {
    let mut script = with_bosses();
    script
        .by_agent(2, 1, create(&[outliving(delegated(run_by("three")))]))
        .unwrap();
    script.dispatch(5, "w1");
    script.end(2, done(""));
    script.board.outline(key(2));
    assert_eq!(script.board.hiring_left(key(5)), (3, Some(key(2))));

    let hired = hire(&mut script, 5, "three").unwrap();

    assert_eq!(
        hire(&mut script, hired, "coder").unwrap_err(),
        refused("two", 3, 2)
    );
}

/// Where what it hired is no part of its task, the hirer doesn't stay for it (K15).
#[test]
fn a_hirer_that_left_the_board_lets_nobody_below_it_hire() {
    let mut script = Script::new();
    script.fleet(FleetCommand::OfferTypes(vec![hiring("coder", 3)]));
    script
        .create(LEAD, &[owned_by("hana", card("hers"))])
        .unwrap();
    script.dispatch(1, "w1");
    let elsewhere = outliving(run_by("coder"));
    script.by_agent(1, 1, create(&[elsewhere])).unwrap();
    script.dispatch(2, "w1");
    assert_eq!(left(&script, 2), 2);

    script.end(1, done(""));
    script.tasks_kept.span = secs(10);
    script.after(secs(10));
    script.tick().unwrap();

    assert_eq!(script.board.card_of(key(1)), None);
    assert_eq!(left(&script, 2), 0);
    let unknown = Refusal::BadValue {
        field: "agent_type",
        why: "of the sub-agent that hires is not known any more".into(),
    };
    assert_eq!(hire(&mut script, 2, "coder").unwrap_err(), unknown);
}

fn tasks_full(task: u64, agent_type: &str, made: u32, count: usize, max: u32) -> Refusal {
    Refusal::AttemptTasksFull {
        task: TaskId(task),
        attempt: AttemptNumber(1),
        agent_type: crate::support::agent_type(agent_type),
        made,
        count,
        max,
    }
}

#[test]
fn an_attempt_makes_as_many_tasks_as_its_type_allows_in_whatever_way() {
    let mut script = Script::new();
    let few = OfferedType {
        tasks_max: 4,
        ..hiring("few", 1)
    };
    script.fleet(FleetCommand::OfferTypes(vec![few]));
    script
        .create(LEAD, &[run_by("few"), run_by("few")])
        .unwrap();
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");

    script
        .by_agent(1, 1, create(&[card("a"), card("b")]))
        .unwrap();
    script
        .by_agent(1, 1, create(&[delegated(run_by("coder"))]))
        .unwrap();
    let too_many = script.by_agent(1, 1, create(&[card("c"), card("d")]));
    assert_eq!(too_many.unwrap_err(), tasks_full(1, "few", 3, 2, 4));
    script.by_agent(1, 1, create(&[card("c")])).unwrap();

    for past in [card("d"), delegated(run_by("coder"))] {
        let refused = script.by_agent(1, 1, create(&[past])).unwrap_err();
        assert_eq!(refused, tasks_full(1, "few", 4, 1, 4));
    }
    // It is the attempt's own record that says so: no other's, and not the next one's.
    assert_eq!(script.task(1).placement().unwrap().tasks_made, 4);
    assert_eq!(script.task(2).placement().unwrap().tasks_made, 0);
    script.by_agent(2, 1, create(&[card("e")])).unwrap();
    script.lose(1);
    script.dispatch(1, "w1");
    script.by_agent(1, 2, create(&[card("f")])).unwrap();
    // A hosted member's sub-agent is bounded, too; members are not.
    script
        .create(LEAD, &[owned_by("hana", run_by("few"))])
        .unwrap();
    let hosted = script.board.team(TEAM).unwrap().last_task.0;
    script.dispatch(hosted, "w1");
    let five = vec![card("g"); 5];
    let refused = script.by_agent(hosted, 1, create(&five)).unwrap_err();
    assert_eq!(refused, tasks_full(hosted, "few", 0, 5, 4));
    script.create("alice", &five).unwrap();
}

#[test]
fn an_attempt_makes_a_thousand_tasks_where_its_type_says_nothing() {
    let mut script = Script::given(&[run_by("coder")]);
    script.is_checked = false;
    script.dispatch(1, "w1");

    let thousand = vec![card("a"); limits::ATTEMPT_TASKS as usize];
    script.by_agent(1, 1, create(&thousand)).unwrap();

    let past = script.by_agent(1, 1, create(&[card("b")])).unwrap_err();
    assert_eq!(past, tasks_full(1, "coder", 1_000, 1, 1_000));
    script.check();
}

#[test]
fn a_sub_agent_makes_teams_only_if_its_type_says_so() {
    let mut script = Script::new();
    let maker = OfferedType {
        may_create_teams: true,
        ..hiring("maker", 0)
    };
    script.fleet(FleetCommand::OfferTypes(vec![maker]));
    script
        .create(LEAD, &[run_by("coder"), run_by("maker")])
        .unwrap();
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");

    let refused = script.by_agent(1, 1, Wish::CreateTeam(team("u")));
    let agent_type = agent_type("coder");
    let expected = Refusal::TeamCreationRefused { agent_type };
    assert_eq!(refused.unwrap_err(), expected);
    script.by_agent(2, 1, Wish::CreateTeam(team("u"))).unwrap();
    script.lose(2);

    let stale = script.by_agent(2, 1, Wish::CreateTeam(team("v")));
    let why = Staleness::Attempt;
    assert_eq!(stale.unwrap_err(), Refusal::Stale { why });
}
