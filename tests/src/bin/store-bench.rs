//! Measures the store by itself: `store-bench [DIR] [TASKS]`.
//!
//! Prints durable commits a second for groups of several sizes beside the disk's own rate of
//! `fdatasync`, what backups and sweeps between them cost, then what a start costs after a kill -9 with a million tasks, nine of ten of them
//! finished. Everything is made under DIR (the current directory) and removed again.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use board::{
    event::{Actor, Event, Happening},
    id::{
        AttemptNumber, InstanceId, MemberName, MessageId, Revision, TaskId, TeamName, TeamUid,
        WorkerName,
    },
    record::{CameTo, Outcome, Record, Request, RequestKey},
    task::{
        BlockerFailedPolicy, End, EndStatus, FailurePolicy, Placement, Priority, Status, Task,
        TaskKind, TaskState, Usage, Waiting,
    },
    team::Team,
    time::Time,
};
use ganger_coordinator::store::{
    BackupSink, Batch, Options, Retention, SledStore, Store, StoreError,
};

const TEAM: TeamUid = TeamUid(1);
const SPAN: Duration = Duration::from_secs(4);
const TASKS: u64 = 1_000_000;
/// Of ten tasks so many stay open.
const OPEN_OF_TEN: u64 = 1;
/// Tasks in a commit while filling.
const GROUP: usize = 64;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let first = args.next().unwrap_or_else(|| ".".to_owned());
    match &*first {
        // The program calls itself, so that a process can be killed and another's memory seen.
        "--fill" => fill(&dir(args.next())?, number(args.next())?),
        "--load" => load(&dir(args.next())?),
        root => {
            let tasks = args.next().map_or(Ok(TASKS), |text| text.parse())?;
            measure(Path::new(root), tasks)
        }
    }
}

fn dir(arg: Option<String>) -> Result<PathBuf> {
    Ok(arg.context("which directory?")?.into())
}

fn number(arg: Option<String>) -> Result<u64> {
    Ok(arg.context("how many tasks?")?.parse()?)
}

fn measure(root: &Path, tasks: u64) -> Result<()> {
    let scratch = tempfile::tempdir_in(root)?;
    syncs(scratch.path())?;
    for with_outcomes in [false, true] {
        for group in [1, 8, 64, 128] {
            let dir = scratch
                .path()
                .join(format!("commit-{group}-{with_outcomes}"));
            commits(&dir, group, with_outcomes)?;
            fs::remove_dir_all(&dir)?;
        }
    }

    beside(&scratch.path().join("beside"), tasks / 10)?;

    let dir = scratch.path().join("load");
    let program = std::env::current_exe()?;
    let filled = Command::new(&program)
        .arg("--fill")
        .arg(&dir)
        .arg(tasks.to_string())
        .status()?;
    // It ends itself by SIGKILL, so that nothing is tidied up.
    ensure!(!filled.success(), "the filling process ended by itself");
    for what in ["after kill -9", "again"] {
        println!("start {what}:");
        let loaded = Command::new(&program).arg("--load").arg(&dir).status()?;
        ensure!(loaded.success(), "loading failed");
    }
    Ok(())
}

fn syncs(dir: &Path) -> Result<()> {
    let mut file = File::create(dir.join("raw"))?;
    let begin = Instant::now();
    let mut spans = Vec::new();
    while begin.elapsed() < SPAN {
        let before = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        spans.push(before.elapsed());
    }
    report("raw fdatasync of 512 B", &mut spans, 1, begin.elapsed());
    Ok(())
}

fn commits(dir: &Path, group: usize, with_outcomes: bool) -> Result<()> {
    let mut store = SledStore::open(dir, Options::default())?;
    let mut plan = Plan::default();
    let begin = Instant::now();
    let mut spans = Vec::new();
    while begin.elapsed() < SPAN {
        let mut batch = plan.creates(group);
        if with_outcomes {
            plan.add_outcomes(&mut batch);
        }
        let before = Instant::now();
        store.commit(&batch)?;
        spans.push(before.elapsed());
    }
    let outcomes = if with_outcomes {
        " with request ids"
    } else {
        ""
    };
    let what = format!("commit of {group} creates{outcomes}");
    report(&what, &mut spans, group, begin.elapsed());
    Ok(())
}

/// Commits alone, and with a step of a backup or of a sweep after each, on a board of some size.
fn beside(dir: &Path, tasks: u64) -> Result<()> {
    let options = Options {
        retention: Retention {
            count: tasks / 4,
            ..Retention::default()
        },
        ..Options::default()
    };
    let mut store = SledStore::open(dir, options)?;
    let mut plan = Plan::default();
    while plan.last_task < tasks {
        store.commit(&plan.creates(GROUP))?;
    }
    for with in ["", ", then a step of a backup", ", then one of a sweep"] {
        let bytes = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        let (mut spans, mut backups) = (Vec::new(), 0);
        while begin.elapsed() < SPAN {
            let batch = plan.creates(8);
            let before = Instant::now();
            store.commit(&batch)?;
            if with.ends_with("backup") && !store.back_up() {
                store.begin_backup(Box::new(Counted(bytes.clone())));
                backups += 1;
            }
            if with.ends_with("sweep") {
                store.sweep(now())?;
            }
            spans.push(before.elapsed());
        }
        let what = format!("commit of 8 creates{with}");
        report(&what, &mut spans, 8, begin.elapsed());
        if backups > 0 {
            let mib = bytes.load(Ordering::Relaxed) >> 20;
            println!("  {mib} MiB in {backups} backups");
        }
    }
    Ok(())
}

/// Takes a backup in, and keeps nothing of it.
struct Counted(Arc<AtomicU64>);

impl BackupSink for Counted {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn end(self: Box<Self>, _: Result<u64, StoreError>) {}
}

fn report(what: &str, spans: &mut [Duration], group: usize, total: Duration) {
    spans.sort_unstable();
    let rate = spans.len() as f64 / total.as_secs_f64();
    let at = |part: f64| spans[(spans.len() as f64 * part) as usize].as_micros();
    println!(
        "{what:42} {rate:8.0}/s {:8.0} tasks/s  p50 {} µs  p99 {} µs",
        rate * group as f64,
        at(0.5),
        at(0.99)
    );
}

fn fill(dir: &Path, tasks: u64) -> Result<()> {
    let begin = Instant::now();
    let mut store = SledStore::open(dir, Options::default())?;
    let mut plan = Plan::default();
    while plan.last_task < tasks {
        let mut created = plan.creates(GROUP);
        plan.add_outcomes(&mut created);
        store.commit(&created)?;
        for step in [Plan::place, Plan::end] {
            let batch = plan.change(&created, step);
            store.commit(&batch)?;
        }
    }
    println!(
        "filled with {tasks} tasks in {:.1} s: {} MiB on disk, {} MiB of memory",
        begin.elapsed().as_secs_f64(),
        len_of(dir)? >> 20,
        resident()? >> 20,
    );
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

fn load(dir: &Path) -> Result<()> {
    let begin = Instant::now();
    let mut store = SledStore::open(dir, Options::default())?;
    let opened = begin.elapsed();
    let opened_resident = resident()?;
    let (mut open, mut stubs) = (0, 0);
    store.load(&mut |record| match record {
        Record::Task(..) => open += 1,
        Record::Stub(..) => stubs += 1,
        _ => {}
    })?;
    println!(
        "  opened in {:.2} s, {open} open tasks and {stubs} stubs loaded after {:.2} s; \
         {} then {} MiB of memory, {} MiB on disk",
        opened.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
        opened_resident >> 20,
        resident()? >> 20,
        len_of(dir)? >> 20,
    );
    Ok(())
}

fn resident() -> Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * 4_096)
}

fn len_of(dir: &Path) -> Result<u64> {
    let mut len = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        len += if entry.file_type()?.is_dir() {
            len_of(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(len)
}

/// What a busy board would commit.
#[derive(Default)]
struct Plan {
    last_task: u64,
    revision: u64,
}

impl Plan {
    fn creates(&mut self, count: usize) -> Batch {
        let mut batch = self.batch();
        for _ in 0..count {
            self.last_task += 1;
            let task = self.task();
            let subject = task.subject.clone();
            let happening = Happening::TaskCreated {
                task: task.id,
                subject,
            };
            self.add(&mut batch, task, happening);
        }
        batch.records.push(Record::Team(self.team()));
        batch
    }

    fn change(&mut self, created: &Batch, step: fn(&mut Task) -> Happening) -> Batch {
        let mut batch = self.batch();
        for record in &created.records {
            let Record::Task(_, task) = record else {
                continue;
            };
            if task.id.0 % 10 < OPEN_OF_TEN {
                continue;
            }
            let mut task = (**task).clone();
            let happening = step(&mut task);
            self.add(&mut batch, task, happening);
        }
        batch.records.push(Record::Team(self.team()));
        batch
    }

    fn place(task: &mut Task) -> Happening {
        let attempt = AttemptNumber(1);
        let worker = worker();
        task.last_attempt = attempt;
        task.state = TaskState::Placed(Box::new(Placement {
            question: None,
            questions: 0,
            words: Vec::new(),
            last_word: 0,
            tasks_made: 0,
            attempt,
            worker: worker.clone(),
            instance: InstanceId(u128::MAX / 3),
            dispatched_at: now(),
            started_at: Some(now()),
            run_limit: Some(Duration::from_secs(600)),
            member: None,
            mail: MessageId(0),
            stop: None,
        }));
        Happening::TaskDispatched {
            task: task.id,
            attempt,
            worker,
        }
    }

    fn end(task: &mut Task) -> Happening {
        task.last_attempt = AttemptNumber(1);
        task.result = "done: 42 files looked at, nothing to complain about".into();
        task.state = TaskState::Ended(End {
            status: EndStatus::Completed,
            at: now(),
            by: Actor::Worker(worker()),
            stop_reason: None,
            cascade_due: false,
        });
        Happening::TaskEnded {
            task: task.id,
            attempt: Some(AttemptNumber(1)),
            from: Status::InProgress,
            to: Status::Completed,
            message: "".into(),
        }
    }

    fn add_outcomes(&self, batch: &mut Batch) {
        let tasks = batch.records.iter().filter_map(|record| match record {
            Record::Task(_, task) => Some(task.id),
            _ => None,
        });
        batch.outcomes = tasks
            .map(|first| Outcome {
                request: Request {
                    key: RequestKey(uuid::Uuid::new_v4().as_u128()),
                    body: uuid::Uuid::new_v4().as_u128(),
                },
                at: batch.at,
                team: TEAM,
                came_to: CameTo::Tasks { first, count: 1 },
            })
            .collect();
    }

    fn add(&mut self, batch: &mut Batch, mut task: Task, what: Happening) {
        self.revision += 1;
        task.revision = Revision(self.revision);
        batch.records.push(Record::Task(TEAM, Arc::new(task)));
        batch.events.push(Event {
            team: TEAM,
            revision: Revision(self.revision),
            at: batch.at,
            actor: Actor::Member(lead()),
            on_behalf_of: None,
            cause: None,
            cause_message: None,
            previous: Revision(0),
            what,
        });
    }

    fn batch(&self) -> Batch {
        Batch {
            at: now(),
            ..Batch::default()
        }
    }

    fn team(&self) -> Team {
        Team {
            weight: 1,
            max_running: 0,
            uid: TEAM,
            name: TeamName::parse("bench").expect("is a name"),
            description: "".into(),
            lead: lead(),
            created_at: Time(0),
            revision: Revision(self.revision),
            last_task: TaskId(self.last_task),
            expired_through: TaskId(0),
            closed_since_verification: 0,
            last_message: MessageId(0),
            verification_threshold: 3,
            idle_notices: false,
            dissolved: None,
        }
    }

    fn task(&self) -> Task {
        let id = self.last_task;
        Task {
            terms: None,
            id: TaskId(id),
            subject: format!("Look through part {id} of the code").into(),
            description: format!(
                "Count lines by language, find the longest functions, and list what is marked \
                 as unfinished in part {id}."
            )
            .into(),
            active_form: "".into(),
            prompt: "".into(),
            owner: None,
            blocked_by: Vec::new(),
            metadata: board::task::Metadata::new(),
            priority: Priority::Normal,
            labels: Vec::new(),
            agent_type: board::id::AgentTypeName::parse("shell").ok(),
            parent: None,
            kind: TaskKind::Work,
            deadline: None,
            timeout: None,
            crash_limit: 3,
            crashes: 0,
            retry: None,
            failures: 0,
            failure_policy: FailurePolicy::Fail,
            share_todos: false,
            blocker_failed_policy: BlockerFailedPolicy::Wait,
            inputs: Vec::new(),
            output_globs: Vec::new(),
            outputs: Vec::new(),
            result: "".into(),
            error: "".into(),
            usage: Usage::default(),
            created_at: now(),
            created_by: Actor::Member(lead()),
            started_at: None,
            state: TaskState::Pending(Waiting {
                since: now(),
                not_before: None,
                refusals: 0,
                reason: "".into(),
                paused: None,
            }),
            last_attempt: AttemptNumber(0),
            attempts: Vec::new(),
            revision: Revision(0),
            client_task_id: "".into(),
        }
    }
}

fn lead() -> MemberName {
    MemberName::parse("team-lead").expect("is a name")
}

fn worker() -> WorkerName {
    WorkerName::parse("worker-1").expect("is a name")
}

fn now() -> Time {
    let span = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(span.map_or(0, |span| i64::try_from(span.as_millis()).unwrap_or(0)))
}
