//! A sub-agent that talks: what it says is carried out, what it is told is said to it.
//!
//! It has one question waiting at a time, and as many in all as its type allows. It never waits for
//! the sub-agent, and nobody waits for it.

use ganger_proto::v1::{TranscriptKind, WordKind};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Job, Line, Notice,
    mouth::{Mouth, Written},
};
use crate::{
    agenda::{Question, Word},
    agent::talk::{Call, Ear, Heard, Outcome, Said, Tokens, Told},
    limits::{REASON_LEN_MAX, RECORD_TEXT_LEN_MAX, TOOL_CALLS_MAX},
    sandbox::Input,
    text::{self, keep_head},
    tools::Tools,
};

/// What happened to it.
pub(super) enum Happened {
    /// Something was written to it, or can't be.
    Written(Written),
    /// It is to be told something.
    Word(Word),
    /// A call of a tool is over.
    Called(Box<Called>),
}

/// A call that is over.
pub(super) struct Called {
    call: Call,
    outcome: Outcome,
}

/// See the head of this file.
pub(super) struct Talking {
    ear: Ear,
    mouth: Mouth,
    words: mpsc::Receiver<Word>,
    tools: Tools,
    calls: JoinSet<Called>,
    agent_type: String,
    team: String,
    allowed: Vec<String>,
    questions_max: u32,
    /// The number of the last question.
    asked: i32,
    /// The question that waits for its answer.
    pending: Option<i32>,
    is_stopping: bool,
    has_dropped: bool,
    /// What it said came out.
    pub(super) result: Option<String>,
    /// What it said it used.
    pub(super) tokens: Tokens,
}

impl Talking {
    /// Begins with the task.
    pub(super) fn new(stdin: Input, job: &Job, tools: Tools, words: mpsc::Receiver<Word>) -> Self {
        let mut mouth = Mouth::new(stdin);
        let task = Told::task(
            &job.assignment,
            job.agent_type.depth_of_hiring(&job.assignment),
        );
        mouth.say(task.line(), None);
        Self {
            ear: Ear::default(),
            mouth,
            words,
            tools,
            calls: JoinSet::new(),
            agent_type: job.assignment.agent_type.clone(),
            team: job.assignment.team.clone(),
            allowed: job.agent_type.tools.clone(),
            questions_max: job.agent_type.questions,
            asked: 0,
            pending: None,
            is_stopping: false,
            has_dropped: false,
            result: None,
            tokens: Tokens::default(),
        }
    }

    /// Tells what it says from what it merely writes; nothing read means the end.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        if bytes.is_empty() {
            self.ear.finish()
        } else {
            self.ear.push(bytes)
        }
    }

    /// What happens next; maybe for ever nothing. Cancel safe.
    pub(super) async fn happen(&mut self) -> Happened {
        tokio::select! {
            written = self.mouth.write() => Happened::Written(written),
            Some(word) = self.words.recv() => Happened::Word(word),
            Some(Ok(called)) = self.calls.join_next() => Happened::Called(Box::new(called)),
        }
    }

    /// Does what is to be done about it.
    pub(super) async fn take(&mut self, happened: Happened, line: &Line) {
        match happened {
            Happened::Written(Written::Some) => {}
            Happened::Written(Written::Word(number)) => {
                line.tell(Notice::Told(line.fence.clone(), number)).await;
            }
            Happened::Written(Written::Closed(untold)) => {
                note(
                    line,
                    "it has closed its standard input, and is told nothing more",
                )
                .await;
                for number in untold {
                    line.tell(Notice::Told(line.fence.clone(), number)).await;
                }
            }
            Happened::Word(word) => self.tell(word, line).await,
            Happened::Called(called) => self.called(*called, line).await,
        }
    }

    /// Carries out what it says. After its end there is nobody to be answered.
    pub(super) async fn said(&mut self, said: Said, is_over: bool, line: &Line) {
        match said {
            Said::Progress { text, doing } => {
                for text in records(text) {
                    line.say(TranscriptKind::Stdout, text).await;
                }
                if let Some(doing) = doing {
                    line.tell(Notice::Doing(line.fence.clone(), doing)).await;
                }
            }
            Said::Result(text) => self.result = Some(text),
            Said::Usage { tokens, is_delta } => self.tokens.note(tokens, is_delta),
            Said::Question { .. } | Said::Tool(_) if is_over => {}
            Said::Question { text, timeout } => match self.why_not_ask() {
                None => {
                    self.asked += 1;
                    self.pending = Some(self.asked);
                    note(line, &format!("asks ({}): {text}", self.asked)).await;
                    let question = Question {
                        number: self.asked,
                        text,
                        timeout,
                    };
                    line.tell(Notice::Asked(line.fence.clone(), question)).await;
                }
                Some(why) => {
                    let told = Told::NoAnswer {
                        question: 0,
                        text: &why,
                    };
                    self.answer(&told, line).await;
                }
            },
            Said::Tool(call) => self.call(call, line).await,
        }
    }

    /// Says that a line of it was not understood.
    pub(super) async fn wrong(&mut self, wrong: &str, line: &Line) {
        note(line, wrong).await;
        self.answer(&Told::Error { text: wrong }, line).await;
    }

    /// Its stop was ordered: what waits for an answer gets none.
    pub(super) fn stop(&mut self, reason: &str) {
        self.is_stopping = true;
        if let Some(question) = self.pending.take() {
            let told = Told::NoAnswer {
                question,
                text: reason,
            };
            self.mouth.say(told.line(), None);
        }
        self.mouth.say(Told::Stop { reason }.line(), None);
    }

    /// Writes what the sub-agent's standard input has room for.
    pub(super) async fn write_now(&mut self, line: &Line) {
        loop {
            let written = tokio::select! {
                biased;
                written = self.mouth.write() => written,
                () = std::future::ready(()) => return,
            };
            self.take(Happened::Written(written), line).await;
        }
    }

    fn why_not_ask(&self) -> Option<String> {
        let most = self.questions_max;
        if self.is_stopping {
            Some("not asked: the attempt is being stopped".to_owned())
        } else if let Some(pending) = self.pending {
            Some(format!(
                "not asked: question {pending} waits for its answer"
            ))
        } else if self.asked.unsigned_abs() >= most {
            Some(format!(
                "not asked: an attempt may ask {most} questions; go on alone"
            ))
        } else {
            None
        }
    }

    async fn tell(&mut self, word: Word, line: &Line) {
        let Word {
            number,
            kind,
            question,
            text,
            from,
        } = &word;
        let question = *question;
        let (told, noted) = match kind {
            WordKind::Answer => (
                Told::Answer {
                    question,
                    text,
                    from,
                },
                format!("{from} answers ({question}): {text}"),
            ),
            WordKind::NoAnswer => (
                Told::NoAnswer { question, text },
                format!("no answer ({question}): {text}"),
            ),
            // A kind that this version doesn't know is words still.
            WordKind::Steer | WordKind::Unspecified => {
                (Told::Steer { text, from }, format!("{from} says: {text}"))
            }
        };
        if matches!(kind, WordKind::Answer | WordKind::NoAnswer) && self.pending == Some(question) {
            self.pending = None;
        }
        note(line, &noted).await;
        if self.mouth.is_closed() {
            line.tell(Notice::Told(line.fence.clone(), *number)).await;
        } else {
            self.mouth.say(told.line(), Some(*number));
        }
    }

    async fn call(&mut self, call: Call, line: &Line) {
        let refused = if !self.allowed.contains(&call.name) {
            let allowed = match &self.allowed[..] {
                [] => "none".to_owned(),
                allowed => allowed.join(", "),
            };
            Some((
                "TOOL_NOT_ALLOWED",
                format!("agent type {} may call: {allowed}", self.agent_type),
            ))
        } else if self.calls.len() >= TOOL_CALLS_MAX {
            Some((
                "TOO_MANY_CALLS",
                format!("{TOOL_CALLS_MAX} calls are under way: wait for one of them"),
            ))
        } else {
            None
        };
        if let Some((reason, message)) = refused {
            let outcome = Outcome::Error {
                reason: reason.to_owned(),
                message,
            };
            return self.called(Called { call, outcome }, line).await;
        }
        let (tools, team, fence) = (self.tools.clone(), self.team.clone(), line.fence.clone());
        self.calls.spawn(async move {
            let outcome = tools.call(&fence, &team, &call).await;
            Called { call, outcome }
        });
    }

    async fn called(&mut self, Called { call, outcome }: Called, line: &Line) {
        let name = keep_head(call.name, 64);
        match &outcome {
            Outcome::Result(_) => note(line, &format!("called {name}")).await,
            Outcome::Error { reason, message } => {
                note(line, &format!("called {name}: {reason}: {message}")).await;
            }
        }
        let id: &Value = &call.id;
        let told = Told::ToolResult {
            id,
            outcome: &outcome,
        };
        self.answer(&told, line).await;
    }

    async fn answer(&mut self, told: &Told<'_>, line: &Line) {
        if self.mouth.answer(told.line()) {
            self.has_dropped = false;
        } else if !std::mem::replace(&mut self.has_dropped, true) {
            note(
                line,
                "it doesn't read: what it isn't told from here on is dropped",
            )
            .await;
        }
    }
}

async fn note(line: &Line, text: &str) {
    let text = keep_head(text.to_owned(), REASON_LEN_MAX);
    line.say(TranscriptKind::Worker, text).await;
}

/// A text as records, each ended by a line end where it is the last.
fn records(text: String) -> Vec<String> {
    let mut rest = text;
    if !rest.is_empty() && !rest.ends_with('\n') {
        rest.push('\n');
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let head = text::head_len(&rest, RECORD_TEXT_LEN_MAX);
        let later = rest.split_off(head);
        records.push(std::mem::replace(&mut rest, later));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_becomes_records_that_fit() {
        assert_eq!(records(String::new()), Vec::<String>::new());
        assert_eq!(records("a".into()), ["a\n"]);
        assert_eq!(records("a\n".into()), ["a\n"]);

        let long = "ä".repeat(RECORD_TEXT_LEN_MAX);
        let parts = records(long.clone());

        assert!(parts.iter().all(|part| part.len() <= RECORD_TEXT_LEN_MAX));
        assert_eq!(parts.concat(), format!("{long}\n"));
    }
}
