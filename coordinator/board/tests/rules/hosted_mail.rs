//! The mail of those who are run (M6): it goes with their assignments.

use board::{
    command::NewLetter,
    id::{MemberName, MessageId},
    limits,
    task::AttemptEnding,
};

use crate::support::*;

fn hana() -> MemberName {
    name("hana")
}

/// Hana has a task, and a message of alice's.
fn given() -> Script {
    let mut script = Script::given(&[owned_by("hana", card("a"))]);
    script
        .send("alice", words(["hana"], "use schema 2"))
        .unwrap();
    script
}

fn handed(script: &Script) -> u64 {
    let task = script.task(1);
    task.placement().map_or(0, |placement| placement.mail.0)
}

#[test]
fn unread_mail_goes_with_the_next_assignment_and_counts_as_read_when_it_starts() {
    let mut script = given();
    assert_eq!(script.board.unread(TEAM, &hana()), 2);

    script.dispatch(1, "w1");
    assert_eq!(
        (handed(&script), script.board.unread(TEAM, &hana())),
        (2, 2)
    );
    script.send("alice", words(["hana"], "one more")).unwrap();
    script.start(1, None);
    let hana = hana();
    let left = script.board.mail_after(TEAM, &hana, MessageId(0));
    let left: Vec<u64> = left.map(|(id, _)| id.0).collect();
    assert_eq!((left, script.board.unread(TEAM, &hana)), (vec![3], 1));
    script.start(1, None);
    script.end(1, done("r"));

    assert_eq!(script.mailbox("hana"), ["3 Text: one more"]);
    assert_eq!(script.board.unread(TEAM, &hana), 1);
}

#[test]
fn mail_of_a_lost_attempt_goes_to_the_next_one() {
    type Loss = fn(&mut Script);
    let losses: [(&str, Loss); 4] = [
        ("lost before it started", |script| drop(script.lose(1))),
        ("lost after it started", |script| {
            script.start(1, None);
            script.lose(1);
        }),
        ("refused", |script| drop(script.hand_back(1, "no"))),
        ("handed back by a worker that drains", |script| {
            script.start(1, None);
            script.hand_back(1, "draining");
        }),
    ];
    for (how, lose) in losses {
        let mut script = given();
        script.dispatch(1, "w1");

        lose(&mut script);

        assert_eq!(script.board.unread(TEAM, &hana()), 2, "{how}");
        script.after(secs(60)).tick();
        script.dispatch(1, "w2");
        assert_eq!(handed(&script), 2, "{how}");
    }
}

#[test]
fn an_attempt_that_failed_has_read_its_mail() {
    let mut script = given();
    script.dispatch(1, "w1");
    script.start(1, None);

    script.end(1, report(AttemptEnding::Failed, "", "no"));

    assert!(script.mailbox("hana").is_empty());
}

#[test]
fn an_attempt_that_never_started_has_read_nothing() {
    let mut script = given();
    script.dispatch(1, "w1");

    script.end(1, report(AttemptEnding::Failed, "", "no sandbox"));

    assert_eq!(script.board.unread(TEAM, &hana()), 2);
}

/// What was given may be acknowledged by the sub-agent as well.
#[test]
fn who_is_run_acknowledges_its_mail_as_anybody_does() {
    let mut script = given();
    script.dispatch(1, "w1");
    script.start(1, None);
    script.send("alice", words(["hana"], "one more")).unwrap();

    script.by("hana", ack(Some(3), &[])).unwrap();
    script.end(1, done("r"));

    assert!(script.mailbox("hana").is_empty());
}

#[test]
fn a_task_that_is_nobodys_takes_nobodys_mail() {
    let mut script = Script::given(&[job("a")]);
    script.send("alice", words(["hana"], "hi")).unwrap();

    script.dispatch(1, "w1");
    script.start(1, None);
    script.end(1, done("r"));

    assert_eq!(handed(&script), 0);
    assert_eq!(script.board.unread(TEAM, &hana()), 1);
}

#[test]
fn an_assignment_takes_128_kib_of_mail_and_no_more_but_one_message_always() {
    let len = limits::ASSIGNMENT_MAIL_LEN_MAX / 2;
    let long = |len: usize| NewLetter {
        payload: "p".repeat(len - 65_534).into(),
        summary: "s".into(),
        ..words(["hana"], &"x".repeat(65_533))
    };
    for (lens, expected) in [
        (vec![len, len], 2),
        (vec![len, len + 1], 1),
        (vec![2 * len - 2, len], 1),
    ] {
        let mut script = Script::given(&[owned_by("hana", card("a"))]);
        script.read("hana");
        for len in &lens {
            script.send("alice", long(*len)).unwrap();
            let id = script.board.team(TEAM).unwrap().last_message;
            assert_eq!(script.letter(id.0).size(), *len);
        }

        script.dispatch(1, "w1");

        assert_eq!(handed(&script), 1 + expected, "{lens:?}");
    }
}
