//! Joining and leading (T2, T6).

use board::{
    command::{Answer, Call, Caller, NewMember, Removal, Wish},
    id::Incarnation,
    limits,
    refusal::Refusal,
    team::{Member, MemberKind, Plan},
};

use crate::support::*;

/// Adding a member.
pub fn add(member: NewMember) -> Wish {
    Wish::AddMember(t(), member)
}

pub fn agent(name: &str) -> NewMember {
    member(name, MemberKind::Agent)
}

/// Removing a member, by force or not.
pub fn remove(member: &str, force: bool) -> Wish {
    let removal = Removal {
        force,
        reason: "bye".into(),
    };
    Wish::RemoveMember(t(), name(member), removal)
}

pub fn record(script: &Script, member: &str) -> Member {
    let mut ever = script.board.members_ever(TEAM);
    ever.find(|m| m.name == name(member)).unwrap().clone()
}

pub fn lead_only(action: &'static str, member: &str) -> Refusal {
    Refusal::LeadOnly {
        action,
        member: by(member),
    }
}

fn hand_over(to: &str) -> Wish {
    Wish::HandOverLead(t(), name(to))
}

#[test]
fn the_lead_adds_agents_and_hosted_members() {
    let mut script = Script::new();

    let carol = script.by(LEAD, add(agent("carol"))).unwrap();
    let hans = script.by(LEAD, add(member("hans", MemberKind::Hosted)));

    carol
        .is(&["lead: carol joined"])
        .answers(&Answer::Member(TEAM, name("carol")));
    hans.unwrap().is(&["lead: hans joined"]);
    assert_eq!(record(&script, "carol").kind, MemberKind::Agent);
    let hans = record(&script, "hans");
    assert_eq!(
        (hans.kind, hans.agent_type),
        (MemberKind::Hosted, Some(agent_type("coder")))
    );
}

#[test]
fn anybody_adds_itself_as_an_agent_and_nobody_else() {
    let mut script = Script::new();

    let itself = script.by("carol", add(agent("carol"))).unwrap();
    let another = script.by("carol", add(agent("dave")));
    let hosted = script.by("dave", add(member("dave", MemberKind::Hosted)));
    let by_a_stranger = script.by("mallory", add(agent("dave")));

    itself.is(&["carol: carol joined"]);
    let action = "add other members";
    assert_eq!(another.unwrap_err(), lead_only(action, "carol"));
    let action = "add members that are run";
    assert_eq!(hosted.unwrap_err(), lead_only(action, "dave"));
    let unknown = Refusal::MemberUnknown {
        member: name("mallory"),
        team: t(),
    };
    assert_eq!(by_a_stranger.unwrap_err(), unknown);
}

#[test]
fn a_name_is_taken_while_its_holder_is_on_the_roster() {
    let mut script = Script::new();

    for who in [LEAD, "alice"] {
        let refused = script.by(who, add(agent("alice")));

        let exists = Refusal::MemberExists {
            member: name("alice"),
        };
        assert_eq!(refused.unwrap_err(), exists, "{who}");
    }
}

#[test]
fn a_name_that_left_joins_again_as_another_incarnation() {
    let mut script = Script::new();
    script.by(LEAD, remove("alice", false)).unwrap();

    script.by("alice", add(agent("alice"))).unwrap();

    let alice = record(&script, "alice");
    assert_eq!((alice.incarnation, alice.left_at), (Incarnation(2), None));
    let as_the_first = Call {
        caller: Caller {
            member: Some(name("alice")),
            incarnation: Some(1),
            ..Caller::default()
        },
        request: None,
        wish: create(&[card("a")]),
    };
    let stale = Refusal::IncarnationStale {
        member: name("alice"),
        wanted: 1,
        present: 2,
    };
    assert_eq!(script.call(&as_the_first).unwrap_err(), stale);
}

#[test]
fn what_makes_no_member_is_refused_with_its_field() {
    let of_no_type = NewMember {
        agent_type: None,
        ..member("m", MemberKind::Hosted)
    };
    let planning = NewMember {
        plan_required: true,
        ..member("m", MemberKind::Hosted)
    };
    let wordy = NewMember {
        role: "x".repeat(limits::NOTE_LEN_MAX + 1).into(),
        ..agent("m")
    };
    let table = [
        (
            member("m", MemberKind::Worker),
            Refusal::BadValue {
                field: "member.kind",
                why: "is neither agent nor hosted".into(),
            },
        ),
        (
            of_no_type,
            Refusal::Blank {
                field: "member.agent_type",
            },
        ),
        (
            planning,
            Refusal::BadValue {
                field: "member.plan_required",
                why: "is for agents only".into(),
            },
        ),
        (
            wordy,
            Refusal::TooLong {
                field: "member.role",
                len: limits::NOTE_LEN_MAX + 1,
                max: limits::NOTE_LEN_MAX,
                unit: "bytes",
            },
        ),
    ];
    for (member, refusal) in table {
        assert_eq!(Script::new().by(LEAD, add(member)).unwrap_err(), refusal);
    }
}

#[test]
fn a_full_roster_takes_nobody_until_somebody_leaves() {
    let mut script = Script::new();
    script.is_checked = false;
    script.join("w1");
    let left = limits::MEMBERS_PER_TEAM_MAX - 5;
    for i in 0..left {
        script.by(LEAD, add(agent(&format!("m{i}")))).unwrap();
    }

    let one_too_many = script.by("carol", add(agent("carol")));
    script.by("m0", remove("m0", false)).unwrap();
    let after_one_left = script.by("carol", add(agent("carol")));

    let full = Refusal::Full {
        what: "members",
        max: limits::MEMBERS_PER_TEAM_MAX,
    };
    assert_eq!(one_too_many.unwrap_err(), full);
    assert!(after_one_left.is_ok());
    script.check();
}

#[test]
fn a_member_whose_plan_is_required_changes_nothing_and_may_leave() {
    let mut script = Script::new();
    let planning = NewMember {
        plan_required: true,
        ..agent("carol")
    };
    script.by(LEAD, add(planning)).unwrap();
    assert_eq!(record(&script, "carol").plan, Plan::Required);

    let early = script.create("carol", &[card("a")]);
    let left = script.by("carol", remove("carol", false));

    let refusal = Refusal::PlanNotApproved {
        member: name("carol"),
    };
    assert_eq!(early.unwrap_err(), refusal);
    left.unwrap().is(&["carol: carol left: bye"]);
}

#[test]
fn the_lead_is_handed_over_to_an_agent_and_stays_as_one() {
    let mut script = Script::new();

    let told = script.by(LEAD, hand_over("alice")).unwrap();

    told.is(&["lead: alice leads"]).answers(&Answer::Team(TEAM));
    assert_eq!(script.board.team(TEAM).unwrap().lead, name("alice"));
    assert_eq!(record(&script, "alice").kind, MemberKind::Lead);
    assert_eq!(record(&script, LEAD).kind, MemberKind::Agent);
    let as_before = script.by(LEAD, hand_over("bob"));
    assert_eq!(
        as_before.unwrap_err(),
        lead_only("hand over the lead", LEAD)
    );
    script.by("alice", remove(LEAD, false)).unwrap();
    let nameless = Call {
        caller: Caller::default(),
        request: None,
        wish: create(&[card("a")]),
    };
    script
        .call(&nameless)
        .unwrap()
        .is(&["alice: #1 created: a"]);
}

#[test]
fn only_an_agent_on_the_roster_is_given_the_lead() {
    let mut script = Script::new();
    script.join("w1");
    script.by(LEAD, remove("bob", false)).unwrap();
    let no_agent = Refusal::BadValue {
        field: "to",
        why: "is not an agent".into(),
    };
    let gone = Refusal::MemberUnknown {
        member: name("bob"),
        team: t(),
    };
    let leads = Refusal::MemberLeads { member: name(LEAD) };

    for (to, refusal) in [
        ("hana", no_agent.clone()),
        ("w1", no_agent),
        ("bob", gone),
        (LEAD, leads),
    ] {
        assert_eq!(script.by(LEAD, hand_over(to)).unwrap_err(), refusal, "{to}");
    }
}

/// Nobody is left who could approve it.
#[test]
fn who_is_given_the_lead_needs_no_plan_any_more() {
    let mut script = Script::new();
    let planning = NewMember {
        plan_required: true,
        ..agent("carol")
    };
    script.by(LEAD, add(planning)).unwrap();

    script.by(LEAD, hand_over("carol")).unwrap();

    assert_eq!(record(&script, "carol").plan, Plan::NotRequired);
    script.create("carol", &[card("a")]).unwrap();
}
