//! Files leave with the last task that needs them.

use std::path::Path;

use board::{
    command::{Call, Caller, NewTask, TasksKept, Update, Wish},
    id::{Epoch, TeamName},
    limits::RunningLimits,
    task::{Artifact, Status},
    time::Time,
};
use tempfile::TempDir;

use super::*;
use crate::{
    driver::{self, Lanes},
    engine::{DEFAULT_TEAM, Engine, Setup},
    fleet::Leases,
    hub::Hub,
    store::MemoryStore,
    transcripts::{Limits, Record},
};

/// A coordinator that keeps a single finished task, and what sweeps after it.
struct World {
    folder: TempDir,
    sweeper: Sweeper,
    lanes: Arc<Lanes>,
    tasks: u64,
}

fn team() -> TeamName {
    TeamName::parse(DEFAULT_TEAM).unwrap()
}

impl World {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), MemoryStore::default())
    }

    fn on(folder: TempDir, store: MemoryStore) -> Self {
        let setup = Setup {
            limits: RunningLimits::default(),
            store: Box::new(store),
            hub: Hub::default(),
            new_epoch: Epoch(1),
            leases: Leases::default(),
            tombstones_kept: Duration::from_secs(3_600),
            tasks_kept: TasksKept {
                count: 1,
                span: Duration::from_secs(3_600),
            },
            expected_types: Vec::new(),
        };
        let clock = Clock::start(Time(0));
        let engine = Engine::start(setup, |_| clock.now()).unwrap();
        let lanes = Arc::new(Lanes::default());
        driver::start(engine, lanes.clone(), clock).unwrap();
        let artifacts = ArtifactStore::open(&folder.path().join("artifacts"), 1 << 20).unwrap();
        let limits = Limits {
            segment_attempts: 2,
            ..Limits::default()
        };
        let (transcripts, _) =
            Transcripts::open(&folder.path().join("transcripts"), limits).unwrap();
        let handle = Handle::new(lanes.clone());
        Self {
            sweeper: Sweeper::new(handle, artifacts, transcripts, clock, Arc::default()),
            folder,
            lanes,
            tasks: 0,
        }
    }

    async fn wish(&self, wish: Wish) {
        let call = Call {
            caller: Caller::default(),
            request: None,
            wish,
        };
        self.sweeper.handle.call(call).await.unwrap().unwrap();
    }

    /// Makes a task that names these artifacts, with a transcript of one attempt.
    async fn make(&mut self, named: &[Digest]) -> u64 {
        self.tasks += 1;
        let inputs = named.iter().zip(0..).map(|(digest, at)| Artifact {
            digest: board::id::Digest(*digest.as_bytes()),
            path: format!("in/{at}").into(),
            size: 1,
        });
        let task = NewTask {
            subject: "work".into(),
            inputs: inputs.collect(),
            ..NewTask::default()
        };
        self.wish(Wish::CreateTasks(team(), vec![task])).await;
        let key = AttemptKey {
            team: 1,
            task: self.tasks,
            attempt: 1,
        };
        let record = Record {
            seq: 1,
            at_ms: 1,
            text: "said".into(),
            ..Record::default()
        };
        let transcripts = &self.sweeper.transcripts;
        transcripts.append(key, vec![record]).await.unwrap();
        self.tasks
    }

    async fn finish(&self, task: u64) {
        let update = Update {
            status: Some(Status::Completed),
            ..Update::default()
        };
        let wish = Wish::UpdateTask(team(), TaskId(task), Box::new(update));
        self.wish(wish).await;
    }

    fn put(&self, text: &str) -> Digest {
        let mut upload = self.sweeper.artifacts.upload().unwrap();
        upload.append(text.as_bytes()).unwrap();
        upload.finish(None).unwrap().digest
    }

    fn has(&self, digest: &Digest) -> bool {
        self.sweeper.artifacts.size(digest).is_ok()
    }

    async fn has_transcript(&self, task: u64) -> bool {
        let key = AttemptKey {
            team: 1,
            task,
            attempt: 1,
        };
        self.sweeper.transcripts.kept_through(key).await.unwrap() > 0
    }

    /// Sweeps artifacts as if nobody had used any for a day.
    async fn sweep_artifacts(&mut self) {
        self.sweeper.sweep_artifacts(Duration::ZERO).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

fn age(root: &Path, digest: &Digest) {
    let name = digest.to_string();
    let path = root.join("artifacts").join(&name[..2]).join(&name[2..]);
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
}

#[tokio::test]
async fn an_artifact_goes_when_the_last_task_that_names_it_has_left() {
    let mut world = World::new();
    let (own, shared, loose) = (world.put("own"), world.put("shared"), world.put("loose"));
    let first = world.make(&[own, shared]).await;
    let second = world.make(&[shared]).await;
    for digest in [&own, &shared, &loose] {
        age(world.folder.path(), digest);
    }
    world.sweep_artifacts().await;
    assert!(world.has(&own) && world.has(&shared) && !world.has(&loose));

    world.finish(first).await;
    let third = world.make(&[]).await;
    world.finish(third).await;
    world.sweep_artifacts().await;
    assert!(!world.has(&own) && world.has(&shared));

    world.finish(second).await;
    let last = world.make(&[]).await;
    world.finish(last).await;
    world.sweep_artifacts().await;
    assert!(!world.has(&shared));
    let swept = world.sweeper.swept.view();
    assert_eq!((swept.artifacts, swept.artifact_bytes), (3, 5 + 3 + 6));
}

#[tokio::test]
async fn an_artifact_that_was_just_used_stays_a_day_without_a_task() {
    let mut world = World::new();
    let (fresh, held, again) = (world.put("fresh"), world.put("held"), world.put("again"));
    for digest in [&held, &again] {
        age(world.folder.path(), digest);
    }
    world.sweeper.artifacts.hold(&held).unwrap();
    assert_eq!(world.put("again"), again);

    world
        .sweeper
        .sweep_artifacts(ARTIFACTS_KEPT_FOR)
        .await
        .unwrap();

    assert!(world.has(&fresh) && world.has(&held) && world.has(&again));
}

#[tokio::test]
async fn a_task_that_is_made_while_artifacts_are_swept_keeps_what_it_names() {
    let mut world = World::new();
    let digest = world.put("input");
    let handle = &world.sweeper.handle;
    handle.read(|reader| reader.note_artifacts()).await.unwrap();

    world.make(&[digest]).await;

    let handle = &world.sweeper.handle;
    let noted = handle
        .read(|reader| reader.noted_artifacts())
        .await
        .unwrap();
    assert!(noted.contains(&board::id::Digest(*digest.as_bytes())));
}

#[tokio::test]
async fn transcripts_go_when_all_tasks_of_their_segment_have_left() {
    let mut world = World::new();
    for _ in 0..5 {
        world.make(&[]).await;
    }
    // Segments of two attempts each: 1 and 2, 3 and 4; 5 is still written to.
    for task in [1, 3, 4] {
        world.finish(task).await;
    }
    world.sweeper.sweep_transcripts().await.unwrap();
    assert!(world.has_transcript(1).await, "2 is open");

    world.finish(2).await;
    world.sweeper.sweep_transcripts().await.unwrap();

    // The newest finished task stays, and its segment with it.
    for (task, is_there) in [(1, true), (2, true), (3, false), (4, false), (5, true)] {
        assert_eq!(world.has_transcript(task).await, is_there, "#{task}");
    }
    assert_eq!(world.sweeper.swept.view().segments, 1);
}

/// Whatever an earlier process left behind is found again.
#[tokio::test]
async fn a_new_process_removes_transcripts_that_an_earlier_one_left() {
    let mut world = World::new();
    for _ in 0..4 {
        world.make(&[]).await;
    }
    let transcripts = world.sweeper.transcripts.clone();
    transcripts.shutdown().await.unwrap();
    let folder = std::mem::replace(&mut world.folder, tempfile::tempdir().unwrap());
    drop(world);

    // A board without any of these tasks.
    let mut world = World::on(folder, MemoryStore::default());
    world.sweeper.sweep_transcripts().await.unwrap();

    assert!(!world.has_transcript(1).await && !world.has_transcript(2).await);
}
