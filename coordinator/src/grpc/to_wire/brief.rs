//! Tasks in answers that tell many of them: without their long texts, and not more than a message
//! holds.

use board::{stuck::Stuck, view::TaskView};
use ganger_proto::v1;
use prost::Message;

use super::{question, task};

/// Characters of a long text that a list shows.
const CHARS: usize = 200;

/// Bytes of the questions that one answer tells whole.
const QUESTIONS_LEN_MAX: usize = 256 * 1024;

/// Bytes of the tasks that one answer tells in brief; those that come after are told in outline.
/// With a thousand outlines beside it, an answer stays below the 4 MiB that clients take.
const BYTES_MAX: usize = 3 * 1024 * 1024 / 2;

/// A task without its long texts.
pub fn brief_task(view: &TaskView) -> v1::Task {
    let mut told = task(view);
    let asked = told.question.as_mut().map(|asked| &mut asked.text);
    let texts = [
        &mut told.description,
        &mut told.prompt,
        &mut told.result,
        &mut told.error,
    ];
    for text in texts.into_iter().chain(asked) {
        cut(text);
    }
    told
}

/// The questions of those of some tasks whose sub-agents wait for an answer.
pub fn questions(views: &[TaskView]) -> Vec<v1::WaitingQuestion> {
    let mut told = 0;
    let asking = views.iter().filter_map(|view| {
        let asked = view.task.placement()?.question.as_ref()?;
        let mut question = question(asked);
        told += question.text.len();
        if told > QUESTIONS_LEN_MAX {
            cut(&mut question.text);
        }
        Some(v1::WaitingQuestion {
            task_id: view.task.id.0,
            question: Some(question),
        })
    });
    asking.collect()
}

/// A task that can't get on.
pub fn stuck(stuck: &Stuck) -> v1::StuckTask {
    v1::StuckTask {
        task_id: stuck.task.0,
        because: stuck.because.to_string(),
    }
}

/// Of a task what says which it is and where it stands.
pub fn outline(mut task: v1::Task) -> v1::Task {
    for text in [&mut task.subject, &mut task.line] {
        cut(text);
    }
    v1::Task {
        id: task.id,
        team: task.team,
        subject: task.subject,
        status: task.status,
        owner: task.owner,
        parent_task_id: task.parent_task_id,
        stop_reason: task.stop_reason,
        revision: task.revision,
        phase: task.phase,
        runner: task.runner,
        attempt_count: task.attempt_count,
        line: task.line,
        unreadable: task.unreadable,
        ..v1::Task::default()
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(CHARS) {
        text.truncate(end);
        text.push('…');
    }
}

/// Tells the tasks of one answer, one after the other.
#[derive(Default)]
pub struct Briefly {
    told: usize,
}

impl Briefly {
    /// A task in brief, or in outline where the answer has become long.
    pub fn task(&mut self, view: &TaskView) -> v1::Task {
        let told = brief_task(view);
        let len = told.encoded_len();
        if self.told + len > BYTES_MAX {
            return outline(told);
        }
        self.told += len;
        told
    }
}
