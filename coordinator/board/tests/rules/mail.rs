//! Sending, receiving and acknowledging (M1 to M6).

use board::{
    command::{Answer, CreateTeam, FleetCommand, NewLetter, Wish},
    event::Actor,
    id::{Incarnation, MemberName, MessageId, NameError, TaskId},
    limits,
    mail::{MailKind, Recipients, Sender},
    record::Record,
    refusal::Refusal,
    team::{Member, MemberKind},
};

use crate::support::*;

fn bad(field: &'static str, why: &str) -> Refusal {
    Refusal::BadValue {
        field,
        why: why.into(),
    }
}

/// M1 of the replay.
#[test]
fn a_message_has_an_id_its_sender_and_the_time_and_is_one_record() {
    let mut script = Script::new();
    script.after(secs(3));
    let letter = NewLetter {
        payload: "{\"a\":1}".into(),
        ..tied("x", words(["bob"], "hello\nworld"))
    };

    let told = script.send("alice", letter).unwrap();

    told.is(&["alice: message 1 sent to bob: Text"])
        .mails(&["alice → bob: Text: hello"])
        .answers(&Answer::Sent {
            team: TEAM,
            message: MessageId(1),
            correlation: "x".into(),
            receipts: vec![receipt("bob", false)],
        });
    // The team's counters, and the message.
    assert_eq!(told.decision.records.len(), 2);
    let letter = script.letter(1);
    assert_eq!(letter.from, Sender::Member(name("alice"), Incarnation(1)));
    assert_eq!(letter.to, Recipients::One(name("bob")));
    assert_eq!(
        (&*letter.text, &*letter.payload),
        ("hello\nworld", "{\"a\":1}")
    );
    assert_eq!((letter.at, letter.revision), (script.now, None));
}

/// M4 of the replay, M4: one copy each, and the body once.
#[test]
fn a_broadcast_goes_to_everybody_but_its_sender_and_the_workers() {
    let mut script = Script::new();
    script.join("w1");

    let told = script.send("alice", to_everybody("all hands")).unwrap();

    let to = ["bob", "hana", "hugo", LEAD];
    told.is(&["alice: message 1 sent: Text"])
        .mails(&["alice → bob, hana, hugo, lead: Text: all hands"])
        .answers(&Answer::Sent {
            team: TEAM,
            message: MessageId(1),
            correlation: "".into(),
            receipts: to.map(|name| receipt(name, false)).to_vec(),
        });
    for member in to {
        assert_eq!(script.mailbox(member), ["1 Text: all hands"]);
    }
    assert!(script.mailbox("w1").is_empty());
    assert!(script.mailbox("alice").is_empty());
    let is_broadcast = true;
    assert_eq!(script.letter(1).to, Recipients::Many { is_broadcast });
}

#[test]
fn a_message_is_there_until_its_last_copy_is_acknowledged() {
    let mut script = Script::new();
    script.send("alice", words(["bob", "hana"], "hi")).unwrap();

    let first = script.by("bob", ack(None, &[1])).unwrap();
    assert_eq!(script.mailbox("hana"), ["1 Text: hi"]);
    let last = script.by("hana", ack(None, &[1])).unwrap();

    let one = Answer::Acked { count: 1, left: 0 };
    first.is(&[]).answers(&one);
    last.is(&[]).answers(&one);
    // A copy; then a copy and the message.
    assert_eq!(first.decision.records.len(), 1);
    assert_eq!(last.decision.records.len(), 2);
}

#[test]
fn who_is_named_twice_gets_one_copy_and_the_sender_is_passed_over() {
    let mut script = Script::new();

    let told = script.send("alice", words(["bob", "alice", "bob"], "hi"));

    told.unwrap().mails(&["alice → bob: Text: hi"]);
    assert!(script.mailbox("alice").is_empty());
}

/// M4, P4 of the replay.
#[test]
fn what_can_not_be_sent_is_refused() {
    let script = Script::new();
    let unknown = Refusal::MemberUnknown {
        member: name("mallory"),
        team: t(),
    };
    let refusals = [
        ("alice", words(["mallory"], "hi"), unknown.clone()),
        ("alice", words(["bob", "mallory"], "hi"), unknown.clone()),
        ("mallory", words(["bob"], "hi"), unknown),
        (
            "alice",
            words(["bob"], " \n"),
            Refusal::Blank { field: "text" },
        ),
        ("alice", words([], "hi"), Refusal::Blank { field: "to" }),
        (
            "alice",
            words(["alice"], "hi"),
            Refusal::SelfRecipient {
                member: name("alice"),
            },
        ),
        (
            "alice",
            NewLetter {
                task: Some(TaskId(9)),
                ..words(["bob"], "hi")
            },
            Refusal::ReferenceUnknown {
                field: "task_id",
                task: TaskId(9),
                team: t(),
            },
        ),
        (
            "alice",
            response(MailKind::Text, ["bob"], true, "hi"),
            bad("approve", "is for responses alone"),
        ),
        (
            "alice",
            NewLetter {
                timeout: Some(secs(1)),
                ..words(["bob"], "hi")
            },
            bad("timeout", "is for requests alone"),
        ),
    ];
    for (who, letter, refusal) in refusals {
        assert_eq!(script.would(who, send(letter)), Err(refusal));
    }
}

#[test]
fn what_the_coordinator_says_nobody_else_may_say() {
    let script = Script::new();
    for kind in [
        MailKind::TaskAssignment,
        MailKind::TaskUnassigned,
        MailKind::TaskUnblocked,
        MailKind::TaskFinished,
        MailKind::Idle,
        MailKind::MemberFailed,
        MailKind::Digest,
    ] {
        let refused = script.would(LEAD, send(of_kind(kind, ["bob"], "hi")));

        assert_eq!(refused, Err(bad("type", "is the coordinator's own")));
    }
}

#[test]
fn a_lead_alone_has_nobody_to_broadcast_to() {
    let mut script = Script::empty();
    script.by(LEAD, Wish::CreateTeam(team("t"))).unwrap();

    let refused = script.send(LEAD, to_everybody("anybody?"));

    let member = name(LEAD);
    assert_eq!(refused.unwrap_err(), Refusal::SelfRecipient { member });
}

#[test]
fn a_message_without_a_summary_is_summed_up_by_its_first_line() {
    let mut script = Script::new();
    let most = limits::MESSAGE_SUMMARY_CHARS_MAX;
    for (id, text, summary) in [
        (1, "\n one \ntwo".to_owned(), "one".to_owned()),
        (2, "ä".repeat(most), "ä".repeat(most)),
        (3, "ä".repeat(most + 1), "ä".repeat(most - 1) + "…"),
    ] {
        script.send("alice", words(["bob"], &text)).unwrap();

        assert_eq!(*script.letter(id).summary, summary);
    }
}

/// M5 of the replay, M3.
#[test]
fn mail_is_acknowledged_up_to_a_message_or_by_ids_and_once() {
    let mut script = Script::new();
    for text in ["a", "b", "c", "d", "e"] {
        script.send("alice", words(["bob"], text)).unwrap();
    }
    script.send("alice", words(["hana"], "f")).unwrap();
    let acked = |count, left| Answer::Acked { count, left };

    let by_id = script.by("bob", ack(None, &[4, 4, 9])).unwrap();
    by_id.is(&[]).answers(&acked(1, 4));
    let both = script.by("bob", ack(Some(2), &[2, 5])).unwrap();
    both.is(&[]).answers(&acked(3, 1));
    let again = script.by("bob", ack(Some(2), &[2, 5])).unwrap();
    again.is(&[]).answers(&acked(0, 1));
    let anothers = script.by("bob", ack(None, &[6])).unwrap();
    anothers.is(&[]).answers(&acked(0, 1));

    assert_eq!(script.mailbox("bob"), ["3 Text: c"]);
    assert_eq!(script.mailbox("hana"), ["6 Text: f"]);
    let nothing = script.by("bob", ack(None, &[])).unwrap_err();
    let field = "up_to_message_id";
    assert_eq!(nothing, Refusal::Blank { field });
}

#[test]
fn the_mail_of_who_left_is_gone_and_a_new_incarnation_begins_with_none() {
    let mut script = Script::new();
    script.send("alice", words(["bob"], "hi")).unwrap();
    script.send("alice", to_everybody("all")).unwrap();
    let remove = Wish::RemoveMember(t(), name("bob"), Default::default());

    script.by(LEAD, remove).unwrap();

    let to_gone = script.would("alice", send(words(["bob"], "hi")));
    let member = name("bob");
    assert_eq!(to_gone, Err(Refusal::MemberUnknown { member, team: t() }));
    let add = Wish::AddMember(t(), crate::support::member("bob", MemberKind::Agent));
    script.by("bob", add).unwrap();
    assert!(script.mailbox("bob").is_empty());
    let told = script.send("alice", words(["bob"], "hi")).unwrap();
    let Answer::Sent { receipts, .. } = &told.answer else {
        panic!("{:?}", told.answer);
    };
    assert_eq!(receipts[0].incarnation, Incarnation(2));
}

#[test]
fn a_worker_is_written_to_by_name() {
    let mut script = Script::new();
    script.fleet(FleetCommand::JoinWorker(TEAM, worker_name("w1")));

    script.send("alice", words(["w1"], "hi")).unwrap();

    assert_eq!(script.mailbox("w1"), ["1 Text: hi"]);
}

/// P6 of the replay: nobody speaks as the coordinator, or as the administrator.
#[test]
fn nobody_is_made_with_the_name_of_another_actor() {
    for reserved in [
        "coordinator",
        "Coordinator",
        "admin",
        "ADMIN",
        "administrator",
    ] {
        let script = Script::given(&[job("a")]);
        let refused = |field| {
            Err(Refusal::BadName {
                field,
                text: reserved.into(),
                why: NameError::Reserved,
            })
        };
        for kind in [MemberKind::Agent, MemberKind::Hosted] {
            let add = Wish::AddMember(t(), member(reserved, kind));
            assert_eq!(script.would(LEAD, add), refused("member.name"));
        }
        let itself = Wish::AddMember(t(), member(reserved, MemberKind::Agent));
        assert_eq!(script.would(reserved, itself), refused("member.name"));
        let lead = CreateTeam {
            lead: name(reserved),
            ..team("u")
        };
        assert_eq!(script.would(LEAD, Wish::CreateTeam(lead)), refused("lead"));
        let members = CreateTeam {
            members: vec![member(reserved, MemberKind::Agent)],
            ..team("u")
        };
        let made = script.would(LEAD, Wish::CreateTeam(members));
        assert_eq!(made, refused("members.name"));
    }
    // Every other actor's name has a sign that no member's has.
    for actor in [Actor::Task(TaskId(1)), Actor::Worker(worker_name("w1"))] {
        let parsed = MemberName::parse(&actor.to_string());
        assert_eq!(parsed, Err(NameError::BadCharacter));
    }
}

#[test]
fn a_member_that_has_a_reserved_name_from_before_is_loaded_and_goes_on() {
    let mut script = Script::new();
    // It is put there behind the script's back: what that reloads doesn't know it.
    script.is_checked = false;
    let old = Member {
        name: name("admin"),
        ..script.member("alice").clone()
    };
    script.board.install(&Record::Member(TEAM, old));

    script.send("admin", words(["bob"], "hi")).unwrap();
    script.send("bob", words(["admin"], "who?")).unwrap();

    assert_eq!(script.mailbox("bob"), ["1 Text: hi"]);
    assert_eq!(script.mailbox("admin"), ["2 Text: who?"]);
}

#[test]
fn a_worker_with_a_reserved_name_works_and_is_no_member() {
    let mut script = Script::given(&[job("a")]);
    let (worker, process) = (worker_name("coordinator"), instance("w1"));
    let dispatch = FleetCommand::Dispatch(key(1), worker, process);
    script.fleet(dispatch).is(&[
        "coordinator: #1 dispatched to coordinator as attempt 1",
        "> assign #1/1 to coordinator",
    ]);
    let unknown = script.would("coordinator", send(words([LEAD], "hi")));
    let member = name("coordinator");
    assert_eq!(unknown, Err(Refusal::MemberUnknown { member, team: t() }));
}
