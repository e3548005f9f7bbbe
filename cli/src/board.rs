//! The live board: who does what, and what is blocked by what.
//!
//! On a terminal the table is drawn again as the team's events come in, and twice a second while
//! something runs, since progress commits nothing. Elsewhere each event is a line.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, SystemTime},
};

use ganger_proto::v1;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    client::Client,
    failure::Failure,
    follow::Events,
    listing,
    output::{Output, Table, safe_line, words},
    team, watch,
};

/// How many tasks of one kind are fetched at the most: more than a screen holds.
const ROWS_MAX: usize = 200;
/// The pause between two drawings while something runs.
const TICK: Duration = Duration::from_millis(500);
/// The shortest pause between two drawings, however much happens.
const DRAW_PAUSE: Duration = Duration::from_millis(100);

/// The board at one moment, as much of it as a screen may hold.
#[derive(Debug, Clone, Default)]
pub struct Board {
    team: v1::Team,
    tasks: Vec<v1::Task>,
    revision: u64,
}

impl Board {
    /// Looks at the board of the team that is spoken in.
    ///
    /// # Errors
    /// What the coordinator refused.
    pub async fn load(client: &Client) -> Result<Self, Failure> {
        let team = team::get(client, "").await?;
        let revision = team.revision;
        let mut board = Self {
            team,
            tasks: Vec::new(),
            revision,
        };
        let statuses = if board.count() <= ROWS_MAX {
            vec![v1::TaskStatus::Unspecified]
        } else {
            // Of a large board those that move are worth a row.
            vec![v1::TaskStatus::InProgress, v1::TaskStatus::Pending]
        };
        for status in statuses {
            let request = v1::ListTasksRequest {
                status: status.into(),
                ..v1::ListTasksRequest::default()
            };
            let page = listing::pages(client, request, ROWS_MAX).await?;
            board.tasks.extend(page.tasks);
        }
        Ok(board)
    }

    /// The team revision that this shows, or an earlier one.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many tasks stand where.
    pub fn counts(&self) -> v1::TaskCounts {
        self.team.tasks.unwrap_or_default()
    }

    /// Whether there are tasks, and none is open.
    pub fn is_done(&self) -> bool {
        let counts = self.counts();
        counts.pending == 0 && counts.in_progress == 0 && self.count() > 0
    }

    fn count(&self) -> usize {
        let counts = self.counts();
        let all = [
            counts.pending,
            counts.in_progress,
            counts.completed,
            counts.failed,
            counts.cancelled,
        ];
        all.iter()
            .map(|count| usize::try_from(*count).unwrap_or(0))
            .sum()
    }

    fn is_moving(&self) -> bool {
        self.counts().in_progress > 0
    }

    /// The board's lines, at most `rows_max` tasks of them, the moving ones first to stay.
    fn lines(&self, now: SystemTime, rows_max: usize) -> Vec<String> {
        let mut shown: Vec<&v1::Task> = self.tasks.iter().collect();
        if shown.len() > rows_max {
            shown.sort_by_key(|task| (worth(task.status()), task.id));
            shown.truncate(rows_max);
            shown.sort_by_key(|task| task.id);
        }
        let mut table = Table::new(&["ID", "STANDS", "WHO", "FOR", "WAITS FOR", "TASK"]);
        for task in &shown {
            table.row(vec![
                format!("#{}", task.id),
                words::standing(task),
                safe_line(listing::who(task)),
                words::run_time(task, now)
                    .map(words::span)
                    .unwrap_or_default(),
                words::ids(&task.open_blockers),
                match asks(task).unwrap_or_else(|| doing(task)) {
                    "" => safe_line(&task.subject),
                    doing => safe_line(&format!("{}: {doing}", task.subject)),
                },
            ]);
        }
        let nudge = match self.team.verification_nudge_needed {
            true => "; it is time to verify the work",
            false => "",
        };
        let mut lines = vec![format!(
            "team {}: {}{nudge}",
            self.team.name,
            team::counts(self.team.tasks.as_ref())
        )];
        lines.extend(table.lines(None));
        let hidden = self.count().saturating_sub(shown.len());
        if hidden > 0 {
            lines.push(format!("and {hidden} more: ganger task list"));
        }
        lines
    }
}

/// What is shown first where not all fits.
fn worth(status: v1::TaskStatus) -> u8 {
    match status {
        v1::TaskStatus::InProgress => 0,
        v1::TaskStatus::Failed => 1,
        v1::TaskStatus::Pending => 2,
        _ => 3,
    }
}

/// What a running task's sub-agent asks.
fn asks(task: &v1::Task) -> Option<&str> {
    Some(&task.question.as_ref()?.text)
}

/// What a running task does right now: the end of its board line, after who does it.
fn doing(task: &v1::Task) -> &str {
    if task.status() != v1::TaskStatus::InProgress {
        return "";
    }
    let after_subject = task.line.split_once(task.subject.as_str());
    let after_who = after_subject.and_then(|(_, rest)| rest.split_once("): "));
    after_who.map_or(task.active_form.as_str(), |(_, doing)| doing)
}

/// Shows the board until it is done, and answers it as it is then.
///
/// # Errors
/// Where the coordinator refuses, or is away for too long.
pub async fn live(
    client: &Client,
    out: Output,
    mut events: Events,
    done: impl Fn(&Board) -> bool,
) -> Result<Board, Failure> {
    let screen = (io::stdout().is_terminal() && !out.is_json()).then(Screen::new);
    loop {
        let board = Board::load(client).await?;
        if let Some(screen) = &screen {
            screen.draw(&board);
        }
        if done(&board) {
            // Nothing that led to this is left untold.
            while screen.is_none() && events.seen() < board.revision() {
                tell(out, &events.next().await?)?;
            }
            return Ok(board);
        }
        tokio::select! {
            told = events.next() => {
                let told = told?;
                match screen {
                    None => tell(out, &told)?,
                    Some(_) => tokio::time::sleep(DRAW_PAUSE).await,
                }
            }
            () = tokio::time::sleep(TICK), if screen.is_some() && board.is_moving() => {}
        }
    }
}

fn tell(out: Output, told: &v1::WatchTeamResponse) -> Result<(), Failure> {
    for event in &told.events {
        out.record(event, || Some(watch::line(event)))?;
    }
    Ok(())
}

/// The lines at the foot of a terminal that are drawn again and again.
struct Screen {
    bar: ProgressBar,
    colour: bool,
}

impl Screen {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        // One message of many lines is one drawing.
        bar.set_style(
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let choice = anstream::AutoStream::choice(&io::stdout());
        Self {
            bar,
            colour: choice != anstream::ColorChoice::Never,
        }
    }

    fn draw(&self, board: &Board) {
        let (height, width) = console::Term::stdout().size();
        // The heading, the head of the table, the line below and the cursor's.
        let rows_max = usize::from(height).saturating_sub(4).max(3);
        let lines = board.lines(SystemTime::now(), rows_max);
        let lines: Vec<String> = lines
            .iter()
            .map(|line| {
                let line = console::truncate_str(line, width.into(), "…");
                match self.colour {
                    true => line.into_owned(),
                    false => console::strip_ansi_codes(&line).into_owned(),
                }
            })
            .collect();
        self.bar.set_message(lines.join("\n"));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What was drawn last stays.
        self.bar.abandon();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, status: v1::TaskStatus) -> v1::Task {
        v1::Task {
            id,
            subject: format!("Task {id}"),
            status: status.into(),
            ..v1::Task::default()
        }
    }

    fn board(tasks: Vec<v1::Task>) -> Board {
        let mut counts = v1::TaskCounts::default();
        for task in &tasks {
            match task.status() {
                v1::TaskStatus::InProgress => counts.in_progress += 1,
                v1::TaskStatus::Completed => counts.completed += 1,
                _ => counts.pending += 1,
            }
        }
        Board {
            team: v1::Team {
                name: "red".into(),
                tasks: Some(counts),
                ..v1::Team::default()
            },
            tasks,
            revision: 0,
        }
    }

    #[test]
    fn board_says_who_does_what_and_what_waits_for_what() {
        let running = v1::Task {
            phase: v1::TaskPhase::Running.into(),
            runner: "w1".into(),
            line: "#1 [in_progress] Task 1 (w1): Counting…".into(),
            ..task(1, v1::TaskStatus::InProgress)
        };
        let waiting = v1::Task {
            open_blockers: vec![1],
            ..task(2, v1::TaskStatus::Pending)
        };

        let lines = board(vec![running, waiting]).lines(SystemTime::UNIX_EPOCH, 10);

        let plain: Vec<_> = lines
            .iter()
            .map(|line| console::strip_ansi_codes(line))
            .collect();
        assert_eq!(
            plain,
            [
                "team red: 2 (1 in progress, 1 pending)",
                "ID  STANDS   WHO  FOR  WAITS FOR  TASK",
                "#1  running  w1                   Task 1: Counting…",
                "#2  blocked            #1         Task 2",
            ]
        );
    }

    #[test]
    fn moving_tasks_stay_where_not_all_fit() {
        let mut tasks: Vec<v1::Task> = (1..=5)
            .map(|id| task(id, v1::TaskStatus::Completed))
            .collect();
        tasks.push(task(6, v1::TaskStatus::InProgress));

        let lines = board(tasks).lines(SystemTime::UNIX_EPOCH, 2);

        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("#1"), "{}", lines[2]);
        assert!(lines[3].starts_with("#6"), "{}", lines[3]);
        assert_eq!(lines[4], "and 4 more: ganger task list");
    }

    #[test]
    fn board_says_when_its_work_wants_verifying() {
        let mut board = board(vec![task(1, v1::TaskStatus::Completed)]);
        board.team.verification_nudge_needed = true;

        let lines = board.lines(SystemTime::UNIX_EPOCH, 10);

        assert_eq!(
            lines[0],
            "team red: 1 (1 completed); it is time to verify the work"
        );
    }

    #[test]
    fn empty_board_is_not_done() {
        assert!(!board(vec![]).is_done());
        assert!(!board(vec![task(1, v1::TaskStatus::Pending)]).is_done());
        assert!(board(vec![task(1, v1::TaskStatus::Completed)]).is_done());
    }
}
