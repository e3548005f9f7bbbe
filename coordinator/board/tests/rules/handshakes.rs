//! Asking a member to stop, and asking for a plan to be approved (M8).

use std::time::Duration;

use board::{
    command::{Addressees, Answer, NewLetter, Receipt, Wish},
    id::{MessageId, TaskId},
    limits,
    mail::{MailKind, Sender},
    refusal::Refusal,
    team::{MemberKind, Plan, Shutdown},
    time::Time,
};

use crate::support::*;

fn stop(who: &str) -> NewLetter {
    of_kind(MailKind::ShutdownRequest, [who], "we are done")
}

fn stops(approve: bool, text: &str) -> NewLetter {
    response(MailKind::ShutdownResponse, [], approve, text)
}

fn plan(text: &str) -> NewLetter {
    of_kind(MailKind::PlanApprovalRequest, [], text)
}

fn judge(who: &str, approve: bool, text: &str) -> NewLetter {
    response(MailKind::PlanApprovalResponse, [who], approve, text)
}

fn within(span: Duration, letter: NewLetter) -> NewLetter {
    NewLetter {
        timeout: Some(span),
        ..letter
    }
}

fn not_asked(who: &str) -> Refusal {
    Refusal::NotAsked { member: name(who) }
}

/// The team with `carol`, who may change nothing before her plan is approved.
fn planning() -> Script {
    let mut script = Script::given(&[card("a")]);
    let carol = board::command::NewMember {
        plan_required: true,
        ..member("carol", MemberKind::Agent)
    };
    script.by(LEAD, Wish::AddMember(t(), carol)).unwrap();
    script
}

/// P3 of the replay.
#[test]
fn a_member_that_is_asked_to_stop_has_a_minute_to_answer() {
    let mut script = Script::new();

    let told = script.send(LEAD, stop("alice")).unwrap();

    told.is(&["lead: message 1 sent to alice: ShutdownRequest"])
        .answers(&Answer::Sent {
            team: TEAM,
            message: MessageId(1),
            correlation: "1".into(),
            receipts: vec![receipt("alice", false)],
        });
    let deadline = script.now + secs(60);
    assert_eq!(script.letter(1).deadline, Some(deadline));
    let shutdown = Shutdown {
        request: MessageId(1),
        correlation: "1".into(),
        by: name(LEAD),
        deadline,
    };
    assert_eq!(script.member("alice").shutdown, Some(shutdown));
    assert_eq!(script.next_deadline(), Some(deadline));
}

#[test]
fn a_member_that_approves_leaves_and_what_it_held_is_free() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();
    script.send(LEAD, tied("bye", stop("alice"))).unwrap();
    script.by("alice", ack(Some(1), &[])).unwrap();

    let told = script.send("alice", stops(true, "gladly")).unwrap();

    told.is(&[
        "alice: message 2 sent to lead: ShutdownResponse",
        "alice: alice left: gladly (because of message 2)",
        "alice: #1 requeued after attempt 1: alice left: gladly (because of message 2)",
    ])
    .mails(&["alice → lead: ShutdownResponse: gladly"]);
    let letter = script.letter(2);
    assert_eq!((letter.approve, &*letter.correlation), (Some(true), "bye"));
    assert!(script.member("alice").left_at.is_some());
    assert_eq!(script.lines(), ["#1 [pending] a"]);
    assert_eq!(script.next_deadline(), None);
}

#[test]
fn a_member_that_rejects_stays_and_the_lead_hears_why() {
    let mut script = Script::new();
    script.send(LEAD, stop("alice")).unwrap();

    let told = script.send("alice", stops(false, "not done yet")).unwrap();

    told.is(&["alice: message 2 sent to lead: ShutdownResponse"])
        .mails(&["alice → lead: ShutdownResponse: not done yet"]);
    assert_eq!(script.letter(2).approve, Some(false));
    assert_eq!(script.member("alice").shutdown, None);
    assert_eq!(script.next_deadline(), None);
    let again = script.send("alice", stops(true, ""));
    assert_eq!(again.unwrap_err(), not_asked("alice"));
}

/// M8: after the deadline the stop ladder takes over.
#[test]
fn a_member_that_does_not_answer_is_removed_when_its_time_is_over() {
    let mut script = Script::given(&[card("a"), owned_by("hana", card("b"))]);
    script.claim("alice", 1).unwrap();
    script.dispatch(2, "w1");
    script.send(LEAD, within(secs(7), stop("alice"))).unwrap();
    script.send(LEAD, within(secs(9), stop("hana"))).unwrap();

    script.after(secs(7) - Duration::from_millis(1));
    assert!(script.tick().is_none());
    let alice = script.until_due();
    let hana = script.until_due();

    let why = "it was asked to stop, and did not answer in time";
    alice
        .is(&[
            &format!("coordinator: alice left: {why} (because of message 2)"),
            &format!(
                "coordinator: #1 requeued after attempt 1: alice left: {why} \
                 (because of message 2)"
            ),
        ])
        .mails(&["coordinator → lead: MemberFailed: alice was removed"]);
    let event = &alice.decision.events[0];
    assert_eq!(script.letter(4).revision, Some(event.revision));
    hana.is(&[
        &format!("coordinator: hana left: {why} (because of message 3)"),
        &format!("coordinator: #2 stop of attempt 1: hana left: {why} (because of message 3)"),
        "coordinator: #2 updated: owner (because of message 3)",
        &format!("> stop #2/1: hana left: {why}"),
    ])
    .mails(&["coordinator → lead: MemberFailed: hana was removed"]);
    assert_eq!(script.now, Time(1_000_000) + secs(9));
}

/// It has nobody who could answer.
#[test]
fn a_hosted_member_at_rest_leaves_at_once() {
    let mut script = Script::given(&[owned_by("hana", card("a"))]);

    let told = script.send(LEAD, tied("bye", stop("hana"))).unwrap();

    told.is(&[
        "lead: message 2 sent to hana: ShutdownRequest",
        "coordinator: hana left: asked to stop by lead (because of message 2)",
        "coordinator: #1 updated: owner (because of message 2)",
    ])
    .mails(&["coordinator → lead: ShutdownResponse: hana left"])
    .answers(&Answer::Sent {
        team: TEAM,
        message: MessageId(2),
        correlation: "bye".into(),
        receipts: vec![Receipt {
            stored: false,
            ..receipt("hana", false)
        }],
    });
    let letter = script.letter(3);
    assert_eq!(letter.from, Sender::Coordinator);
    assert_eq!((letter.approve, &*letter.correlation), (Some(true), "bye"));
    let left = &told.decision.events[1];
    assert_eq!(letter.revision, Some(left.revision));
    assert!(script.mailbox("hana").is_empty());
}

#[test]
fn a_hosted_member_that_is_run_leaves_when_its_attempt_ends() {
    type End = fn(&mut Script) -> Told;
    let ends: [(&str, End); 3] = [
        ("it is done", |script| script.end(1, done("r"))),
        ("it is handed back", |script| script.hand_back(1, "no")),
        ("it is lost", |script| script.lose(1)),
    ];
    for (how, end) in ends {
        let mut script = Script::given(&[owned_by("hana", card("a"))]);
        script.dispatch(1, "w1");
        script.read("hana");
        script.send(LEAD, stop("hana")).unwrap();
        assert_eq!(script.mailbox("hana"), ["2 ShutdownRequest: we are done"]);

        let told = end(&mut script);

        let left = "coordinator: hana left: asked to stop by lead (because of message 2)";
        assert!(told.lines.contains(&left.to_owned()), "{how}: {told:?}");
        let response = "coordinator → lead: ShutdownResponse: hana left";
        assert!(told.mail.contains(&response.to_owned()), "{how}: {told:?}");
        assert!(script.mailbox("hana").is_empty(), "{how}");
        assert_eq!(
            script.task(1).owner.is_some(),
            script.task(1).end().is_some()
        );
    }
}

#[test]
fn a_hosted_member_that_is_run_answers_by_itself() {
    let mut script = Script::given(&[owned_by("hana", card("a"))]);
    script.dispatch(1, "w1");
    script.send(LEAD, stop("hana")).unwrap();

    let told = script.send("hana", stops(true, "")).unwrap();

    told.is(&[
        "hana: message 3 sent to lead: ShutdownResponse",
        "hana: hana left: agreed to stop (because of message 3)",
        "hana: #1 stop of attempt 1: hana left: agreed to stop (because of message 3)",
        "hana: #1 updated: owner (because of message 3)",
        "> stop #1/1: hana left: agreed to stop",
    ]);
}

/// P4, P7 of the replay.
#[test]
fn the_lead_asks_members_to_stop_and_nobody_asks_the_lead() {
    let mut script = Script::new();
    script.join("w1");
    let only_lead = Refusal::LeadOnly {
        action: "ask members to stop",
        member: by("alice"),
    };

    let by_member = script.would("alice", send(stop("bob")));
    let itself = script.would(LEAD, send(stop(LEAD)));
    let worker = script.would(LEAD, send(stop("w1")));

    assert_eq!(by_member, Err(only_lead));
    let member = name(LEAD);
    assert_eq!(itself, Err(Refusal::SelfRecipient { member }));
    let why = "names w1, who is a worker: it is drained, not asked";
    let drained = Refusal::BadValue {
        field: "to",
        why: why.into(),
    };
    assert_eq!(worker, Err(drained));
}

#[test]
fn everybody_is_asked_to_stop_at_once() {
    let mut script = Script::new();
    let all = NewLetter {
        to: Addressees::Everybody,
        ..stop("alice")
    };

    let told = script.send(LEAD, all).unwrap();

    let Answer::Sent { receipts, .. } = &told.answer else {
        panic!("{:?}", told.answer);
    };
    let stored = receipts.iter().map(|r| (r.member.as_str(), r.stored));
    let expected = [
        ("alice", true),
        ("bob", true),
        ("hana", false),
        ("hugo", false),
    ];
    assert_eq!(stored.collect::<Vec<_>>(), expected);
    let present = script.board.members(TEAM).map(|m| m.name.to_string());
    assert_eq!(present.collect::<Vec<_>>(), ["alice", "bob", LEAD]);
    assert_eq!(script.mailbox(LEAD).len(), 2);
}

#[test]
fn who_was_not_asked_does_not_answer() {
    let mut script = Script::new();
    script.send(LEAD, stop("alice")).unwrap();

    let unasked = script.would("bob", send(stops(true, "")));
    let other_tie = script.would("alice", send(tied("7", stops(true, ""))));
    let to_other = response(MailKind::ShutdownResponse, ["bob"], true, "");
    let to_other = script.would("alice", send(to_other));
    let unsaid = of_kind(MailKind::ShutdownResponse, [], "");
    let unsaid = script.would("alice", send(unsaid));
    let to_lead = response(MailKind::ShutdownResponse, [LEAD], true, "");

    assert_eq!(unasked, Err(not_asked("bob")));
    assert_eq!(other_tie, Err(not_asked("alice")));
    assert_eq!(to_other, Err(not_asked("bob")));
    assert_eq!(unsaid, Err(Refusal::Blank { field: "approve" }));
    script.would("alice", send(tied("1", to_lead))).unwrap();
}

#[test]
fn a_request_gives_up_to_seven_days_and_more_than_none() {
    let script = Script::new();
    let most = limits::HANDSHAKE_TIMEOUT_MAX;
    let why = format!("is not between 0 and {} seconds", most.as_secs());
    let field = "timeout";
    let ask = |span| script.would(LEAD, send(within(span, stop("alice"))));

    let refused = Err(Refusal::BadValue { field, why });
    assert_eq!(ask(Duration::ZERO), refused);
    assert_eq!(ask(most + Duration::from_millis(1)), refused);
    assert_eq!(ask(most), Ok(()));
    assert_eq!(ask(Duration::from_millis(1)), Ok(()));
}

/// M8.
#[test]
fn an_approved_plan_lets_its_member_change_the_board() {
    let mut script = planning();
    let not_approved = Refusal::PlanNotApproved {
        member: name("carol"),
    };
    assert_eq!(script.claim("carol", 1).unwrap_err(), not_approved);

    let submitted = script.send("carol", plan("first a, then b")).unwrap();
    assert_eq!(script.claim("carol", 1).unwrap_err(), not_approved);
    let approved = script.send(LEAD, judge("carol", true, "")).unwrap();

    submitted
        .is(&["carol: message 1 sent to lead: PlanApprovalRequest"])
        .mails(&["carol → lead: PlanApprovalRequest: first a, then b"]);
    let deadline = Time(1_000_000) + limits::PLAN_TIMEOUT;
    assert_eq!(script.letter(1).deadline, Some(deadline));
    approved
        .is(&[
            "lead: message 2 sent to carol: PlanApprovalResponse",
            "lead: plan of carol approved (because of message 2)",
        ])
        .answers(&Answer::Sent {
            team: TEAM,
            message: MessageId(2),
            correlation: "1".into(),
            receipts: vec![receipt("carol", false)],
        });
    assert_eq!(script.member("carol").plan, Plan::Approved);
    assert_eq!(script.next_deadline(), None);
    script.claim("carol", 1).unwrap();
}

#[test]
fn a_rejected_plan_goes_back_with_the_reason_and_may_be_made_anew() {
    let mut script = planning();
    script.send("carol", tied("v1", plan("first a"))).unwrap();

    let told = script.send(LEAD, tied("v1", judge("carol", false, "and b?\nno.")));

    told.unwrap().is(&[
        "lead: message 2 sent to carol: PlanApprovalResponse",
        "lead: plan of carol rejected: and b?… (because of message 2)",
    ]);
    assert_eq!(script.member("carol").plan, Plan::Required);
    script.send("carol", plan("first a, then b")).unwrap();
    let late = script.would(LEAD, send(tied("v1", judge("carol", true, ""))));
    assert_eq!(late, Err(not_asked(LEAD)));
    script.send(LEAD, judge("carol", true, "")).unwrap();
}

#[test]
fn a_plan_that_nobody_judges_in_time_counts_as_rejected() {
    let mut script = planning();
    let asked = tied("v1", plan("first a"));
    script.send("carol", within(secs(5), asked)).unwrap();

    let told = script.until_due();

    assert_eq!(script.now, Time(1_000_000) + secs(5));
    told.is(&[
        "coordinator: plan of carol rejected: nobody approved it in time \
               (because of message 1)",
    ])
    .mails(&["coordinator → carol: PlanApprovalResponse: the plan is rejected"]);
    let letter = script.letter(2);
    assert_eq!((letter.approve, &*letter.correlation), (Some(false), "v1"));
    assert_eq!(script.member("carol").plan, Plan::Required);
    assert_eq!(script.next_deadline(), None);
}

/// P6 of the replay.
#[test]
fn a_plan_is_judged_by_the_lead_alone_and_only_where_one_was_made() {
    let mut script = planning();
    let none_made = script.would(LEAD, send(judge("carol", true, "")));
    let none_wanted = script.would("alice", send(plan("mine")));
    let elsewhere = of_kind(MailKind::PlanApprovalRequest, ["bob"], "first a");
    let elsewhere = script.would("carol", send(elsewhere));
    script.send("carol", plan("first a")).unwrap();

    let by_member = script.would("alice", send(judge("carol", true, "")));
    let nobodys = response(MailKind::PlanApprovalResponse, [], true, "");
    let nobodys = script.would(LEAD, send(nobodys));
    let unsaid = of_kind(MailKind::PlanApprovalResponse, ["carol"], "");
    let unsaid = script.would(LEAD, send(unsaid));

    assert_eq!(none_made, Err(not_asked(LEAD)));
    assert_eq!(none_wanted, Err(not_asked("alice")));
    let why = "names bob, who doesn't lead".into();
    assert_eq!(elsewhere, Err(Refusal::BadValue { field: "to", why }));
    let only_lead = Refusal::LeadOnly {
        action: "approve plans",
        member: by("alice"),
    };
    assert_eq!(by_member, Err(only_lead));
    assert_eq!(nobodys, Err(Refusal::Blank { field: "to" }));
    assert_eq!(unsaid, Err(Refusal::Blank { field: "approve" }));
}

/// Mail is how a plan gets its approval: it needs none.
#[test]
fn a_member_without_an_approved_plan_reads_and_writes_mail() {
    let mut script = planning();
    script.send(LEAD, words(["carol"], "welcome")).unwrap();

    script.by("carol", ack(Some(1), &[])).unwrap();
    script.send("carol", words([LEAD], "thanks")).unwrap();

    let refused = script.create("carol", &[card("b")]).unwrap_err();
    let member = name("carol");
    assert_eq!(refused, Refusal::PlanNotApproved { member });
    let not_hers = script.would("carol", Wish::CancelTask(t(), TaskId(1), "".into()));
    let member = name("carol");
    assert_eq!(not_hers, Err(Refusal::PlanNotApproved { member }));
}
