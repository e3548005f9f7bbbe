//! Another program that fills the disk.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ganger_proto::v1;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::{Attackers, Scale, Target, Verdict, by_turns_of, honest::Kinds};
use crate::{Client, Gate, Programs, SmallDisk, WorkerSpec, error_info, patiently};

/// MiB of the disk, and bytes of it that are the coordinator's reserve.
const DISK_MIB: u32 = 192;
const RESERVE: &str = "33554432";

/// How long one race goes on, if the coordinator doesn't end.
const RACE_SPAN: Duration = Duration::from_secs(3);
/// Bytes that are free between two times at which the disk is full, and how long it is either.
const LEFT: u64 = 24 << 20;
const PAUSE: Duration = Duration::from_millis(20);

/// A disk that is filled in one go, held, and freed. Beside it, reads go on; attempts that end meanwhile are
/// reported afterwards, with what they put out. None where this user can't mount a disk.
pub async fn filled_in_one_go(programs: Programs, scale: Scale) -> Option<Verdict> {
    let disk = Arc::new(SmallDisk::new(DISK_MIB)?);
    let target = Target::on_disk(programs, &disk, &["--disk-reserve-bytes", RESERVE]).await;
    let worker = WorkerSpec::named("other").slots(1).sandbox("none");
    let _worker = target.cluster.start_worker(worker).await;
    let gate = Arc::new(target.cluster.gate("full"));
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let scale = Scale {
        turns: scale.turns.min(3),
        span: scale.disk_held,
        ..scale
    };

    let mut verdict = by_turns_of(&target, scale, Kinds::Reads, |client| {
        let (disk, gate, tasks) = (disk.clone(), gate.clone(), tasks.clone());
        async move {
            let task = end_on_full_disk(&client, &disk, &gate).await;
            tasks.lock().unwrap().push(task);
            let mut attackers = Attackers::default();
            attackers.keep(Freeing(disk));
            attackers
        }
    })
    .await;

    let tasks = std::mem::take(&mut *tasks.lock().unwrap());
    for (task, refused) in tasks {
        let ended = target.cluster.client().ended(task).await;
        let is_whole = ended.status() == v1::TaskStatus::Completed
            && (ended.attempts.len(), ended.outputs.len()) == (1, 1)
            && ended.result == "held\n";
        verdict.require(is_whole, || format!("an attempt was ended: {ended:?}"));
        verdict.require(refused == "DISK_LOW", || {
            format!("a task was made on a full disk, or refused with {refused:?}")
        });
    }
    verdict.note(target.held().await);
    Some(verdict)
}

/// Fills the disk, and then lets a task end. Answers the task, and why no other is taken.
async fn end_on_full_disk(client: &Client, disk: &SmallDisk, gate: &Gate) -> (u64, String) {
    let script = format!("{}; echo held; echo output > out.txt", gate.wait());
    let task = client.start_task(v1::StartTaskRequest {
        prompt: script,
        output_globs: vec!["out.txt".into()],
        ..v1::StartTaskRequest::default()
    });
    let task = task.await;
    client.running(task.id).await;
    disk.fill();
    gate.open();
    let mut board = client.task();
    let more = board.create_task(v1::CreateTaskRequest {
        subject: "more".into(),
        ..v1::CreateTaskRequest::default()
    });
    let refused = match patiently("CreateTask on a full disk", more).await {
        Ok(_) => String::new(),
        Err(status) => error_info(&status).reason,
    };
    (task.id, refused)
}

/// Frees a disk when it is dropped.
struct Freeing(Arc<SmallDisk>);

impl Drop for Freeing {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// A program that fills the disk again and again, and takes every byte that gets free meanwhile, while tasks
/// are made as fast as they can be. The coordinator may end, and then waits at its next start; what it
/// acknowledged is there. Answers how often it ended. None where this user can't mount a disk.
pub async fn raced_for_the_reserve(
    programs: Programs,
    scale: Scale,
) -> Option<Result<usize, String>> {
    let mut endings = 0;
    for _ in 0..scale.races {
        match race(programs.clone()).await? {
            Ok(has_ended) => endings += usize::from(has_ended),
            Err(lost) => return Some(Err(lost)),
        }
    }
    Some(Ok(endings))
}

/// One race. Answers whether the coordinator has ended.
async fn race(programs: Programs) -> Option<Result<bool, String>> {
    let disk = SmallDisk::new(DISK_MIB / 2)?;
    // The less there is, the more often the coordinator loses.
    let flags = ["--disk-reserve-bytes", "1048576", "--disk-floor-bytes", "0"];
    let mut target = Target::on_disk(programs, &disk, &flags).await;
    let filler = Filler::start(disk.path());
    let (made, has_ended) = make_until(&mut target, Instant::now() + RACE_SPAN).await;
    filler.stop();
    if has_ended {
        // It waits for room, which nobody gives it yet.
        target.cluster.launch_coordinator();
        target.cluster.coordinator.logged("the disk is full").await;
    }
    disk.give_back();
    if has_ended {
        target.cluster.coordinator.logged("serving: grpcurl").await;
    }
    let client = target.cluster.client();
    until_writable(&client).await;
    let held = match all_there(&client, &made).await {
        Ok(()) => target.held_on().await,
        lost => lost,
    };
    Some(held.map(|()| has_ended))
}

/// Makes tasks for so long, or until the coordinator has ended. Answers those that were acknowledged, and
/// whether it has.
async fn make_until(target: &mut Target, until: Instant) -> (Vec<u64>, bool) {
    let client = target.cluster.client();
    let mut made = Vec::new();
    while Instant::now() < until {
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let client = client.clone();
            callers.spawn(async move { make(&client).await });
        }
        let mut is_away = false;
        for answer in callers.join_all().await {
            match answer {
                Ok(tasks) => made.extend(tasks),
                Err(status) => is_away |= status.code() != Code::ResourceExhausted,
            }
        }
        if is_away {
            let ended = target.cluster.coordinator.end().await;
            let log = target.cluster.coordinator.log();
            assert!(
                !ended.success() && log.contains("the disk filled up"),
                "{log}"
            );
            return (made, true);
        }
    }
    (made, false)
}

/// Makes tasks in one commit that takes a while to be written.
async fn make(client: &Client) -> Result<Vec<u64>, Status> {
    let task = v1::NewTask {
        subject: "made while the disk filled up".into(),
        description: "x".repeat(30_000),
        ..v1::NewTask::default()
    };
    let request = v1::BatchCreateTasksRequest {
        tasks: vec![task; 30],
        ..v1::BatchCreateTasksRequest::default()
    };
    let mut board = client.task();
    let made = patiently("BatchCreateTasks", board.batch_create_tasks(request)).await?;
    let made = made.into_inner().tasks;
    Ok(made.iter().map(|task| task.id).collect())
}

async fn until_writable(client: &Client) {
    let what = "the coordinator takes tasks again";
    patiently(what, async { while make(client).await.is_err() {} }).await;
}

/// Whether all of these are on the board, and no number was given out twice.
async fn all_there(client: &Client, made: &[u64]) -> Result<(), String> {
    let unique: std::collections::BTreeSet<_> = made.iter().collect();
    if unique.len() < made.len() {
        return Err("a number was given out twice".to_owned());
    }
    for task in made {
        let request = v1::GetTaskRequest {
            task_id: *task,
            ..v1::GetTaskRequest::default()
        };
        let mut board = client.task();
        let got = patiently("GetTask", board.get_task(request)).await;
        got.map_err(|status| format!("task {task} was acknowledged, and now: {status}"))?;
    }
    Ok(())
}

/// A program that takes whatever is free on a disk, gives some back, and takes it again.
struct Filler {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Filler {
    fn start(disk: &Path) -> Self {
        let file = File::create(disk.join("filler")).unwrap();
        let free = statvfs(disk).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            let base = free.saturating_sub(LEFT);
            let mut len = take(&file, 0, base);
            while !over.load(Ordering::Relaxed) {
                // Tasks are made, and then there is no room all at once.
                thread::park_timeout(PAUSE);
                let until = Instant::now() + PAUSE;
                while Instant::now() < until {
                    len += take(&file, len, u64::MAX);
                }
                if !over.load(Ordering::Relaxed) {
                    file.set_len(base).unwrap();
                    len = base;
                }
            }
            take(&file, len, u64::MAX);
        });
        Self { is_over, thread }
    }

    /// Stops it when it has taken all of the disk.
    fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the filler does not panic");
    }
}

/// Occupies as many bytes of a disk from a place in a file on as there are, and no more than these. Answers
/// how many.
fn take(file: &File, from: u64, most: u64) -> u64 {
    let mut taken = 0;
    for piece in [1 << 20, 64 << 10, 4 << 10] {
        while taken < most && fallocate(file, FallocateFlags::empty(), from + taken, piece).is_ok()
        {
            taken += piece;
        }
    }
    taken
}
