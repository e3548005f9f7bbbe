//! Questions and their answers (M6, T21 of the replay).

use board::{
    command::{Addressees, Answer, Call, Caller, NewLetter},
    id::MessageId,
    limits,
    mail::MailKind,
    refusal::Refusal,
};

use crate::support::*;

fn bad(field: &'static str, why: &str) -> Refusal {
    Refusal::BadValue {
        field,
        why: why.into(),
    }
}

/// M6, T21 of the replay.
#[test]
fn a_message_to_a_member_who_waits_for_it_is_its_answer() {
    let mut script = Script::new();
    let question = of_kind(MailKind::Question, ["bob", LEAD], "which schema?");
    script.send("alice", question).unwrap();
    assert_eq!(&*script.letter(1).correlation, "1");

    let others = script.send("hana", words(["alice"], "hi")).unwrap();
    let unrelated = tied("x", words(["alice"], "about x"));
    let unrelated = script.send("bob", unrelated).unwrap();
    let to_all = script.send("bob", to_everybody("all hands")).unwrap();
    let answer = script.send("bob", words(["alice"], "the new one")).unwrap();
    let after = script.send("bob", words(["alice"], "really")).unwrap();

    let answers = |told: &Told| match &told.answer {
        Answer::Sent { receipts, .. } => receipts[0].answers,
        other => panic!("{other:?}"),
    };
    let all = [&others, &unrelated, &to_all, &answer, &after];
    assert_eq!(all.map(answers), [false, false, false, true, false]);
    let correlation = |id| script.letter(id).correlation.clone();
    assert_eq!((&*correlation(5), &*correlation(6)), ("1", ""));
    assert!(script.member("alice").questions.is_empty());
}

/// E15 of the replay: a late answer changes nothing.
#[test]
fn an_answer_belongs_to_an_open_question() {
    let mut script = Script::new();
    let answer = |correlation| {
        let answer = of_kind(MailKind::Answer, ["alice"], "yes");
        send(tied(correlation, answer))
    };
    let not_asked = |who| Err(Refusal::NotAsked { member: name(who) });
    assert_eq!(script.would("bob", answer("")), not_asked("bob"));
    let question = |tie, to| tied(tie, of_kind(MailKind::Question, [to], "well?"));
    script.send("alice", question("one", "bob")).unwrap();
    script.send("alice", question("two", "bob")).unwrap();
    script.send("alice", question("three", "hana")).unwrap();
    // It may be acknowledged before it is answered.
    script.by("bob", ack(Some(9), &[])).unwrap();

    assert_eq!(script.would("hugo", answer("one")), not_asked("hugo"));
    assert_eq!(script.would("bob", answer("three")), not_asked("bob"));
    let field = "correlation_id";
    let unclear = Err(Refusal::Blank { field });
    assert_eq!(script.would("bob", answer("")), unclear);
    let two = script.by("bob", answer("two")).unwrap();
    let one = script.by("bob", answer("")).unwrap();
    let leads = script.by(LEAD, answer("")).unwrap();

    for (told, id, tie) in [(two, 4, "two"), (one, 5, "one"), (leads, 6, "three")] {
        told.answers(&Answer::Sent {
            team: TEAM,
            message: MessageId(id),
            correlation: tie.into(),
            receipts: vec![receipt("alice", true)],
        });
    }
    assert_eq!(script.would("bob", answer("one")), not_asked("bob"));
    assert!(script.member("alice").questions.is_empty());
}

#[test]
fn an_answer_goes_to_one() {
    let script = Script::new();
    let answer = of_kind(MailKind::Answer, ["alice", "bob"], "yes");

    let several = script.would(LEAD, send(answer.clone()));
    let to_all = NewLetter {
        to: Addressees::Everybody,
        ..answer
    };
    let to_all = script.would(LEAD, send(to_all));

    let too_many = Refusal::TooMany {
        field: "to",
        count: 2,
        max: 1,
    };
    assert_eq!(several, Err(too_many));
    let why = "is not for what concerns one member alone";
    assert_eq!(to_all, Err(bad("broadcast", why)));
}

#[test]
fn a_member_has_sixteen_open_questions_and_no_more() {
    let mut script = Script::new();
    let question = || of_kind(MailKind::Question, ["bob"], "well?");
    for _ in 0..limits::QUESTIONS_OPEN_MAX {
        script.send("alice", question()).unwrap();
    }

    let refused = script.send("alice", question()).unwrap_err();

    let full = Refusal::Full {
        what: "open questions of a member",
        max: limits::QUESTIONS_OPEN_MAX,
    };
    assert_eq!(refused, full);
}

/// T6: it has no mailbox to which an answer could come.
#[test]
fn the_sub_agent_of_a_task_speaks_and_is_not_answered() {
    let mut script = Script::given(&[job("a"), owned_by("hana", card("b"))]);
    script.dispatch(1, "w1");
    script.dispatch(2, "w1");
    let by_attempt = |task, letter| Call {
        caller: Caller {
            attempt: Some(fence(task, 1)),
            ..Caller::default()
        },
        request: None,
        wish: send(letter),
    };

    let nobodys = script.call(&by_attempt(1, words([LEAD], "half way")));
    let hanas = script.call(&by_attempt(2, words([LEAD], "half way")));
    let asks = of_kind(MailKind::Question, [LEAD], "and now?");
    let nobody_asks = script.call(&by_attempt(1, asks.clone()));
    script.call(&by_attempt(2, asks)).unwrap();

    nobodys.unwrap().mails(&["task 1 → lead: Text: half way"]);
    hanas.unwrap().mails(&["hana → lead: Text: half way"]);
    let why = "is task:1, who is on no roster";
    assert_eq!(nobody_asks.unwrap_err(), bad("ganger-member", why));
    assert_eq!(script.member("hana").questions.len(), 1);
    // Nobody waits any more when the attempt is over.
    script.end(2, done("r"));
    assert!(script.member("hana").questions.is_empty());
}
