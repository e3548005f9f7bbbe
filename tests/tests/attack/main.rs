//! Nobody who attacks takes the coordinator from the others (A7, P8): the bounded form of the program
//! `attack`. An honest client's calls are timed beside each attack, so only one runs at a time.

#![allow(clippy::unwrap_used)] // all of this is a test

use ganger_tests::{
    attack::{self, Scale, Verdict},
    programs,
};
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

fn judge(verdict: &Verdict) {
    println!("{verdict}");
    if let Err(wrong) = verdict.judge() {
        panic!("{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_say_nothing_keep_nobody_out() {
    let _alone = ALONE.lock().await;
    judge(&attack::silent_sockets(programs!(), Scale::bounded()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_stall_hold_nobody_up_and_end() {
    let _alone = ALONE.lock().await;
    judge(&attack::stalled_uploads(programs!(), Scale::bounded()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_cost_bounded_memory_and_nobody_elses_time() {
    let _alone = ALONE.lock().await;
    judge(&attack::unread_answers(programs!(), Scale::bounded()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_hold_up_none_of_their_own_connection() {
    let _alone = ALONE.lock().await;
    judge(&attack::waiting_calls(programs!(), Scale::bounded()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_invented_keep_no_honest_one_out() {
    let _alone = ALONE.lock().await;
    judge(&attack::invented_workers(programs!(), Scale::bounded()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_filled_in_one_go_and_freed_ends_no_process_and_no_attempt() {
    let _alone = ALONE.lock().await;
    if let Some(verdict) = attack::filled_in_one_go(programs!(), Scale::bounded()).await {
        judge(&verdict);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_takes_the_reserve_costs_nothing_that_was_acknowledged() {
    let _alone = ALONE.lock().await;
    if let Some(raced) = attack::raced_for_the_reserve(programs!(), Scale::bounded()).await {
        let endings = raced.unwrap();
        println!("the coordinator ended {endings} times");
    }
}
