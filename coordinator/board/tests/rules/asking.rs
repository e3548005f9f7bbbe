//! What a running sub-agent asks its lead, and what it is told (D6).

use std::time::Duration;

use board::{
    command::{Answer, FleetCommand, NewTask, Wish},
    event::Actor,
    id::{Incarnation, MessageId, TaskId},
    limits,
    mail::{MailKind, Sender},
    refusal::{Refusal, Staleness},
    task::{Asked, AttemptEnding, Placement, Status, Word, WordKind},
    team::MemberKind,
    view::Phase,
};

use crate::support::*;

/// The jobs, the first of which runs.
fn running(tasks: &[NewTask]) -> Script {
    let mut script = Script::given(tasks);
    script.dispatch(1, "w1");
    script.start(1, None);
    script
}

fn placed(script: &Script, task: u64) -> Placement {
    script.task(task).placement().unwrap().clone()
}

fn question(script: &Script, number: u32, text: &str) -> FleetCommand {
    let (fence, instance) = script.running(1);
    FleetCommand::Asked {
        fence,
        instance,
        number,
        text: text.into(),
        timeout: None,
    }
}

fn ask(script: &mut Script, number: u32) -> Told {
    let question = question(script, number, "which one?");
    script.fleet(question)
}

fn heed(script: &mut Script, through: u32) -> Told {
    let (fence, instance) = script.running(1);
    script.fleet(FleetCommand::Heeded {
        fence,
        instance,
        through,
    })
}

fn answer(number: Option<u32>, text: &str) -> Wish {
    Wish::AnswerQuestion(t(), TaskId(1), number, text.into())
}

fn steer(text: &str) -> Wish {
    Wish::SteerTask(t(), TaskId(1), text.into())
}

fn word(number: u32, kind: WordKind, text: &str, by: Actor) -> Word {
    Word {
        number,
        kind,
        text: text.into(),
        by,
    }
}

fn not_running(stands: &'static str) -> Result<(), Refusal> {
    let task = TaskId(1);
    Err(Refusal::NotRunning { task, stands })
}

fn no_question(present: Option<u32>) -> Result<(), Refusal> {
    let task = TaskId(1);
    Err(Refusal::NoQuestion { task, present })
}

#[test]
fn a_question_waits_for_its_answer_and_the_lead_is_told_by_mail() {
    let mut script = running(&[job("a")]);

    let question = question(&script, 1, "which one?\nthe old or the new?");
    script
        .fleet(question)
        .is(&["task 1: #1 asked: which one?…"])
        .mails(&["task 1 → lead: Question: which one?"]);

    let asked = Asked {
        number: 1,
        text: "which one?\nthe old or the new?".into(),
        at: script.now,
        deadline: script.now + limits::QUESTION_TIMEOUT,
        message: MessageId(1),
        correlation: "task:1/1/1".into(),
    };
    assert_eq!(placed(&script, 1).question, Some(asked.clone()));
    let letter = script.letter(1);
    assert_eq!(letter.from, Sender::Task(TaskId(1)));
    assert_eq!((&letter.text, letter.task), (&asked.text, Some(TaskId(1))));
    assert_eq!(letter.correlation, asked.correlation);
    assert_eq!(letter.deadline, Some(asked.deadline));
    let view = script.board.view(key(1)).unwrap();
    assert_eq!(view.phase, Some(Phase::WaitingForAnswer));
    assert_eq!(view.phase_since, Some(script.now));
    assert_eq!(view.task.status(), Status::InProgress);
}

#[test]
fn a_hosted_member_asks_in_its_own_name() {
    let mut script = running(&[owned_by("hana", card("a"))]);

    ask(&mut script, 1)
        .is(&["hana: #1 asked: which one?"])
        .mails(&["hana → lead: Question: which one?"]);

    let letter = script.letter(2);
    let hana = Sender::Member(name("hana"), Incarnation(1));
    assert_eq!(letter.from, hana);
    // What it asks at its task is no question of its mailbox.
    assert!(script.member("hana").questions.is_empty());
}

#[test]
fn an_answer_is_told_to_the_sub_agent_and_ends_the_question() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);

    script
        .by(LEAD, answer(Some(1), "the new"))
        .unwrap()
        .is(&["lead: #1 answered: the new", "> tell #1/1 1: the new"]);

    let placement = placed(&script, 1);
    assert_eq!((placement.question, placement.questions), (None, 1));
    let told = word(1, WordKind::Answer(1), "the new", by(LEAD));
    assert_eq!((placement.words, placement.last_word), (vec![told], 1));
    // The mail of the question stays, and a late answer changes nothing.
    assert_eq!(script.mailbox(LEAD).len(), 1);
    assert_eq!(script.would(LEAD, answer(None, "late")), no_question(None));
}

#[test]
fn a_question_that_comes_again_is_acknowledged_again_and_nothing_else() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);

    ask(&mut script, 1)
        .is(&[])
        .mails(&[])
        .answers(&Answer::Done);
    script.by(LEAD, answer(None, "the new")).unwrap();
    ask(&mut script, 1).is(&[]).mails(&[]);

    assert_eq!(placed(&script, 1).question, None);
    assert_eq!(placed(&script, 1).words.len(), 1);
}

#[test]
fn a_question_is_refused_that_is_none_or_comes_out_of_turn() {
    let mut script = running(&[job("a")]);
    let (fence, instance) = script.running(1);
    let asks = |number, text: &str, timeout| FleetCommand::Asked {
        fence,
        instance,
        number,
        text: text.into(),
        timeout,
    };
    let bad = |field, why: &str| {
        let why = why.into();
        Err(Refusal::BadValue { field, why })
    };
    let blank = Err(Refusal::Blank {
        field: "asked.text",
    });
    let long = "x".repeat(limits::QUESTION_LEN_MAX);
    let too_long = Err(Refusal::TooLong {
        field: "asked.text",
        len: long.len() + 1,
        max: limits::QUESTION_LEN_MAX,
        unit: "bytes",
    });
    let span = "is not between 0 and 86400 seconds";
    let most = limits::QUESTION_TIMEOUT_MAX;
    let table = [
        (0, "a", None, bad("asked.number", "is 0, and the next is 1")),
        (2, "a", None, bad("asked.number", "is 2, and the next is 1")),
        (1, " \n", None, blank),
        (1, &format!("{long}x"), None, too_long),
        (1, "a", Some(Duration::ZERO), bad("asked.timeout", span)),
        (1, "a", Some(most + secs(1)), bad("asked.timeout", span)),
        (1, &long, Some(most), Ok(())),
    ];
    for (number, text, timeout, expected) in table {
        let would = script.would_bring(&asks(number, text, timeout));
        assert_eq!(would, expected, "{number} {timeout:?}");
    }

    script.fleet(asks(1, "a", None));
    let at_once = Err(Refusal::Full {
        what: "questions of a sub-agent at once",
        max: 1,
    });
    assert_eq!(script.would_bring(&asks(2, "b", None)), at_once);
}

#[test]
fn an_attempt_asks_so_often_and_no_more() {
    let mut script = running(&[job("a")]);
    script.is_checked = false;
    for number in 1..=limits::QUESTIONS_PER_ATTEMPT_MAX {
        ask(&mut script, number);
        script.by(LEAD, answer(None, "yes")).unwrap();
    }

    let more = question(&script, limits::QUESTIONS_PER_ATTEMPT_MAX + 1, "once more?");

    let full = Refusal::Full {
        what: "questions of an attempt",
        max: 100,
    };
    assert_eq!(script.would_bring(&more), Err(full));
    // Who asks again has heeded the answer before.
    let placement = placed(&script, 1);
    assert_eq!((placement.words.len(), placement.last_word), (1, 100));
}

#[test]
fn only_a_sub_agent_at_work_asks_or_is_told_anything() {
    let mut script = Script::given(&[job("a"), card("b")]);
    assert_eq!(script.would(LEAD, steer("a")), not_running("pending"));
    assert_eq!(
        script.would(LEAD, answer(None, "a")),
        not_running("pending")
    );
    script.dispatch(1, "w1");
    let asks = question(&script, 1, "which one?");
    assert_eq!(script.would_bring(&asks), not_running("being prepared"));
    assert_eq!(
        script.would(LEAD, steer("a")),
        not_running("being prepared")
    );
    assert_eq!(script.would(LEAD, answer(None, "a")), no_question(None));
    script.start(1, None);
    script.cancel(LEAD, 1, "so").unwrap();
    assert_eq!(script.would_bring(&asks), not_running("being stopped"));
    assert_eq!(script.would(LEAD, steer("a")), not_running("being stopped"));
    script.end(1, report(AttemptEnding::Cancelled, "", ""));
    let why = Staleness::Attempt;
    assert_eq!(script.would_bring(&asks), Err(Refusal::Stale { why }));
    assert_eq!(script.would(LEAD, steer("a")), not_running("cancelled"));
    assert_eq!(
        script.would(LEAD, answer(None, "a")),
        not_running("cancelled")
    );
    // What is over may be in memory in outline only.
    script.board.outline(key(1));
    let refused = script.by(LEAD, steer("a")).map(drop);
    assert_eq!(refused, not_running("cancelled"));
}

#[test]
fn a_task_that_a_member_claimed_has_no_sub_agent() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();

    let stands = "claimed by a member";
    assert_eq!(script.would(LEAD, steer("a")), not_running(stands));
    assert_eq!(script.would(LEAD, answer(None, "a")), not_running(stands));
}

#[test]
fn only_an_interactive_type_is_steered() {
    let shell = NewTask {
        agent_type: Some(agent_type("shell")),
        prompt: "true".into(),
        ..card("a")
    };
    let script = running(&[shell]);

    let agent_type = agent_type("shell");
    let refused = Err(Refusal::NotInteractive { agent_type });
    assert_eq!(script.would(LEAD, steer("go left")), refused);
}

/// The type of a task that names none is that of the member as whom it is run.
#[test]
fn a_running_sub_agent_is_steered() {
    for task in [job("a"), owned_by("hana", card("a"))] {
        let mut script = running(&[task]);

        let steered = script.by(LEAD, steer("go left\nthen right")).unwrap();
        steered.mails(&[]).is(&[
            "lead: #1 steered: go left…",
            "> tell #1/1 1: go left\nthen right",
        ]);

        let told = word(1, WordKind::Steer, "go left\nthen right", by(LEAD));
        assert_eq!(placed(&script, 1).words, [told]);
    }
}

#[test]
fn a_word_is_neither_blank_nor_longer_than_it_may_be() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);
    let long = "x".repeat(limits::WORD_LEN_MAX);
    let blank = Err(Refusal::Blank { field: "text" });
    let too_long = Err(Refusal::TooLong {
        field: "text",
        len: long.len() + 1,
        max: limits::WORD_LEN_MAX,
        unit: "bytes",
    });
    let table = [
        (" \n".to_owned(), blank),
        (format!("{long}x"), too_long),
        (long, Ok(())),
    ];

    for (text, expected) in table {
        assert_eq!(script.would(LEAD, steer(&text)), expected);
        assert_eq!(script.would(LEAD, answer(None, &text)), expected);
    }
}

#[test]
fn so_many_words_wait_to_be_heeded_and_an_answer_beside_them() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);
    for _ in 0..limits::WORDS_MAX {
        script.by(LEAD, steer("go left")).unwrap();
    }

    let full = Err(Refusal::Full {
        what: "words that a sub-agent has not heeded yet",
        max: limits::WORDS_MAX,
    });
    assert_eq!(script.would(LEAD, steer("go left")), full);
    script.by(LEAD, answer(None, "the new")).unwrap();
    assert_eq!(script.would(LEAD, steer("go left")), full);

    heed(&mut script, 1);
    script.by(LEAD, steer("go right")).unwrap();
    assert_eq!(placed(&script, 1).last_word, 18);
}

#[test]
fn heeded_words_are_forgotten_and_others_kept() {
    let mut script = running(&[job("a")]);
    for text in ["one", "two", "three"] {
        script.by(LEAD, steer(text)).unwrap();
    }

    heed(&mut script, 2).is(&["writes #1"]);
    // Said again, or of words that never were: nothing to write.
    heed(&mut script, 2).is(&[]);
    heed(&mut script, 0).is(&[]);

    let three = word(3, WordKind::Steer, "three", by(LEAD));
    assert_eq!(placed(&script, 1).words, [three]);
    heed(&mut script, u32::MAX).is(&["writes #1"]);
    assert_eq!(
        (placed(&script, 1).words, placed(&script, 1).last_word),
        (vec![], 3)
    );
}

#[test]
fn a_report_of_an_attempt_that_is_over_is_stale() {
    let mut script = running(&[job("a")]);
    let (fence, instance) = script.running(1);
    let heeded = FleetCommand::Heeded {
        fence,
        instance,
        through: 1,
    };
    let asked = question(&script, 1, "which one?");
    script.lose(1);

    let stale = Err(Refusal::Stale {
        why: Staleness::Attempt,
    });
    assert_eq!(script.would_bring(&heeded), stale);
    assert_eq!(script.would_bring(&asked), stale);
}

#[test]
fn a_question_that_nobody_answers_in_time_is_given_up() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);
    let asked_at = script.now;

    let text = "Nobody answered in time: go on alone, as you think best.";
    let told = format!("> tell #1/1 1: {text}");
    let answered = format!("coordinator: #1 answered: {text}");
    script.until_due().is(&[&answered, &told]);

    assert_eq!(script.now, asked_at + limits::QUESTION_TIMEOUT);
    let placement = placed(&script, 1);
    assert_eq!(placement.question, None);
    let word = word(1, WordKind::NoAnswer(1), text, Actor::Coordinator);
    assert_eq!(placement.words, [word]);
    assert_eq!(script.next_deadline(), None);
    assert_eq!(script.mailbox(LEAD).len(), 1);
}

/// D4: three clocks, never mixed.
#[test]
fn the_clocks_of_a_question_of_a_run_and_of_a_task_don_t_disturb_each_other() {
    let asks = |script: &mut Script, timeout| {
        let (fence, instance) = script.running(1);
        script.fleet(FleetCommand::Asked {
            fence,
            instance,
            number: 1,
            text: "which one?".into(),
            timeout: Some(timeout),
        });
    };
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.start(1, Some(secs(60)));
    asks(&mut script, secs(10));
    let lines = script.until_due().lines;
    assert!(lines[0].contains("#1 answered"), "{lines:?}");
    let lines = script.until_due().lines;
    assert!(lines[0].contains("ran longer than it may"), "{lines:?}");

    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.start(1, Some(secs(60)));
    asks(&mut script, secs(600));
    let lines = script.until_due().lines;
    assert!(lines[0].contains("ran longer than it may"), "{lines:?}");
    assert_eq!(placed(&script, 1).question, None);
}

#[test]
fn a_request_to_stop_ends_a_question_at_once() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);

    script
        .cancel(LEAD, 1, "no use")
        .unwrap()
        .is(&["lead: #1 stop of attempt 1: no use", "> stop #1/1: no use"]);

    assert_eq!(placed(&script, 1).question, None);
    assert_eq!(script.would(LEAD, answer(None, "a")), no_question(None));
    // What is left to wait for is that the stop is confirmed.
    let due = script.now + limits::STOP_CONFIRM_TIMEOUT;
    assert_eq!(script.next_deadline(), Some(due));
}

#[test]
fn question_and_words_end_with_their_attempt() {
    let mut script = running(&[job("a")]);
    ask(&mut script, 1);
    script.by(LEAD, steer("go left")).unwrap();

    script.lose(1);
    script.dispatch(1, "w1");
    script.start(1, None);

    let placement = placed(&script, 1);
    assert_eq!((placement.question, placement.questions), (None, 0));
    assert_eq!((placement.words, placement.last_word), (vec![], 0));
    ask(&mut script, 1);
    let asked = placed(&script, 1).question.unwrap();
    assert_eq!(&*asked.correlation, "task:1/2/1");
}

#[test]
fn a_question_stands_also_where_the_lead_s_mailbox_is_full() {
    let mut script = running(&[job("a")]);
    script.is_checked = false;
    let senders = ["alice", "bob"].into_iter().cycle();
    for sender in senders.take(limits::MAILBOX_MESSAGES_MAX) {
        script.send(sender, words([LEAD], "hi")).unwrap();
    }

    ask(&mut script, 1)
        .is(&["task 1: #1 asked: which one?"])
        .mails(&[]);

    assert_eq!(placed(&script, 1).question.unwrap().message, MessageId(0));
    script.by(LEAD, answer(None, "the new")).unwrap();
}

#[test]
fn who_has_a_say_in_a_task_answers_and_steers_and_nobody_else() {
    let table = [
        (job("a"), LEAD, true),
        (job("a"), "alice", false),
        (owned_by("hana", card("a")), "alice", false),
        (owned_by("hana", card("a")), "hana", true),
    ];
    for (task, who, may) in table {
        let mut script = running(&[task]);
        ask(&mut script, 1);

        for wish in [answer(None, "yes"), steer("go left")] {
            let would = script.would(who, wish);
            assert_eq!(would.is_ok(), may, "{who}: {would:?}");
            let is_not_owner = matches!(would, Err(Refusal::NotOwner { .. }));
            assert_eq!(is_not_owner, !may, "{who}: {would:?}");
        }
    }
}

#[test]
fn its_maker_answers_a_task_that_is_nobody_s() {
    let mut script = Script::new();
    script.create("alice", &[job("a")]).unwrap();
    script.dispatch(1, "w1");
    script.start(1, None);
    ask(&mut script, 1);

    script.by("alice", answer(None, "yes")).unwrap();

    assert_eq!(placed(&script, 1).words[0].by, by("alice"));
}

#[test]
fn a_sub_agent_answers_those_that_it_has_hired() {
    let mut script = Script::new();
    script.fleet(FleetCommand::OfferTypes(vec![hiring("boss", 1)]));
    let boss = NewTask {
        agent_type: Some(agent_type("boss")),
        ..card("a")
    };
    script.create(LEAD, &[boss]).unwrap();
    script.dispatch(1, "w1");
    script.start(1, None);
    script.by_agent(1, 1, create(&[job("b")])).unwrap();
    script.dispatch(2, "w2");
    script.start(2, None);
    let (fence, instance) = script.running(2);
    script.fleet(FleetCommand::Asked {
        fence,
        instance,
        number: 1,
        text: "which one?".into(),
        timeout: None,
    });

    let answer = Wish::AnswerQuestion(t(), TaskId(2), None, "the new".into());
    script.by_agent(1, 1, answer).unwrap();

    assert_eq!(placed(&script, 2).words[0].by, Actor::Task(TaskId(1)));
}

/// M6, T21 of the replay.
#[test]
fn a_message_to_a_hosted_member_that_asks_is_its_answer() {
    let mut script = running(&[owned_by("hana", card("a"))]);
    ask(&mut script, 1);
    let answers = |told: &Told| match &told.answer {
        Answer::Sent { receipts, .. } => receipts[0].answers,
        other => panic!("{other:?}"),
    };
    let others = script.send("alice", words(["hana"], "hi")).unwrap();
    let unrelated = tied("x", words(["hana"], "about x"));
    let unrelated = script.send(LEAD, unrelated).unwrap();

    let answer = script.send(LEAD, words(["hana"], "the new")).unwrap();
    answer.is(&[
        "lead: message 5 sent to hana: Text",
        "lead: #1 answered: the new (because of message 5)",
        "> tell #1/1 1: the new",
    ]);

    assert_eq!(
        [&others, &unrelated, &answer].map(answers),
        [false, false, true]
    );
    assert_eq!(&*script.letter(5).correlation, "task:1/1/1");
    assert_eq!(placed(&script, 1).question, None);
    let after = script.send(LEAD, words(["hana"], "really")).unwrap();
    assert!(!answers(&after));
}

#[test]
fn an_answer_by_mail_with_the_question_s_correlation_answers_it() {
    let mut script = running(&[owned_by("hana", card("a"))]);
    // The sub-agent has asked by mail, too: what is answered must be said.
    let by_mail = of_kind(MailKind::Question, [LEAD], "by mail?");
    script.by_agent(1, 1, send(by_mail)).unwrap();
    script.after(secs(1));
    ask(&mut script, 1);
    let answer = |tie| send(tied(tie, of_kind(MailKind::Answer, ["hana"], "the new")));
    let field = "correlation_id";
    assert_eq!(
        script.would(LEAD, answer("")),
        Err(Refusal::Blank { field })
    );
    let member = name(LEAD);
    assert_eq!(
        script.would(LEAD, answer("x")),
        Err(Refusal::NotAsked { member })
    );

    script.by(LEAD, answer("task:1/1/1")).unwrap();

    assert_eq!(placed(&script, 1).question, None);
    assert_eq!(script.member("hana").questions.len(), 1);
    script.by(LEAD, answer("")).unwrap();
    assert!(script.member("hana").questions.is_empty());
    assert_eq!(placed(&script, 1).words.len(), 1);
}

/// One of the same name is another.
#[test]
fn a_question_of_a_member_who_left_is_its_task_s() {
    let mut script = running(&[owned_by("hana", card("a"))]);
    let gone = board::command::Removal {
        force: true,
        reason: "so".into(),
    };
    // Its attempt is stopped, and asks nothing any more.
    script
        .by(LEAD, Wish::RemoveMember(t(), name("hana"), gone))
        .unwrap();
    let again = member("hana", MemberKind::Hosted);
    script
        .after(secs(1))
        .by(LEAD, Wish::AddMember(t(), again))
        .unwrap();

    let asks = question(&script, 1, "which one?");
    assert_eq!(script.would_bring(&asks), not_running("being stopped"));
}
