//! Questions, and what sub-agents are told.

use super::*;

pub(super) fn question(number: i32) -> Question {
    Question {
        number,
        text: "which?".into(),
        timeout: None,
    }
}

pub(super) fn steer(number: i32) -> Word {
    Word {
        number,
        kind: WordKind::Steer,
        question: 0,
        text: format!("word {number}"),
        from: "lead".into(),
    }
}

fn asks(task: u64) -> Action {
    Action::Report(fence(task, 1), ReportKind::Asked)
}

fn tells(number: i32) -> Action {
    Action::Tell(fence(1, 1), steer(number))
}

fn heeded() -> Action {
    Action::Heeded(fence(1, 1))
}

fn no_answer(question: i32, why: &str) -> Action {
    let word = Word {
        number: 0,
        kind: WordKind::NoAnswer,
        question,
        text: why.to_owned(),
        from: "worker".into(),
    };
    Action::Tell(fence(1, 1), word)
}

impl Desk {
    fn word(&mut self, number: i32) -> Vec<Action> {
        assert!(self.agenda.word(&fence(1, 1), steer(number)));
        self.settle()
    }

    fn told(&mut self, number: i32) -> Vec<Action> {
        self.agenda.told(&fence(1, 1), number);
        self.settle()
    }

    fn asked(&mut self, number: i32) -> Vec<Action> {
        self.agenda.asked(&fence(1, 1), question(number));
        self.settle()
    }
}

#[test]
fn a_question_is_said_on_each_stream_until_it_is_acknowledged() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.acknowledge(1, ReportKind::Started, true);

    assert_eq!(desk.asked(1), [asks(1)]);
    assert_eq!(desk.agenda.question(&fence(1, 1)), Some(&question(1)));
    desk.agenda.disconnected();
    desk.connect(&[(1, true)]);
    assert_eq!(desk.settle(), [asks(1)]);

    desk.acknowledge(1, ReportKind::Asked, true);
    desk.agenda.disconnected();
    assert_eq!(desk.asked(2), [], "nobody hears it now");
    desk.connect(&[(1, true)]);
    assert_eq!(desk.settle(), [asks(1)]);
    assert_eq!(desk.agenda.question(&fence(1, 1)), Some(&question(2)));
    desk.acknowledge(1, ReportKind::Asked, true);
    desk.agenda.disconnected();
    desk.connect(&[(1, true)]);
    assert_eq!(desk.settle(), []);
}

#[test]
fn a_stale_question_disowns() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.asked(1);

    desk.acknowledge(1, ReportKind::Asked, false);

    assert_eq!(desk.settle(), [Action::Kill(fence(1, 1))]);
    assert_eq!(desk.agenda.question(&fence(1, 1)), None);
}

#[test]
fn a_question_that_is_put_before_nobody_is_answered_so() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.asked(1);

    desk.agenda.question_refused(&fence(1, 1), "too many");
    desk.acknowledge(1, ReportKind::Asked, true);

    assert_eq!(desk.settle(), [no_answer(1, "too many")]);
    assert_eq!(desk.agenda.question(&fence(1, 1)), None);
    desk.agenda.question_refused(&fence(1, 1), "too many");
    assert_eq!(desk.settle(), [], "once is enough");
}

#[test]
fn a_stop_and_an_end_settle_a_question() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.asked(1);
    desk.stop(1, None);
    assert_eq!(desk.settle(), [Action::Stop(fence(1, 1))]);
    assert_eq!(desk.asked(2), [], "it is told at once by its own task");
    assert_eq!(desk.agenda.question(&fence(1, 1)), None);

    let mut desk = Desk::new(1);
    desk.running(1);
    desk.acknowledge(1, ReportKind::Started, true);
    desk.asked(1);
    desk.over(1);
    desk.settle();
    desk.agenda.disconnected();
    desk.connect(&[(1, true)]);
    assert_eq!(
        desk.settle(),
        [Action::Report(fence(1, 1), ReportKind::Ended)]
    );
}

#[test]
fn words_are_told_once_and_in_order_one_after_the_other() {
    let mut desk = Desk::new(1);
    desk.running(1);

    assert_eq!(desk.word(1), [tells(1)]);
    assert_eq!(desk.word(2), []);
    assert_eq!(desk.word(1), [], "it is being told");
    assert_eq!(desk.told(2), [], "it was not given yet");
    assert_eq!(desk.told(1), [heeded(), tells(2)]);
    assert_eq!(desk.agenda.heeded(&fence(1, 1)), Some(1));
    assert_eq!(desk.told(2), [heeded()]);
    assert_eq!(desk.agenda.heeded(&fence(1, 1)), Some(2));

    assert_eq!(desk.word(1), [heeded()], "whoever asks again is told");
    assert_eq!(desk.word(2), [heeded()]);
    assert_eq!(desk.word(0), [heeded()]);
    assert_eq!(desk.word(4), [tells(4)], "a gap is the coordinator's own");
}

#[test]
fn words_wait_for_the_sub_agent_to_begin() {
    let mut desk = Desk::new(1);
    desk.assign(1);
    desk.settle();
    assert_eq!(desk.word(1), []);
    desk.agenda.prepared(&fence(1, 1));
    assert_eq!(desk.settle(), [Action::Begin(fence(1, 1))]);
    assert_eq!(desk.word(2), []);

    desk.agenda.began(&fence(1, 1), desk.now);

    assert_eq!(
        desk.settle(),
        [Action::Report(fence(1, 1), ReportKind::Started), tells(1)]
    );
}

#[test]
fn words_beyond_the_bound_are_taken_when_they_are_said_again_and_none_is_left_out() {
    const MAX: i32 = crate::limits::WORDS_MAX as i32;
    let mut desk = Desk::new(1);
    desk.running(1);
    for number in 1..=MAX + 2 {
        desk.word(number);
    }
    assert_eq!(desk.told(1), [heeded(), tells(2)]);

    assert_eq!(desk.word(MAX + 2), [], "one before it is still to come");
    desk.word(MAX + 1);
    desk.told(2);
    desk.word(MAX + 2);

    for number in 3..=MAX + 1 {
        assert_eq!(desk.told(number), [heeded(), tells(number + 1)]);
    }
    assert_eq!(desk.told(MAX + 2), [heeded()]);
}

#[test]
fn a_word_that_was_left_out_and_taken_back_holds_up_nothing_on_the_next_stream() {
    const MAX: i32 = crate::limits::WORDS_MAX as i32;
    let mut desk = Desk::new(1);
    desk.running(1);
    for number in 1..=MAX + 1 {
        desk.word(number);
    }
    for number in 1..MAX {
        desk.told(number);
    }
    assert_eq!(desk.told(MAX), [heeded()]);
    assert_eq!(desk.word(MAX + 2), []);

    desk.agenda.disconnected();
    desk.connect(&[(1, true)]);
    desk.settle();

    assert_eq!(desk.word(MAX + 2), [tells(MAX + 2)]);
}

#[test]
fn who_has_no_ear_is_told_nothing_and_the_transcript_says_so() {
    let mut desk = Desk::new(1);
    desk.running_by(Terms {
        has_ear: false,
        ..terms(1)
    });
    let text = "no ear here for what lead says: word 1".to_owned();

    assert_eq!(desk.word(1), [Action::Note(fence(1, 1), text), heeded()]);
    assert_eq!(desk.agenda.heeded(&fence(1, 1)), Some(1));
    assert_eq!(desk.word(1), [heeded()]);
}

#[test]
fn a_word_to_what_is_not_held_is_answered_and_one_that_comes_too_late_is_not() {
    let mut desk = Desk::new(1);
    assert!(!desk.agenda.word(&fence(1, 1), steer(1)));

    desk.running(1);
    desk.over(1);
    desk.settle();

    assert_eq!(desk.word(1), []);
}

#[test]
fn a_coordinator_that_knows_no_questions_gets_none_and_the_sub_agent_is_told() {
    let no_answer = |number| {
        let why = "the coordinator knows no questions yet: it must be upgraded";
        no_answer(number, why)
    };
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.acknowledge(1, ReportKind::Started, true);
    desk.agenda.disconnected();
    desk.asked(1);

    desk.agenda
        .connected(&[(fence(1, 1), true)], desk.now, LEASE, false);

    assert_eq!(desk.settle(), [asks(1), no_answer(1)]);
    assert_eq!(
        desk.agenda.question(&fence(1, 1)),
        None,
        "so nothing is said"
    );
    assert_eq!(desk.asked(2), [no_answer(2)]);
}
