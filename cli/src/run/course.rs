//! The course of a waited-for task, as a pure state machine: what Ctrl-C means when.
//!
//! The first Ctrl-C cancels the task, as soon as its id is known, and the wait goes on to its
//! end; the second leaves it to itself. Only an ending, a second Ctrl-C or the end of the
//! patience end the wait.

use crate::failure::Exit;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The task is on the board.
    Accepted(u64),
    /// Ctrl-C.
    Interrupt,
    /// `--timeout` is over.
    WaitOver,
    /// The task is over.
    Ended(Ending),
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Completed,
    /// Without.
    Failed,
    /// Called off.
    Cancelled,
    /// It ran longer than it may.
    TimedOut,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go on waiting.
    Wait,
    /// Ask for the task to be cancelled, and go on waiting.
    Cancel(u64),
    /// Say that it will be cancelled, and go on waiting.
    PromiseCancel,
    /// Leave the task to itself.
    Leave(Exit),
    /// It is over.
    Finish(Exit),
}

/// Where the wait stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Course {
    task: Option<u64>,
    is_interrupted: bool,
}

impl Course {
    /// The task, once it is on the board.
    pub fn task(&self) -> Option<u64> {
        self.task
    }

    /// Whether the first Ctrl-C was there.
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }

    /// What to do when this happens.
    pub fn step(&mut self, input: Input) -> Action {
        match input {
            Input::Accepted(task) => {
                let is_new = self.task.replace(task).is_none();
                match self.is_interrupted && is_new {
                    true => Action::Cancel(task),
                    false => Action::Wait,
                }
            }
            Input::Interrupt if self.is_interrupted => Action::Leave(Exit::Interrupted),
            Input::Interrupt => {
                self.is_interrupted = true;
                self.task.map_or(Action::PromiseCancel, Action::Cancel)
            }
            Input::WaitOver => Action::Leave(Exit::TimedOut),
            Input::Ended(ending) => Action::Finish(match ending {
                Ending::Completed => Exit::Done,
                Ending::Failed => Exit::TaskFailed,
                Ending::TimedOut => Exit::TimedOut,
                Ending::Cancelled if self.is_interrupted => Exit::Interrupted,
                // Somebody else's doing: it did not do what was asked.
                Ending::Cancelled => Exit::TaskFailed,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(inputs: &[Input]) -> Vec<Action> {
        let mut course = Course::default();
        inputs.iter().map(|input| course.step(*input)).collect()
    }

    #[test]
    fn exit_code_follows_the_ending() {
        for (ending, exit) in [
            (Ending::Completed, Exit::Done),
            (Ending::Failed, Exit::TaskFailed),
            (Ending::Cancelled, Exit::TaskFailed),
            (Ending::TimedOut, Exit::TimedOut),
        ] {
            assert_eq!(
                course(&[Input::Accepted(7), Input::Ended(ending)]),
                [Action::Wait, Action::Finish(exit)]
            );
        }
    }

    #[test]
    fn first_interrupt_cancels_and_waits_for_the_end() {
        assert_eq!(
            course(&[
                Input::Accepted(7),
                Input::Interrupt,
                Input::Ended(Ending::Cancelled)
            ]),
            [
                Action::Wait,
                Action::Cancel(7),
                Action::Finish(Exit::Interrupted)
            ]
        );
    }

    #[test]
    fn task_that_completes_in_spite_of_the_interrupt_is_done() {
        assert_eq!(
            course(&[
                Input::Accepted(7),
                Input::Interrupt,
                Input::Ended(Ending::Completed)
            ])[2],
            Action::Finish(Exit::Done)
        );
    }

    #[test]
    fn second_interrupt_leaves_the_task_to_itself() {
        assert_eq!(
            course(&[Input::Accepted(7), Input::Interrupt, Input::Interrupt]),
            [
                Action::Wait,
                Action::Cancel(7),
                Action::Leave(Exit::Interrupted)
            ]
        );
    }

    #[test]
    fn interrupt_before_the_id_is_known_cancels_once_it_is() {
        assert_eq!(
            course(&[
                Input::Interrupt,
                Input::Accepted(7),
                Input::Accepted(7),
                Input::Interrupt
            ]),
            [
                Action::PromiseCancel,
                Action::Cancel(7),
                Action::Wait,
                Action::Leave(Exit::Interrupted)
            ]
        );
    }

    #[test]
    fn end_of_patience_leaves_the_task_running() {
        assert_eq!(
            course(&[Input::Accepted(7), Input::WaitOver]),
            [Action::Wait, Action::Leave(Exit::TimedOut)]
        );
    }
}
