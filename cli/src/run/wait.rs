//! Waits for a task: passes its transcript on, shows where it stands, and listens to Ctrl-C.

use std::time::Duration;

use ganger_proto::{TASK_ID_KEY, v1};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{
    course::{Action, Course, Ending, Input},
    ending_line,
    transcript::{Printer, progress},
};
use crate::{
    client::{Client, request_id},
    context::Context,
    failure::{Exit, Failure},
    follow::{Feed, Into, Patience},
    output::{safe_line, words},
    signals::Interrupts,
    task,
};

/// How often the board is asked where a task stands that doesn't run yet.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// A wait that nobody bounded.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// What came of the wait.
#[derive(Debug)]
pub struct Waited {
    /// The exit code.
    pub exit: Exit,
    /// The task, where it is over.
    pub task: Option<v1::Task>,
}

/// Makes the task, and waits for its end.
///
/// # Errors
/// What the coordinator refused, or where it is away for too long.
pub async fn wait(
    client: &Client,
    request: v1::StreamTaskRequest,
    context: &Context,
) -> Result<Waited, Failure> {
    let mut interrupts = Interrupts::listen()
        .map_err(|error| Failure::local(format!("can't listen to signals: {error}")))?;
    let bar = if context.out.is_json() {
        None
    } else {
        progress()
    };
    let mut wait = Wait {
        client,
        context,
        printer: Printer::new(bar),
        course: Course::default(),
        request_id: request.request_id.clone(),
        is_running: false,
        told: String::new(),
        ended: None,
    };
    let mut happens = {
        let client = client.clone();
        Feed::start(move |into| gather(client, request, into))
    };
    let end = Instant::now() + context.settings.timeout.unwrap_or(FOR_EVER);
    let mut look = interval(LOOK_PAUSE);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let action = tokio::select! {
            () = interrupts.next() => wait.course.step(Input::Interrupt),
            () = sleep_until(end) => wait.course.step(Input::WaitOver),
            happened = happens.next() => wait.happened(happened?)?,
            _ = look.tick() => {
                wait.look().await;
                Action::Wait
            }
        };
        if let Some(exit) = wait.act(action).await? {
            wait.printer.finish()?;
            wait.say_end();
            let task = wait.ended.and_then(|ended| ended.task);
            return Ok(Waited { exit, task });
        }
    }
}

struct Wait<'a> {
    client: &'a Client,
    context: &'a Context,
    printer: Printer,
    course: Course,
    request_id: String,
    is_running: bool,
    /// What was last said of where it stands.
    told: String,
    ended: Option<v1::StreamTaskResponse>,
}

impl Wait<'_> {
    fn happened(&mut self, happened: Happened) -> Result<Action, Failure> {
        let event = match happened {
            Happened::Accepted(id) => return Ok(self.course.step(Input::Accepted(id))),
            Happened::Event(event) => *event,
        };
        if self.context.out.is_json() {
            self.context.out.record(&event, || None)?;
        }
        let ending = match event.r#type.as_str() {
            "task_started" => {
                self.is_running = true;
                let again = match event.attempt {
                    0 | 1 => String::new(),
                    attempt => format!(" (attempt {attempt})"),
                };
                self.printer
                    .status(format!("task #{} runs{again}", event.task_id));
                return Ok(self.course.step(Input::Accepted(event.task_id)));
            }
            "task_running" => {
                if !self.context.out.is_json() {
                    self.printer.print(event.kind(), &event.message)?;
                }
                return Ok(Action::Wait);
            }
            "task_completed" => Ending::Completed,
            "task_failed" => Ending::Failed,
            "task_cancelled" => Ending::Cancelled,
            "task_timed_out" => Ending::TimedOut,
            // Of a later version: it will be told in a later one's words.
            _ => return Ok(Action::Wait),
        };
        self.ended = Some(event);
        Ok(self.course.step(Input::Ended(ending)))
    }

    /// Says where the task stands, while its transcript can't.
    async fn look(&mut self) {
        let Some(id) = self.course.task() else { return };
        if self.is_running && !self.course.is_interrupted() {
            return;
        }
        // Only a courtesy: what is wrong shows on the stream.
        let Ok(task) = task::get(self.client, id).await else {
            return;
        };
        let standing = console::strip_ansi_codes(&words::standing(&task)).into_owned();
        let text = match task.phase_reason.as_str() {
            "" => format!("task #{id} {standing}"),
            reason => format!("task #{id} {standing}: {}", safe_line(reason)),
        };
        if self.told != text && !self.is_running && !task.phase_reason.is_empty() {
            self.note_without_progress(&text);
        }
        self.printer.status(text.clone());
        self.told = text;
    }

    async fn act(&mut self, action: Action) -> Result<Option<Exit>, Failure> {
        match action {
            Action::Wait => {}
            Action::PromiseCancel => self.note("cancelling as soon as the task is on the board"),
            Action::Cancel(id) => {
                self.note(&format!(
                    "cancelling task #{id}; Ctrl-C again leaves it to itself"
                ));
                // It may have ended meanwhile: then its ending is on the way.
                if let Err(failure) =
                    task::cancel(self.client, id, "interrupted", request_id()).await
                {
                    self.note(&format!("can't cancel task #{id}: {failure}"));
                }
            }
            Action::Leave(exit) => {
                self.printer.finish()?;
                let how = match exit {
                    Exit::TimedOut => "the wait is over",
                    _ => "detached",
                };
                match self.course.task() {
                    Some(id) => anstream::eprintln!(
                        "{how}; task #{id} goes on: ganger logs {id}, ganger task cancel {id}"
                    ),
                    None => anstream::eprintln!(
                        "{how}; the task may come on the board yet: join it with --request-id {}",
                        self.request_id
                    ),
                }
                return Ok(Some(exit));
            }
            Action::Finish(exit) => return Ok(Some(exit)),
        }
        Ok(None)
    }

    /// The last words: the result where stdout had none, the files, the ending.
    fn say_end(&self) {
        let (Some(ended), false) = (&self.ended, self.context.out.is_json()) else {
            return;
        };
        if !self.printer.has_printed() && !ended.result.is_empty() {
            anstream::println!("{}", crate::output::safe_block(ended.result.trim_end()));
        }
        if let Some(task) = &ended.task {
            for output in &task.outputs {
                let path = safe_line(&output.path);
                self.context.out.note(&format!(
                    "kept {path}: ganger artifact get {}",
                    output.sha256
                ));
            }
        }
        if ended.r#type != "task_completed" || self.told_progress() {
            self.context.out.note(&ending_line(ended.task_id, ended));
        }
    }

    /// Whether somebody watches at a terminal; a script that succeeds is left in silence.
    fn told_progress(&self) -> bool {
        use std::io::IsTerminal as _;
        std::io::stderr().is_terminal()
    }

    fn note(&self, text: &str) {
        self.printer.beside(|| self.context.out.note(text));
    }

    fn note_without_progress(&self, text: &str) {
        if !self.told_progress() {
            self.context.out.note(text);
        }
    }
}

/// What comes of the stream.
#[derive(Debug)]
enum Happened {
    /// The task is on the board.
    Accepted(u64),
    /// The stream's own words.
    Event(Box<v1::StreamTaskResponse>),
}

/// Streams the task; joins the same task again when the wire breaks, until its ending came.
async fn gather(client: Client, request: v1::StreamTaskRequest, into: Into<Happened>) {
    let mut patience = Patience::default();
    let mut seen = Seen::default();
    loop {
        let broken = match client.delegation().stream_task(request.clone()).await {
            Ok(answer) => {
                let id = answer.metadata().get(TASK_ID_KEY);
                // Without the header, the first event tells the id.
                if let Some(id) = id.and_then(|id| id.to_str().ok()?.parse().ok())
                    && into.send(Ok(Happened::Accepted(id))).await.is_err()
                {
                    return;
                }
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(event)) => {
                            patience.renew();
                            let is_ending = is_ending(&event);
                            if seen.is_new(&event) {
                                let event = Happened::Event(Box::new(event));
                                if into.send(Ok(event)).await.is_err() {
                                    return;
                                }
                            }
                            if is_ending {
                                return;
                            }
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                }
            }
            Err(status) => Some(status),
        };
        if let Err(failure) = patience.pause(&client, broken).await {
            // Nobody listening is a way to end, too.
            let _ = into.send(Err(failure)).await;
            return;
        }
    }
}

fn is_ending(event: &v1::StreamTaskResponse) -> bool {
    matches!(
        event.r#type.as_str(),
        "task_completed" | "task_failed" | "task_cancelled" | "task_timed_out"
    )
}

/// The attempt and index of the last record that was passed on.
#[derive(Debug, Default)]
struct Seen(i32, i64);

impl Seen {
    /// Whether it wasn't passed on before the wire broke.
    fn is_new(&mut self, event: &v1::StreamTaskResponse) -> bool {
        let at = match event.r#type.as_str() {
            "task_started" => (event.attempt, 0),
            "task_running" => (event.attempt, event.index),
            _ => return true,
        };
        let is_new = at > (self.0, self.1);
        if is_new {
            *self = Self(at.0, at.1);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_on_before_the_wire_broke_is_not_passed_on_again() {
        let event = |kind: &str, attempt, index| v1::StreamTaskResponse {
            r#type: kind.into(),
            attempt,
            index,
            ..v1::StreamTaskResponse::default()
        };
        let mut seen = Seen::default();

        assert!(seen.is_new(&event("task_started", 1, 0)));
        assert!(seen.is_new(&event("task_running", 1, 1)));
        assert!(seen.is_new(&event("task_running", 1, 2)));
        assert!(!seen.is_new(&event("task_started", 1, 0)));
        assert!(!seen.is_new(&event("task_running", 1, 2)));
        assert!(seen.is_new(&event("task_running", 1, 3)));
        assert!(seen.is_new(&event("task_started", 2, 0)));
        assert!(seen.is_new(&event("task_running", 2, 1)));
        assert!(seen.is_new(&event("task_failed", 2, 0)));
    }
}
