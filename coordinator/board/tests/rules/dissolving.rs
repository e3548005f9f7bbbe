//! The end of a team (T3; T5, T6, T10 and P8 of the behaviours to replay).

use std::time::Duration;

use board::{
    command::{Ack, Answer, FleetCommand, NewTask, Removal, Wish},
    id::{TaskId, TeamName, TeamUid},
    limits,
    placement::{self, Moment, Offer, Slots},
    record::Record,
    refusal::{Refusal, Staleness},
    task::{AttemptEnding, BlockerFailedPolicy, EndStatus, Retry, Status, StopReason},
    team::{DEFAULT_TEAM, MemberKind},
};

use crate::support::*;

fn dissolve(force: bool) -> Wish {
    let removal = Removal {
        force,
        reason: "enough".into(),
    };
    Wish::DissolveTeam(t(), removal)
}

fn dissolved(already: bool, stopping: &[u64]) -> Answer {
    Answer::Dissolved {
        team: TEAM,
        already,
        stopping: ids(stopping.iter().copied()),
    }
}

fn is_settled(script: &Script) -> bool {
    let team = script.board.team(TEAM).unwrap();
    team.dissolved.as_ref().unwrap().is_settled
}

/// A team with a task that a worker runs, one that is claimed, one that waits for both.
fn busy() -> Script {
    let mut script = Script::given(&[job("runs"), card("claimed"), waits_for([1, 2], job("c"))]);
    script.dispatch(1, "w1");
    script.start(1, None);
    script.claim("alice", 2).unwrap();
    script
}

const CANCELLED_AT_ONCE: [&str; 2] = [
    "lead: #2 in_progress → cancelled in attempt 1: the team was dissolved: enough",
    "lead: #3 pending → cancelled: the team was dissolved: enough",
];

#[test]
fn a_team_without_work_in_progress_is_dissolved_at_once() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.set(LEAD, 1, Status::Completed).unwrap();

    let told = script.by(LEAD, dissolve(false)).unwrap();

    told.is(&[
        "lead: team dissolved: enough",
        "lead: #2 pending → cancelled: the team was dissolved: enough",
        "> #2 is over",
    ])
    .answers(&dissolved(false, &[]));
    assert!(is_settled(&script));
    let team = script.board.team(TEAM).unwrap();
    let end = team.dissolved.as_ref().unwrap();
    assert_eq!((end.at, &end.by), (script.now, &by(LEAD)));
    let end = script.task(2).end().unwrap().clone();
    let cancelled = (EndStatus::Cancelled, Some(StopReason::Cancelled));
    assert_eq!((end.status, end.stop_reason), cancelled);
}

#[test]
fn only_the_lead_dissolves_a_team() {
    let mut script = Script::new();

    let refused = script.by("alice", dissolve(true));

    let lead_only = Refusal::LeadOnly {
        action: "dissolve the team",
        member: by("alice"),
    };
    assert_eq!(refused.unwrap_err(), lead_only);
}

#[test]
fn the_default_team_is_not_dissolved() {
    let mut script = Script::empty();
    let name = TeamName::parse(DEFAULT_TEAM).unwrap();
    script
        .by(LEAD, Wish::CreateTeam(team(DEFAULT_TEAM)))
        .unwrap();
    let removal = Removal {
        force: true,
        reason: "".into(),
    };

    let refused = script.by(LEAD, Wish::DissolveTeam(name.clone(), removal));

    let permanent = Refusal::TeamPermanent { team: name };
    assert_eq!(refused.unwrap_err(), permanent);
}

/// P8: what workers run and what members hold.
#[test]
fn a_team_with_work_in_progress_is_refused_with_its_list() {
    let mut script = busy();

    let refused = script.by(LEAD, dissolve(false));

    let active = Refusal::TeamActive {
        team: t(),
        tasks: ids([1, 2]),
    };
    assert_eq!(refused.unwrap_err(), active);
    assert!(script.board.team(TEAM).unwrap().is_open());
}

#[test]
fn force_stops_what_runs_and_cancels_the_rest_at_once() {
    let mut script = busy();

    let told = script.by(LEAD, dissolve(true)).unwrap();

    told.is(&[
        "lead: team dissolved: enough",
        "lead: #1 stop of attempt 1: the team was dissolved: enough",
        CANCELLED_AT_ONCE[0],
        CANCELLED_AT_ONCE[1],
        "> stop #1/1: the team was dissolved: enough",
        "> #2 is over",
        "> #3 is over",
    ])
    .answers(&dissolved(false, &[1]));
    assert!(!is_settled(&script));
    assert_eq!(script.task(2).attempts[0].ending, AttemptEnding::Cancelled);
}

/// T5: whatever the worker says after that. A report before the stop would have won.
#[test]
fn what_was_stopped_is_cancelled_and_the_team_is_a_tombstone() {
    for ending in [
        AttemptEnding::Completed,
        AttemptEnding::Failed,
        AttemptEnding::Cancelled,
    ] {
        let mut script = busy();
        script.by(LEAD, dissolve(true)).unwrap();

        let told = script.end(1, report(ending, "half", ""));
        let settled = script.until_due();

        told.is(&[
            "lead: #1 in_progress → cancelled in attempt 1: the team was dissolved: enough",
            "> #1 is over",
        ]);
        settled.is(&[]);
        assert!(is_settled(&script));
        assert_eq!(&*script.task(1).result, "half");
    }
}

#[test]
fn a_dissolved_teams_attempt_that_is_lost_or_refused_or_silent_is_cancelled_too() {
    let end: [fn(&mut Script); 3] = [
        |script| drop(script.lose(1)),
        |script| drop(script.hand_back(1, "no")),
        |script| {
            let asked = script.now;
            script.until_due();
            assert_eq!(script.now, asked + limits::STOP_CONFIRM_TIMEOUT);
        },
    ];
    for end in end {
        let mut script = busy();
        script.by(LEAD, dissolve(true)).unwrap();

        end(&mut script);
        script.until_due();

        assert_eq!(script.task(1).status(), Status::Cancelled);
        assert!(is_settled(&script));
    }
}

/// Its stop was asked for before, to let it wait again: now it is for good.
#[test]
fn an_attempt_that_is_being_stopped_already_is_cancelled() {
    let mut script = busy();
    let to_bob = board::command::Update {
        owner: Some(Some(name("bob"))),
        stop_running: true,
        ..Default::default()
    };
    script.update(LEAD, 1, to_bob).unwrap();

    script.by(LEAD, dissolve(true)).unwrap();
    script.end(1, done(""));

    assert_eq!(script.task(1).status(), Status::Cancelled);
}

#[test]
fn dissolving_again_changes_nothing_and_says_so() {
    let mut script = busy();
    script.by(LEAD, dissolve(true)).unwrap();

    let while_stopping = script.by(LEAD, dissolve(false)).unwrap();
    script.end(1, done(""));
    script.until_due();
    let when_settled = script.by(LEAD, dissolve(true)).unwrap();
    let by_another = script.by("alice", dissolve(true));

    for (told, stopping) in [(while_stopping, &[1][..]), (when_settled, &[])] {
        told.is(&[]).answers(&dissolved(true, stopping));
        assert_eq!(told.decision.records, []);
    }
    assert!(matches!(by_another, Err(Refusal::LeadOnly { .. })));
}

#[test]
fn nothing_but_acknowledging_is_done_in_a_dissolved_team() {
    let mut script = Script::given(&[card("a")]);
    script.by(LEAD, dissolve(false)).unwrap();
    let to_bob = board::command::NewLetter {
        to: board::command::Addressees::Named(vec![name("bob")]),
        kind: board::mail::MailKind::Text,
        text: "hello".into(),
        summary: "".into(),
        payload: "".into(),
        correlation: "".into(),
        approve: None,
        task: None,
        timeout: None,
    };

    for wish in [
        create(&[card("b")]),
        Wish::ReopenTask(t(), TaskId(1), None, "again".into()),
        Wish::DeleteTask(t(), TaskId(1), None),
        Wish::AddMember(t(), member("carol", MemberKind::Agent)),
        Wish::RemoveMember(t(), name("alice"), Removal::default()),
        Wish::HandOverLead(t(), name("alice")),
        Wish::SendMessage(t(), Box::new(to_bob)),
    ] {
        let refused = script.by(LEAD, wish.clone());
        let over = Refusal::TeamOver { team: t() };
        assert_eq!(refused.unwrap_err(), over, "{wish:?}");
    }
    let ack = script.by(LEAD, Wish::AckMessages(t(), Ack::default()));
    assert!(!matches!(ack, Err(Refusal::TeamOver { .. })), "{ack:?}");
}

/// T10: upstream allows one team at a time; ours allows many, and a name again after its end.
#[test]
fn the_name_is_free_at_once_for_another_team() {
    let mut script = busy();
    script.by(LEAD, dissolve(true)).unwrap();

    let again = script.by(LEAD, Wish::CreateTeam(team("t"))).unwrap();
    let told = script.create(LEAD, &[card("new")]).unwrap();

    again.answers(&Answer::Team(TeamUid(2)));
    told.is(&["lead: #1 created: new"]);
    assert_eq!(script.board.team_named("t").unwrap().uid, TeamUid(2));
    script.end(1, done("late"));
    assert_eq!(script.task(1).status(), Status::Cancelled);
    let of_the_new = script.board.counts(TeamUid(2));
    assert_eq!((of_the_new.pending, of_the_new.cancelled), (1, 0));
}

#[test]
fn only_what_belongs_to_the_team_is_touched() {
    let mut script = busy();
    let u = TeamName::parse("u").unwrap();
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let tasks = vec![job("x"), card("y")];
    script
        .by(LEAD, Wish::CreateTasks(u.clone(), tasks))
        .unwrap();
    let of_u = (TeamUid(2), TaskId(1));
    let dispatch = FleetCommand::Dispatch(of_u, worker_name("w1"), instance("w1"));
    script.fleet(dispatch);

    let told = script.by(LEAD, dissolve(true)).unwrap();

    let of_other_teams = told.decision.records.iter().filter(|record| match record {
        Record::Team(team) => team.uid != TEAM,
        Record::Task(team, _) | Record::Member(team, _) => *team != TEAM,
        _ => true,
    });
    assert_eq!(of_other_teams.count(), 0);
    let counts = script.board.counts(TeamUid(2));
    assert_eq!((counts.pending, counts.in_progress), (1, 1));
}

/// P4: the end is durable before its consequences are.
#[test]
fn many_tasks_are_cancelled_in_steps_and_none_is_placed_meanwhile() {
    let mut script = Script::new();
    script.is_checked = false;
    for _ in 0..2 {
        let jobs = vec![job("a"); limits::BATCH_MAX];
        script.create(LEAD, &jobs).unwrap();
    }
    script.create(LEAD, &vec![job("a"); 500]).unwrap();
    script.dispatch(2_500, "w1");
    script.dispatch(1, "w1");
    let offer = Offer {
        worker: worker_name("w2"),
        instance: instance("w2"),
        slots: 10,
        free: 10,
        types: [agent_type("coder")].into(),
        teams: None,
        labels: [].into(),
    };
    let placed = |script: &Script| {
        let moment = Moment {
            now: script.now,
            is_heard: &|_| true,
        };
        let mut slots = Slots::of([offer.clone()]);
        placement::place(&script.board, &mut slots, moment, 5).len()
    };
    assert_eq!(placed(&script), 5);

    let told = script.by(LEAD, dissolve(true)).unwrap();

    // What runs is stopped first, wherever it stands.
    told.answers(&dissolved(false, &[1, 2_500]));
    assert_eq!(script.board.counts(TEAM).cancelled, 998);
    assert_eq!(placed(&script), 0);
    let dispatched = script.try_dispatch(1_500, "w2");
    let stale = Refusal::Stale {
        why: Staleness::Team,
    };
    assert_eq!(dispatched.unwrap_err(), stale);
    script.check();
    script.until_due();
    assert_eq!(script.board.counts(TEAM).cancelled, 1_998);
    script.until_due();
    assert_eq!(script.board.counts(TEAM).cancelled, 2_498);
    assert!(!is_settled(&script));
    assert_eq!(
        script.next_deadline(),
        Some(script.now + limits::STOP_CONFIRM_TIMEOUT)
    );
    script.end(1, done(""));
    script.end(2_500, done(""));
    script.until_due();
    assert!(is_settled(&script));
    script.check();
}

/// In a team that goes on, each of these would be pending again.
#[test]
fn a_failure_before_its_stop_was_asked_for_is_not_tried_again() {
    let mut script = Script::new();
    script.is_checked = false;
    let retried = NewTask {
        retry: Some(Retry {
            max_attempts: 3,
            initial_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(1),
        }),
        ..job("a")
    };
    let workers = ["w1", "w2"];
    for (at, worker) in workers.iter().enumerate() {
        let batch = vec![retried.clone(); 600];
        script.create(LEAD, &batch).unwrap();
        let first = at as u64 * 600;
        for task in first + 1..=first + 600 {
            script.dispatch(task, worker);
        }
    }

    script.by(LEAD, dissolve(true)).unwrap();
    assert!(script.task(1_200).placement().unwrap().stop.is_none());
    let failed = report(AttemptEnding::Failed, "", "no");
    script.end(1_200, failed);
    script.lose(1_199);
    script.until_due();

    for task in [1_199, 1_200] {
        assert_eq!(script.task(task).status(), Status::Cancelled, "{task}");
    }
    script.check();
}

#[test]
fn a_report_that_comes_before_the_stop_of_its_step_wins() {
    let mut script = Script::new();
    script.is_checked = false;
    for _ in 0..2 {
        script.create(LEAD, &vec![job("a"); 600]).unwrap();
    }
    for task in 1..=1_200 {
        script.dispatch(task, "w1");
    }
    script.by(LEAD, dissolve(true)).unwrap();

    script.end(1_200, done("all of it"));

    assert_eq!(script.task(1_200).status(), Status::Completed);
    script.check();
}

/// Nothing of a dissolved team is freed or cancelled because of another of its tasks.
#[test]
fn endings_in_a_dissolved_team_have_no_consequences() {
    let follows = |policy| NewTask {
        blocker_failed_policy: policy,
        ..waits_for([1], job("follows"))
    };
    let mut script = Script::given(&[
        job("first"),
        follows(BlockerFailedPolicy::Wait),
        follows(BlockerFailedPolicy::Cancel),
        follows(BlockerFailedPolicy::Proceed),
    ]);

    let told = script.by(LEAD, dissolve(false)).unwrap();

    let cancelled =
        |id: u64| format!("lead: #{id} pending → cancelled: the team was dissolved: enough");
    let expected: Vec<String> = (1..=4).map(cancelled).collect();
    assert_eq!(told.lines[1..5], expected);
    assert_eq!(script.next_deadline(), Some(script.now + TOMBSTONES_KEPT));
}

#[test]
fn a_tombstone_is_forgotten_when_its_time_is_over() {
    let mut script = Script::given(&[card("a")]);
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    script.by(LEAD, dissolve(false)).unwrap();
    let dissolved_at = script.now;

    let told = script.until_due();

    assert_eq!(script.now, dissolved_at + TOMBSTONES_KEPT);
    assert_eq!(told.decision.records, [Record::TeamGone(TEAM)]);
    told.is(&[]);
    assert_eq!(script.board.team(TEAM), None);
    assert_eq!(script.board.team_named("t"), None);
    assert!(script.board.team_named("u").is_some());
    assert_eq!(script.next_deadline(), None);
    let unknown = Refusal::TeamUnknown { team: "t".into() };
    assert_eq!(script.by(LEAD, dissolve(false)).unwrap_err(), unknown);
}

#[test]
fn of_tombstones_of_one_name_the_older_goes_first() {
    let mut script = Script::new();
    script.by(LEAD, dissolve(false)).unwrap();
    script.after(secs(1));
    script.by(LEAD, Wish::CreateTeam(team("t"))).unwrap();
    script.by(LEAD, dissolve(false)).unwrap();

    script.until_due();
    let named = script.board.team_named("t").map(|team| team.uid);
    script.until_due();

    assert_eq!(named, Some(TeamUid(2)));
    assert_eq!(script.board.team_named("t"), None);
    let third = script.by(LEAD, Wish::CreateTeam(team("t"))).unwrap();
    third.answers(&Answer::Team(TeamUid(3)));
}

/// The elder is still being stopped when the younger of its name is forgotten.
#[test]
fn a_name_leads_to_the_elder_team_when_the_younger_is_forgotten_first() {
    let mut script = busy();
    script.by(LEAD, dissolve(true)).unwrap();
    script.by(LEAD, Wish::CreateTeam(team("t"))).unwrap();
    script.by(LEAD, dissolve(false)).unwrap();
    script.spared = [instance("w1")].into();
    let wait = TOMBSTONES_KEPT;

    let told = script.after(wait).tick().unwrap();

    assert_eq!(told.decision.records, [Record::TeamGone(TeamUid(2))]);
    assert_eq!(script.board.team_named("t").unwrap().uid, TEAM);
}
