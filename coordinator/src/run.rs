//! A coordinator's life: open, load, serve, stop.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use board::id::Epoch;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    artifacts::{ARTIFACT_BYTES_MAX, ArtifactError, ArtifactStore},
    attempt_secret::AttemptKey,
    clock::Clock,
    config::Config,
    descriptors::Descriptors,
    disk::{DiskKeeper, Reserve, WRITE_ROOM, disk_free},
    driver::{self, Lanes},
    engine::{Engine, Setup},
    grpc::{self, About, Bounds, ServeError, Services, set_health},
    handle::Handle,
    hub::Hub,
    store::{Options, SledStore, Store, StoreError},
    sweeper::Sweeper,
    transcripts::{Limits, TranscriptError, Transcripts},
    upkeep::BOARD_DIR,
};

/// How long each step of a stop may take. A connection or task that never ends can't hold it up.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a coordinator that found the disk full waits before it looks again.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directory can't be made.
    #[error("can't use the data directory {}: give another one with --data-dir", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed, at the start or while it ran.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The artifacts can't be opened.
    #[error("the artifacts can't be opened")]
    Artifacts(#[from] ArtifactError),
    /// The transcripts can't be opened, or failed while it ran.
    #[error("the transcripts failed")]
    Transcripts(#[from] TranscriptError),
    /// It can't serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A thread can't be started, or ended by a bug.
    #[error("{what}")]
    Thread {
        /// Which, and what happened.
        what: &'static str,
    },
}

/// Runs a coordinator until `stop` is cancelled. `ready` is told the address when it serves.
pub async fn run(
    config: Config,
    stop: CancellationToken,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<(), RunError> {
    let began = Instant::now();
    make_dir(&config.data_dir).map_err(|source| RunError::DataDir {
        path: config.data_dir.clone(),
        source,
    })?;
    let descriptors = Descriptors::raise();
    let lanes = Arc::new(Lanes::default());
    let hub = Hub::default();
    let Some(opened) = open_when_there_is_room(&config, &hub, &stop).await? else {
        return Ok(());
    };
    let (reserve, (mut engine, clock, artifacts, transcripts, writer, attempt_key)) = opened;
    let keeper = DiskKeeper::new(
        config.data_dir.clone(),
        config.disk_floor,
        reserve,
        clock.now(),
    );
    let disk = keeper.gauge();
    engine.keep_disk(keeper);
    let mut driver = watch_thread(
        driver::start(engine, lanes.clone(), clock)
            .map_err(|_| thread("the driver's thread can't be started"))?,
    );
    let mut writer = watch_thread(writer);

    let recovery_time = began.elapsed();
    let services = Services {
        handle: Handle::new(lanes.clone()),
        attempt_key,
        artifacts,
        transcripts: transcripts.clone(),
        clock,
        artifact_turns: Arc::new(tokio::sync::Semaphore::new(grpc::ARTIFACT_TURNS)),
        disk,
        backups: Arc::new(tokio::sync::Semaphore::new(1)),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        about: Arc::new(About {
            version: env!("CARGO_PKG_VERSION"),
            serving_since: clock.now(),
            recovery_time,
            token_required: config.token.is_some(),
            watch_patience: config.watch_patience,
            default_agent_type: config.default_agent_type.clone(),
            data_dir: config.data_dir.clone(),
            swept: Arc::default(),
        }),
    };
    let sweeper = Sweeper::new(
        services.handle.clone(),
        services.artifacts.clone(),
        transcripts.clone(),
        clock,
        services.about.swept.clone(),
    );
    services.tasks.spawn(sweeper.run(services.stop.clone()));
    let token = config.token.as_ref().map(|token| token.reveal());
    let bounds = Bounds::of(
        descriptors,
        config.connections_per_address,
        config.unread_bytes,
    );
    let serving = grpc::serve(config.addr, services.clone(), token, bounds).await?;
    let addr = serving.addr().map_err(|source| ServeError::Listen {
        addr: config.addr,
        source,
    })?;
    let health = serving.health();
    set_health(&health, true).await;
    say_hello(addr, &config, recovery_time);
    tracing::info!(
        limit = descriptors.limit,
        reserve = descriptors.reserve,
        connections = bounds.connections,
        per_address = bounds.per_address,
        "open files are shared out"
    );
    // Who started it may not care.
    let _ = ready.send(addr);

    let server = serving.run(services.stop.clone());
    tokio::pin!(server);
    let failure = tokio::select! {
        () = stop.cancelled() => None,
        () = &mut server => Some(thread("the server ended by itself")),
        ended = &mut driver => Some(ended.map_or_else(|_| thread("the driver panicked"), of_driver)),
        ended = &mut writer => Some(ended.map_or_else(|_| thread("the transcripts' writer panicked"), of_writer)),
    };
    if let Some(failure) = failure {
        if is_disk_full(&failure) {
            tracing::error!(
                dir = %config.data_dir.display(),
                "the disk filled up while something was written: nothing that was acknowledged is \
                 lost, and the next start waits until there is room"
            );
        }
        // Nothing that is still under way could be kept: who asked learns it by the connection.
        return Err(failure);
    }

    tracing::info!("stopping: no longer ready");
    set_health(&health, false).await;
    lanes.close();
    tracing::info!("stopping: the driver works off what waits");
    let drained = tokio::time::timeout(STEP_TIMEOUT, driver).await;
    tracing::info!("stopping: streams end");
    hub.close();
    services.stop.cancel();
    services.tasks.close();
    if tokio::time::timeout(STEP_TIMEOUT, async {
        tokio::join!(&mut server, services.tasks.wait());
    })
    .await
    .is_err()
    {
        tracing::warn!("stopping: some streams did not end in time");
    }
    transcripts.shutdown().await?;
    tracing::info!("stopped");
    match drained {
        Ok(Ok(ended)) => Ok(ended?),
        Ok(Err(_)) => Err(thread("the driver panicked")),
        Err(_) => Err(thread("the driver did not end in time")),
    }
}

fn thread(what: &'static str) -> RunError {
    RunError::Thread { what }
}

fn of_driver(ended: Result<(), StoreError>) -> RunError {
    match ended {
        Err(failure) => failure.into(),
        Ok(()) => thread("the driver ended by itself"),
    }
}

fn of_writer(ended: Result<(), TranscriptError>) -> RunError {
    match ended {
        Err(failure) => failure.into(),
        Ok(()) => thread("the transcripts' writer ended by itself"),
    }
}

/// Only its owner may look into the data directory.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

type Opened = (
    Engine,
    Clock,
    ArtifactStore,
    Transcripts,
    std::thread::JoinHandle<Result<(), TranscriptError>>,
    AttemptKey,
);

/// Opens the data directory, as soon as the disk has room for that: who ends because it is full is
/// only started again, and again. What lies in the reserve counts, and is given up where opening
/// needs it. None where it was told to stop meanwhile.
async fn open_when_there_is_room(
    config: &Config,
    hub: &Hub,
    stop: &CancellationToken,
) -> Result<Option<(Arc<Reserve>, Opened)>, RunError> {
    loop {
        let opening = open_with_reserve(config.clone(), hub.clone());
        let opened = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|_| thread("opening the data directory panicked"))?;
        match opened {
            Err(failure) if is_disk_full(&failure) => {
                let found = disk_free(&config.data_dir);
                tracing::error!(
                    dir = %config.data_dir.display(),
                    free = found.map_or(0, |found| found.free),
                    needed = WRITE_ROOM,
                    "the disk is full: the coordinator serves when there is room"
                );
            }
            opened => return opened.map(Some),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(ROOM_WAIT) => {}
        }
    }
}

fn is_disk_full(failure: &RunError) -> bool {
    let first: &(dyn Error + 'static) = failure;
    let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::StorageFull)
    })
}

/// Opens everything, unless a write could not be begun. What doesn't draw on the reserve by itself
/// may fail for want of room: then a piece of it is given up, and it is tried again.
fn open_with_reserve(
    config: Config,
    hub: Hub,
) -> impl FnOnce() -> Result<(Arc<Reserve>, Opened), RunError> {
    move || {
        let of_dir = |source| RunError::DataDir {
            path: config.data_dir.clone(),
            source,
        };
        let reserve = Reserve::open(&config.data_dir, config.disk_reserve).map_err(of_dir)?;
        let found = disk_free(&config.data_dir).map_err(of_dir)?;
        if found.free.saturating_add(reserve.kept()) < WRITE_ROOM {
            return Err(of_dir(io::ErrorKind::StorageFull.into()));
        }
        loop {
            match open(config.clone(), hub.clone())() {
                Err(failure) if is_disk_full(&failure) && reserve.give_up() => {}
                opened => return Ok((reserve, opened?)),
            }
        }
    }
}

/// Opens everything that lies in the data directory. The store comes first: it holds the lock.
fn open(config: Config, hub: Hub) -> impl FnOnce() -> Result<Opened, RunError> {
    move || {
        let dir = &config.data_dir;
        let options = Options {
            retention: config.retention,
            accept_loss: config.accept_loss.then(new_epoch),
            ..Options::default()
        };
        let mut store = SledStore::open(&dir.join(BOARD_DIR), options)?;
        let attempt_key = store.attempt_key(AttemptKey::random())?;
        let mut clock = None;
        let setup = Setup {
            limits: config.limits.clone(),
            tombstones_kept: config.teams_kept_for,
            tasks_kept: config.tasks_kept,
            store: Box::new(store),
            hub,
            new_epoch: new_epoch(),
            leases: config.leases,
            expected_types: config.expected_types.clone(),
        };
        let engine = Engine::start(setup, |floor| clock.insert(Clock::start(floor)).now())?;
        let clock = clock.ok_or_else(|| thread("a board was loaded without a clock"))?;
        let artifacts = ArtifactStore::open(&dir.join("artifacts"), ARTIFACT_BYTES_MAX)?;
        let (transcripts, writer) = Transcripts::open(&dir.join("transcripts"), Limits::default())?;
        Ok((engine, clock, artifacts, transcripts, writer, attempt_key))
    }
}

fn new_epoch() -> Epoch {
    Epoch(uuid::Uuid::new_v4().as_u128())
}

/// Lets a thread's end be awaited. The channel closes without a word when the thread panics.
fn watch_thread<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> oneshot::Receiver<T> {
    let (tell, ended) = oneshot::channel();
    // It ends with the thread that it watches.
    tokio::task::spawn_blocking(move || {
        if let Ok(result) = thread.join() {
            // Who waits for it may have gone.
            let _ = tell.send(result);
        }
    });
    ended
}

/// The first log line is a command that works.
fn say_hello(addr: SocketAddr, config: &Config, recovery_time: Duration) {
    let auth = if config.token.is_some() {
        "-H \"authorization: Bearer $(cat TOKEN_FILE)\" "
    } else {
        ""
    };
    tracing::info!(
        %addr,
        data_dir = %config.data_dir.display(),
        recovery_ms = recovery_time.as_millis(),
        "serving: grpcurl -plaintext {auth}{addr} ganger.v1.FleetService/GetStatus"
    );
    if config.token.is_none() && !config.addr.ip().is_loopback() {
        tracing::warn!(%addr, "listening beyond loopback without a token: anybody may come in");
    }
}
