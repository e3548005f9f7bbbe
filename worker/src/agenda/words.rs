//! What sub-agents ask their lead, and what they are told (D6), as far as somebody may still want it.

use std::{collections::VecDeque, time::Duration};

use ganger_proto::v1::{ReportKind, WordKind};

use super::{Action, Agenda, held::Stage};
use crate::{
    fence::Fence,
    limits::{REASON_LEN_MAX, WORDS_MAX},
    text::keep_head,
};

/// What a sub-agent asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its number in the attempt, from 1.
    pub number: i32,
    /// What is asked.
    pub text: String,
    /// How long it waits; the coordinator's own span where it doesn't say.
    pub timeout: Option<Duration>,
}

/// What a sub-agent is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its number in the attempt, from 1; 0 for one of the worker's own, which nobody waits for.
    pub number: i32,
    /// What it is.
    pub kind: WordKind,
    /// To which question, if it is an answer.
    pub question: i32,
    /// What it says.
    pub text: String,
    /// Who says so.
    pub from: String,
}

/// One attempt's share of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Talk {
    has_ear: bool,
    /// Not acknowledged.
    question: Option<Question>,
    /// Taken and not told, oldest first.
    waiting: VecDeque<Word>,
    /// The first of them is with the attempt's own task.
    is_telling: bool,
    /// The last word that was taken.
    taken: i32,
    /// A word that there was no room for: those after it aren't taken before it.
    missed: Option<i32>,
    /// The last word that the sub-agent was told.
    heeded: i32,
}

impl Talk {
    pub(super) fn new(has_ear: bool) -> Self {
        Self {
            has_ear,
            ..Self::default()
        }
    }

    pub(super) fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// Nobody needs to hear the question any more.
    pub(super) fn question_acknowledged(&mut self) {
        self.question = None;
    }

    /// All that is not heeded is said again from now on.
    pub(super) fn on_new_stream(&mut self) {
        self.missed = None;
    }

    /// Takes a word, unless it was taken before or there is no room: then it is said again.
    fn take(&mut self, word: Word) -> bool {
        let is_out_of_turn = self.missed.is_some_and(|missed| word.number > missed);
        if word.number <= self.taken || is_out_of_turn {
            return false;
        }
        if self.waiting.len() == WORDS_MAX {
            self.missed = Some(word.number);
            return false;
        }
        self.missed = None;
        self.taken = word.number;
        self.waiting.push_back(word);
        true
    }

    fn told(&mut self, number: i32) -> bool {
        let is_first = self
            .waiting
            .front()
            .is_some_and(|word| word.number == number);
        if is_first && self.is_telling {
            self.is_telling = false;
            self.waiting.pop_front();
            self.heeded = number;
            return true;
        }
        false
    }
}

impl Agenda {
    /// A sub-agent asks. It waits for one answer at a time, so an earlier question is settled.
    pub fn asked(&mut self, fence: &Fence, question: Question) {
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        if !held.is_live() || held.stop.is_some() {
            return;
        }
        held.talk.question = Some(question);
        if self.is_connected && !self.hears_questions {
            return self.answer_questions_for_the_deaf();
        }
        if self.is_connected {
            self.actions
                .push(Action::Report(fence.clone(), ReportKind::Asked));
        }
    }

    /// The coordinator puts a question before nobody: the sub-agent is to go on alone.
    pub(crate) fn question_refused(&mut self, fence: &Fence, why: &str) {
        let question = self
            .held
            .get_mut(fence)
            .and_then(|held| held.talk.question.take());
        if let Some(question) = question {
            self.actions
                .push(Action::Tell(fence.clone(), no_answer(&question, why)));
        }
    }

    /// The coordinator has something to tell a sub-agent; false if the attempt isn't held.
    pub fn word(&mut self, fence: &Fence, word: Word) -> bool {
        let Some(held) = self.held.get_mut(fence) else {
            return false;
        };
        if !held.is_live() || held.is_disowned() {
            return true;
        }
        let talk = &mut held.talk;
        if !talk.has_ear {
            if word.number > talk.heeded {
                talk.heeded = word.number;
                let note = format!("no ear here for what {} says: {}", word.from, word.text);
                self.actions
                    .push(Action::Note(fence.clone(), keep_head(note, REASON_LEN_MAX)));
            }
            self.actions.push(Action::Heeded(fence.clone()));
        } else if word.number <= talk.heeded {
            self.actions.push(Action::Heeded(fence.clone()));
        } else if talk.take(word) {
            self.tell_next(fence);
        }
        true
    }

    /// A sub-agent was told a word.
    pub fn told(&mut self, fence: &Fence, number: i32) {
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        if held.talk.told(number) {
            self.actions.push(Action::Heeded(fence.clone()));
            self.tell_next(fence);
        }
    }

    /// What a sub-agent asks and nobody has acknowledged.
    pub fn question(&self, fence: &Fence) -> Option<&Question> {
        let held = self.held.get(fence)?;
        held.talk
            .question()
            .filter(|_| held.is_live() && !held.is_disowned())
    }

    /// The last word that a sub-agent was told, if there is one.
    pub fn heeded(&self, fence: &Fence) -> Option<i32> {
        let held = self.held.get(fence).filter(|held| !held.is_disowned())?;
        Some(held.talk.heeded).filter(|heeded| *heeded > 0)
    }

    /// One at a time: the next is told when the last one was.
    pub(super) fn tell_next(&mut self, fence: &Fence) {
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        if !matches!(held.stage, Stage::Running { .. }) || held.talk.is_telling {
            return;
        }
        if let Some(word) = held.talk.waiting.front().cloned() {
            held.talk.is_telling = true;
            self.actions.push(Action::Tell(fence.clone(), word));
        }
    }

    /// A coordinator of an older version never hears a question.
    pub(super) fn answer_questions_for_the_deaf(&mut self) {
        for (fence, held) in &mut self.held {
            if let Some(question) = held.talk.question.take() {
                let why = "the coordinator knows no questions yet: it must be upgraded";
                self.actions
                    .push(Action::Tell(fence.clone(), no_answer(&question, why)));
            }
        }
    }
}

/// The worker's own answer to a question.
fn no_answer(question: &Question, why: &str) -> Word {
    Word {
        number: 0,
        kind: WordKind::NoAnswer,
        question: question.number,
        text: why.to_owned(),
        from: "worker".to_owned(),
    }
}
