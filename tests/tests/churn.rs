//! Finished tasks leave in time, so a board that is worked on for ever keeps its size (K15).

#![allow(clippy::unwrap_used, reason = "it is a test, its helpers too")]

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use board::id::TaskId;
use ganger_tests::churn::{Churn, Size};

/// Tasks that are made in all. The long form is the program `churn`.
const TASKS: u64 = 300_000;

#[test]
fn a_board_keeps_its_size_however_many_tasks_it_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let churn = Churn {
        dir: dir.path().to_owned(),
        kept: 10_000,
    };
    let mut running = churn.start().unwrap();
    let (mut sizes, mut last) = (Vec::new(), TaskId(0));
    for step in 1..=30 {
        running
            .run(TASKS * step / 30, &mut |task| last = task)
            .unwrap();
        let size = running.size().unwrap();
        assert!(size.finished <= churn.kept + 20, "{size:?}");
        sizes.push(size);
    }

    running.settle().unwrap();
    running.check(last).unwrap();
    let most = |of: &[Size], what: fn(&Size) -> u64| of.iter().map(what).max().unwrap();
    let (early, late) = (&sizes[5..15], &sizes[20..]);
    for (name, what) in [
        ("disk", (|size| size.disk) as fn(&Size) -> u64),
        ("memory", |size| size.memory),
    ] {
        let (early, late) = (most(early, what), most(late, what));
        println!("{name}: {early} bytes, later {late}");
        assert!(late * 2 <= early * 3, "{name}: {early} bytes, later {late}");
    }
}

/// Runs a churn in a process of its own, which is killed after so many lines. Answers the last task
/// that it told to be durably finished.
fn killed_after(dir: &Path, lines: usize) -> Option<TaskId> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_churn"))
        .args([
            "--tasks",
            "1000000",
            "--kept",
            "500",
            "--tell-finished",
            "--dir",
        ])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut told = out.lines().map_while(Result::ok);
    let mut last = told.by_ref().take(lines).last();
    child.kill().unwrap();
    child.wait().unwrap();
    last = told.last().or(last);
    last.and_then(|line| line.parse().ok()).map(TaskId)
}

#[test]
fn a_process_that_is_killed_while_tasks_leave_loses_none_and_the_next_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let seed = RandomState::new().hash_one(1);
    println!("seed {seed}");
    for round in 0..6 {
        let lines = 4 + (seed >> (8 * round)) as usize % 24;
        let told = killed_after(dir.path(), lines).unwrap();

        let churn = Churn {
            dir: dir.path().to_owned(),
            kept: 500,
        };
        let mut running = churn.start().unwrap();
        running.check(told).unwrap();
        running.settle().unwrap();
        running.check(told).unwrap();
        let size = running.size().unwrap();
        assert!(size.finished <= churn.kept + 20, "{size:?}");
    }
}
