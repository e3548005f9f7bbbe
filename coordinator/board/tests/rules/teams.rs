//! Teams and members (T1, T2, T6); which types are on offer (D2).

use board::{
    command::{Answer, Call, Caller, FleetCommand, NewTask, Update, Wish},
    id::{Incarnation, TaskId, TeamUid},
    limits,
    record::OfferedType,
    refusal::{Obstacle, Refusal},
    task::Status,
    team::MemberKind,
    time::Time,
};

use crate::support::*;

#[test]
fn a_new_team_has_its_lead_and_members_on_its_roster() {
    let mut script = Script::empty();
    let wish = board::command::CreateTeam {
        members: vec![
            member("alice", MemberKind::Agent),
            member("hana", MemberKind::Hosted),
        ],
        ..team("t")
    };

    let told = script.by(LEAD, Wish::CreateTeam(wish)).unwrap();

    told.is(&[
        "lead: team created",
        "lead: lead joined",
        "lead: alice joined",
        "lead: hana joined",
    ])
    .answers(&Answer::Team(TEAM));
    let roster: Vec<_> = script
        .board
        .members(TEAM)
        .map(|m| (m.name.as_str(), m.kind, m.incarnation))
        .collect();
    assert_eq!(
        roster,
        [
            ("alice", MemberKind::Agent, Incarnation(1)),
            ("hana", MemberKind::Hosted, Incarnation(1)),
            ("lead", MemberKind::Lead, Incarnation(1)),
        ]
    );
    assert_eq!(script.board.team_named("t").unwrap().uid, TEAM);
}

#[test]
fn a_team_name_is_unique() {
    let mut script = Script::new();

    let again = script.by(LEAD, Wish::CreateTeam(team("t")));

    let taken = Refusal::TeamExists { team: t() };
    assert_eq!(again.unwrap_err(), taken);
}

#[test]
fn many_teams_live_side_by_side_with_ids_of_their_own() {
    let mut script = Script::given(&[card("a")]);
    script.by(LEAD, Wish::CreateTeam(team("u"))).unwrap();
    let u = board::id::TeamName::parse("u").unwrap();

    let told = script.by(LEAD, Wish::CreateTasks(u, vec![card("b")]));

    told.unwrap()
        .is(&["lead: #1 created: b"])
        .answers(&Answer::Tasks {
            team: TeamUid(2),
            first: TaskId(1),
            count: 1,
        });
    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

#[test]
fn a_member_comes_once_into_a_roster() {
    for twice in ["alice", LEAD] {
        let mut script = Script::empty();
        let wish = board::command::CreateTeam {
            members: vec![
                member("alice", MemberKind::Agent),
                member(twice, MemberKind::Agent),
            ],
            ..team("t")
        };

        let refused = script.by(LEAD, Wish::CreateTeam(wish));

        let exists = Refusal::MemberExists {
            member: name(twice),
        };
        assert_eq!(refused.unwrap_err(), exists);
    }
}

#[test]
fn a_hosted_member_must_have_a_type() {
    let mut script = Script::empty();
    let mut hosted = member("hana", MemberKind::Hosted);
    hosted.agent_type = None;
    let wish = board::command::CreateTeam {
        members: vec![hosted],
        ..team("t")
    };

    let refused = script.by(LEAD, Wish::CreateTeam(wish));

    let blank = Refusal::Blank {
        field: "members.agent_type",
    };
    assert_eq!(refused.unwrap_err(), blank);
}

/// The lead comes by being named, workers by serving the team.
#[test]
fn members_that_come_with_a_team_are_agents_or_hosted() {
    for kind in [MemberKind::Lead, MemberKind::Worker] {
        let wish = board::command::CreateTeam {
            members: vec![member("alice", kind)],
            ..team("t")
        };

        let refused = Script::empty().by(LEAD, Wish::CreateTeam(wish));

        let refusal = Refusal::BadValue {
            field: "members.kind",
            why: "is neither agent nor hosted".into(),
        };
        assert_eq!(refused.unwrap_err(), refusal);
    }
}

#[test]
fn a_roster_has_one_thousand_members_and_no_more() {
    let with = |count: usize| board::command::CreateTeam {
        members: (0..count)
            .map(|i| member(&format!("m{i}"), MemberKind::Agent))
            .collect(),
        ..team("t")
    };
    let most = limits::MEMBERS_PER_TEAM_MAX - 1;

    let one_too_many = Script::empty().by(LEAD, Wish::CreateTeam(with(most + 1)));
    let full = Script::empty().by(LEAD, Wish::CreateTeam(with(most)));

    let refusal = Refusal::TooMany {
        field: "members",
        count: most + 1,
        max: most,
    };
    assert_eq!(one_too_many.unwrap_err(), refusal);
    assert!(full.is_ok());
}

#[test]
fn workers_do_not_count_against_the_roster() {
    let mut script = Script::empty();
    script.is_checked = false;
    let members = (1..limits::MEMBERS_PER_TEAM_MAX)
        .map(|i| member(&format!("m{i}"), MemberKind::Agent))
        .collect();
    let full = board::command::CreateTeam {
        members,
        ..team("t")
    };
    script.by(LEAD, Wish::CreateTeam(full)).unwrap();

    let told = script.fleet(FleetCommand::JoinWorker(TEAM, worker_name("w1")));

    told.is(&["worker w1: w1 joined"]);
    script.check();
}

#[test]
fn a_worker_joins_a_team_once_and_leaves_a_taken_name_to_its_holder() {
    let mut script = Script::new();

    let first = script.fleet(FleetCommand::JoinWorker(TEAM, worker_name("w1")));
    let again = script.fleet(FleetCommand::JoinWorker(TEAM, worker_name("w1")));
    let taken = script.fleet(FleetCommand::JoinWorker(TEAM, worker_name("alice")));

    first.is(&["worker w1: w1 joined"]);
    again.is(&[]);
    taken.is(&[]);
    let alice = script.board.member(TEAM, &name("alice")).unwrap();
    assert_eq!(alice.kind, MemberKind::Agent);
}

#[test]
fn the_lead_speaks_where_no_member_is_named() {
    let mut script = Script::new();
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish: create(&[card("a")]),
    };

    script.call(&call).unwrap().is(&["lead: #1 created: a"]);
}

#[test]
fn nobody_speaks_who_is_not_on_the_roster_or_only_was() {
    let mut script = Script::new();
    let pinned = |incarnation| Call {
        caller: Caller {
            member: Some(name("alice")),
            incarnation: Some(incarnation),
            ..Caller::default()
        },
        request: None,
        wish: create(&[card("a")]),
    };

    let stranger = script.create("mallory", &[card("a")]);
    let former = script.call(&pinned(2));
    let present = script.call(&pinned(1));

    let unknown = Refusal::MemberUnknown {
        member: name("mallory"),
        team: t(),
    };
    let stale = Refusal::IncarnationStale {
        member: name("alice"),
        wanted: 2,
        present: 1,
    };
    assert_eq!(stranger.unwrap_err(), unknown);
    assert_eq!(former.unwrap_err(), stale);
    present.unwrap().is(&["alice: #1 created: a"]);
}

#[test]
fn a_team_that_is_not_there_is_named_in_the_refusal() {
    let mut script = Script::new();
    let nowhere = board::id::TeamName::parse("nowhere").unwrap();

    let refused = script.by(LEAD, Wish::CreateTasks(nowhere, vec![card("a")]));

    let unknown = Refusal::TeamUnknown {
        team: "nowhere".into(),
    };
    assert_eq!(refused.unwrap_err(), unknown);
}

/// T6; "complete by a non-owner" differs from the systems that users come from.
#[test]
fn only_the_lead_and_the_owner_change_a_task() {
    let refusal = |owner: &str| Refusal::NotOwner {
        task: TaskId(1),
        owner: Some(name(owner)),
        member: by("bob"),
    };
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    script.claim("alice", 1).unwrap();

    let renamed = script.update(
        "bob",
        1,
        Update {
            subject: Some("b".into()),
            ..Update::default()
        },
    );
    let completed = script.set("bob", 1, Status::Completed);
    let cancelled = script.cancel("bob", 1, "");

    assert_eq!(renamed.unwrap_err(), refusal("alice"));
    assert_eq!(completed.unwrap_err(), refusal("alice"));
    assert_eq!(cancelled.unwrap_err(), refusal("alice"));
    script.clone().set("alice", 1, Status::Completed).unwrap();
    script.set(LEAD, 1, Status::Completed).unwrap().is(&[
        "lead: #1 in_progress → completed in attempt 1",
        "> #1 is over",
    ]);
}

#[test]
fn types_are_noted_when_new_changed_or_not_seen_for_an_hour() {
    let mut script = Script::new();
    let seen = |at: i64, digest: &str| OfferedType {
        digest: digest.into(),
        last_seen: Some(Time(at)),
        ..offered("coder", "llm")
    };
    let mut offer = |offered| script.fleet(FleetCommand::OfferTypes(vec![offered]));

    offer(seen(3_599_999, "d1")).is(&[]);
    offer(seen(3_600_000, "d1")).is(&["writes type coder"]);
    offer(seen(3_600_001, "d2")).is(&["writes type coder"]);
    offer(offered("prover", "llm")).is(&["writes type prover"]);
}

#[test]
fn a_type_that_nobody_offered_for_thirty_days_is_forgotten_unless_it_is_expected() {
    let mut script = Script::new();
    script.fleet(FleetCommand::OfferTypes(vec![
        OfferedType {
            last_seen: Some(script.now),
            ..offered("young", "llm")
        },
        OfferedType {
            last_seen: None,
            ..offered("later", "")
        },
        OfferedType {
            last_seen: None,
            ..offered("never", "")
        },
    ]));
    script.now = Time(0) + limits::OFFERED_TYPES_KEPT;
    let expected = ["later", "shell"].map(agent_type);
    let forget = FleetCommand::ForgetTypes(expected.into());

    let told = script.fleet(forget.clone());

    told.is(&["forgets type coder", "forgets type never"]);
    script.fleet(forget).is(&[]);
    let refused = script.create(
        LEAD,
        &[NewTask {
            agent_type: Some(agent_type("coder")),
            ..card("a")
        }],
    );
    assert!(matches!(
        refused.unwrap_err(),
        Refusal::AgentTypeUnknown { .. }
    ));
}

#[test]
fn an_expected_type_is_on_offer_and_does_not_hide_what_was_seen() {
    let mut script = Script::new();
    let expected = |name: &str| OfferedType {
        last_seen: None,
        ..offered(name, "")
    };
    script.fleet(FleetCommand::OfferTypes(vec![
        expected("later"),
        expected("coder"),
    ]));

    let told = script.create(
        LEAD,
        &[NewTask {
            agent_type: Some(agent_type("later")),
            ..card("a")
        }],
    );

    told.unwrap().is(&["lead: #1 created: a"]);
    let coder = script.board.offered_type(&agent_type("coder")).unwrap();
    assert_eq!(&*coder.runtime, "llm");
}

#[test]
fn a_type_that_nobody_ever_offered_is_refused_with_those_on_offer() {
    let mut script = Script::new();
    let wizard = NewTask {
        agent_type: Some(agent_type("wizard")),
        ..card("a")
    };

    let refused = script.create(LEAD, &[wizard]);

    let unknown = Refusal::AgentTypeUnknown {
        agent_type: agent_type("wizard"),
        known: vec![known("coder"), known("shell")],
        now: script.now,
    };
    assert_eq!(refused.unwrap_err(), unknown);
}

/// Fleets start in any order: a team may name types that come later, its tasks only known ones.
#[test]
fn a_task_of_a_hosted_member_whose_type_nobody_offered_is_refused() {
    let mut script = Script::empty();
    let wish = board::command::CreateTeam {
        members: vec![member("hana", MemberKind::Hosted)],
        ..team("t")
    };
    script.by(LEAD, Wish::CreateTeam(wish)).unwrap();

    let refused = script.create(LEAD, &[owned_by("hana", card("a"))]);
    script.fleet(FleetCommand::OfferTypes(vec![offered("coder", "command")]));
    let english = script.create(LEAD, &[owned_by("hana", card("a"))]);

    let unknown = Refusal::AgentTypeUnknown {
        agent_type: agent_type("coder"),
        known: vec![],
        now: script.now,
    };
    let missing = Refusal::PromptMissing {
        agent_type: agent_type("coder"),
    };
    assert_eq!(refused.unwrap_err(), unknown);
    assert_eq!(english.unwrap_err(), missing);
}

#[test]
fn no_more_types_are_noted_than_fit() {
    let mut script = Script::empty();
    script.is_checked = false;
    let types = |range: std::ops::Range<usize>| {
        FleetCommand::OfferTypes(range.map(|i| offered(&format!("t{i}"), "llm")).collect())
    };
    let max = limits::OFFERED_TYPES_MAX;

    let over = script.try_fleet(types(0..max + 1));
    let full = script.try_fleet(types(0..max));
    let one_more = script.try_fleet(types(max..max + 1));
    let known = script.try_fleet(types(0..1));

    let refusal = Refusal::Full {
        what: "agent types",
        max,
    };
    assert_eq!(over.unwrap_err(), refusal);
    assert!(full.is_ok());
    assert_eq!(one_more.unwrap_err(), refusal);
    assert!(known.is_ok());
}

#[test]
fn a_repeated_request_is_answered_with_its_first_outcome() {
    use board::record::{CameTo, Request, RequestKey};
    let mut script = Script::new();
    let request = |body| Request {
        key: RequestKey(1),
        body,
    };
    let call = |body, task| Call {
        caller: Caller::default(),
        request: Some(request(body)),
        wish: create(&[task]),
    };

    let first = script.call(&call(10, card("a"))).unwrap();
    let outcome = first.decision.outcome.unwrap();

    let came_to = CameTo::Tasks {
        first: TaskId(1),
        count: 1,
    };
    assert_eq!(outcome.request, request(10));
    assert_eq!((outcome.team, outcome.came_to), (TEAM, came_to));
    let again = board::decide::replay(&call(10, card("a")), &outcome);
    let other = board::decide::replay(&call(11, card("b")), &outcome);
    assert_eq!(again, Ok(came_to));
    assert_eq!(other, Err(Refusal::RequestIdReused));
}

#[test]
fn a_task_that_is_only_outlined_is_asked_for_before_it_is_judged() {
    let mut script = Script::given(&[card("a")]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.board.outline(key(1));
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish: Wish::UpdateTask(
            t(),
            TaskId(1),
            Box::new(Update {
                subject: Some("b".into()),
                ..Update::default()
            }),
        ),
    };

    let obstacle = board::decide::decide(&script.board, &call, script.now);

    assert_eq!(obstacle, Err(Obstacle::Absent(key(1))));
    script
        .call(&call)
        .unwrap()
        .is(&["lead: #1 updated: subject"]);
    assert_eq!(script.lines(), ["#1 [completed] b"]);
}
