//! Backups: made while the coordinator works, and restored into another one.

use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ganger_proto::v1;
use ganger_tests::{Chance, Client, Cluster, Daemon, PATIENCE, error_info, patiently, programs};
use tokio::process::Command;

/// So many that a backup takes many steps, and more than a stream holds that nobody reads.
const TASKS: u64 = 600;
const TEXT_LEN: usize = 40_000;

/// The tool, with what it needs of this cluster.
fn ganger(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(cluster.ganger());
    command
        .args(args)
        .current_dir(cluster.dir())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GANGER_ADDR", cluster.addr().to_string())
        .kill_on_drop(true);
    command
}

async fn run(cluster: &Cluster, args: &[&str]) -> Output {
    let ran = ganger(cluster, args).output();
    patiently(format!("ganger {args:?}"), ran).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The number of a task is in its texts.
fn wish(number: u64) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: format!("task {number}"),
        description: format!("{number} ").repeat(TEXT_LEN / 4),
        ..v1::CreateTaskRequest::default()
    }
}

/// Makes tasks one after the other, each in a commit of its own, until told to stop.
async fn keep_making(client: Client, made: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Acquire) {
        let number = made.load(Ordering::Acquire) + 1;
        client.create(wish(number)).await;
        made.store(number, Ordering::Release);
    }
}

/// A coordinator on what was restored, and somebody who calls it.
async fn restored(cluster: &Cluster) -> (Daemon, Client) {
    let coordinator = cluster.another_coordinator(&["--addr", "127.0.0.1:0"]);
    let line = coordinator.logged("serving: grpcurl").await;
    let mut words = line.split_whitespace();
    let addr = words.find(|word| word.parse::<std::net::SocketAddr>().is_ok());
    let client = Client::of(&format!("http://{}", addr.unwrap()));
    (coordinator, client)
}

async fn status(client: &Client) -> v1::GetStatusResponse {
    let mut fleet = client.fleet();
    let status = fleet.get_status(v1::GetStatusRequest {});
    patiently("GetStatus", status).await.unwrap().into_inner()
}

/// The subjects of all tasks, by their ids.
async fn subjects(client: &Client) -> Vec<(u64, String)> {
    let mut subjects = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTasksRequest {
            page_size: 1_000,
            page_token,
            ..v1::ListTasksRequest::default()
        };
        let mut board = client.task();
        let page = patiently("ListTasks", board.list_tasks(request)).await;
        let page = page.unwrap().into_inner();
        subjects.extend(page.tasks.into_iter().map(|task| (task.id, task.subject)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return subjects;
        }
    }
}

fn commit_in(answer: &Output) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    answer["commit"].as_u64().unwrap()
}

#[tokio::test]
async fn backup_of_a_busy_coordinator_is_restored_as_the_board_of_its_commit() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let first = cluster.status().await.commit;
    for number in 1..=TASKS {
        client.create(wish(number)).await;
    }
    let made = Arc::new(AtomicU64::new(TASKS));
    let stop = Arc::new(AtomicBool::new(false));
    let making = tokio::spawn(keep_making(client.clone(), made.clone(), stop.clone()));

    let backup = ["coordinator", "backup", "--to", "board.backup"];
    let backed_up = run(&cluster, &[&backup[..], &["-o", "json"]].concat()).await;
    let made_by_then = made.load(Ordering::Acquire);
    stop.store(true, Ordering::Release);
    patiently("the last task is made", making).await.unwrap();

    let said = text(&backed_up.stderr);
    assert_eq!(backed_up.status.code(), Some(0), "{said}");
    // One commit made one task.
    let tasks = commit_in(&backed_up) - first;
    assert!((TASKS..=made_by_then).contains(&tasks), "{tasks} tasks");
    assert!(made_by_then > TASKS, "nothing was made meanwhile");

    let restore = ["coordinator", "restore", "board.backup"];
    let restored_as = run(
        &cluster,
        &[&restore[..], &["--data-dir", "another"]].concat(),
    )
    .await;
    let said = text(&restored_as.stdout);
    assert!(
        said.contains(&format!("teams: 1, tasks: {tasks}")),
        "{said}"
    );

    let (_coordinator, other) = restored(&cluster).await;
    let expected: Vec<_> = (1..=tasks).map(|id| (id, format!("task {id}"))).collect();
    assert_eq!(subjects(&other).await, expected);
    for number in [1, TASKS, tasks] {
        let mut task = other.get(number).await;
        assert_eq!(task.description, wish(number).description);
        let mut original = client.get(number).await;
        // Only the clocks of two coordinators may tell them apart.
        (task.phase_since, original.phase_since) = (None, None);
        assert_eq!(task, original);
    }
    let epochs = [status(&other).await.epoch, cluster.status().await.epoch];
    assert_ne!(epochs[0], epochs[1], "old fences must be stale");
    let next = other.create(wish(tasks + 1)).await;
    assert_eq!(next.id, tasks + 1);
}

#[tokio::test]
async fn one_backup_at_a_time_and_none_that_nobody_fetches() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for number in 1..=TASKS {
        client.create(wish(number)).await;
    }
    let begin = || async {
        let mut fleet = client.fleet();
        let request = v1::BackUpBoardRequest {};
        patiently("BackUpBoard", fleet.back_up_board(request)).await
    };
    let mut unread = begin().await.unwrap().into_inner();
    let first = patiently("a piece", unread.message()).await.unwrap();
    assert!(first.is_some_and(|piece| piece.chunk.starts_with(b"GANGERBK")));

    let refusal = begin().await.unwrap_err();

    assert_eq!(error_info(&refusal).reason, "BACKUP_UNDER_WAY");
    drop(unread);
    // Its place is free as soon as the coordinator knows.
    let next = patiently("the next backup", async {
        loop {
            match begin().await {
                Ok(stream) => return stream,
                Err(refusal) => assert_eq!(error_info(&refusal).reason, "BACKUP_UNDER_WAY"),
            }
        }
    });
    let mut next = next.await.into_inner();
    let mut last = v1::BackUpBoardResponse::default();
    while let Some(piece) = patiently("a piece", next.message()).await.unwrap() {
        last = piece;
    }
    assert_eq!(last.commit, cluster.status().await.commit);
    let left = std::fs::read_dir(cluster.dir().join("coordinator")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_str().unwrap().starts_with("backup"))
    );
}

#[tokio::test]
async fn a_backup_that_is_cut_off_is_no_file_and_leaves_the_older_one() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for number in 1..=TASKS {
        client.create(wish(number)).await;
    }
    let file = cluster.dir().join("board.backup");
    std::fs::write(&file, "the older one").unwrap();
    let mut tool = ganger(&cluster, &["coordinator", "backup", "--to", "board.backup"]);
    let tool = tool.stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_for_len(&file.with_extension("backup.part"), 1).await;

    cluster.coordinator.kill().await;

    let ended = patiently("the tool ends", tool.wait_with_output());
    let ended = ended.await.unwrap();
    assert!(!ended.status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "the older one");
    assert!(!file.with_extension("backup.part").exists());
}

/// Waits until a file has so many bytes.
async fn wait_for_len(path: &Path, len: u64) {
    let (path, what) = (PathBuf::from(path), format!("{} grows", path.display()));
    let wait = tokio::task::spawn_blocking(move || {
        let begin = std::time::Instant::now();
        while std::fs::metadata(&path).map_or(0, |meta| meta.len()) < len {
            assert!(begin.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    });
    patiently(what, wait).await.unwrap();
}

#[tokio::test]
async fn restoring_is_refused_over_anything_and_may_be_killed_at_any_moment() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for number in 1..=TASKS / 4 {
        client.create(wish(number)).await;
    }
    let backed_up = run(&cluster, &["coordinator", "backup", "--to", "b"]).await;
    assert!(backed_up.status.success());
    let restore = |dir| ["coordinator", "restore", "b", "--data-dir", dir];

    let over = run(&cluster, &restore("coordinator")).await;
    assert!(
        text(&over.stderr).contains("coordinator is not empty"),
        "{over:?}"
    );
    assert_eq!(over.status.code(), Some(1));

    let mut chance = Chance::new();
    let mut is_whole = false;
    for _ in 0..12 {
        let mut tool = ganger(&cluster, &restore("another")).spawn().unwrap();
        let moment = Duration::from_millis(chance.below(400));
        let ended = tokio::time::timeout(moment, tool.wait()).await;
        if ended.is_err() {
            tool.kill().await.unwrap();
        }
        // A try that was killed after all was done can't be told from one that was not.
        is_whole = cluster.dir().join("another/board/board-1").exists();
        if is_whole {
            break;
        }
    }
    if !is_whole {
        let ended = run(&cluster, &restore("another")).await;
        assert!(ended.status.success(), "{ended:?}");
    }

    let (_coordinator, other) = restored(&cluster).await;
    let expected: Vec<_> = (1..=TASKS / 4)
        .map(|id| (id, format!("task {id}")))
        .collect();
    assert_eq!(subjects(&other).await, expected);
}

#[tokio::test]
async fn a_stopped_coordinators_board_is_compacted_and_nothing_lost() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for number in 1..=50 {
        client.create(wish(number)).await;
    }
    let compact = ["coordinator", "compact", "--data-dir", "coordinator"];
    let running = run(&cluster, &compact).await;
    assert!(text(&running.stderr).contains("is in use"), "{running:?}");
    cluster.coordinator.kill().await;

    let compacted = run(&cluster, &compact).await;

    assert!(
        text(&compacted.stdout).contains("bytes became"),
        "{compacted:?}"
    );
    cluster.restart_coordinator().await;
    let expected: Vec<_> = (1..=50).map(|id| (id, format!("task {id}"))).collect();
    assert_eq!(subjects(&cluster.client()).await, expected);
}
