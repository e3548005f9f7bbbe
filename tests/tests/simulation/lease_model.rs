//! An exhaustive model of lease, expiry and fencing: one task, two workers, a few ticks of time, and
//! a network that delays, reorders and loses whatever it likes. Every state that can be reached is
//! visited.
//!
//! The worker's lease and the board, with its fencing, are the real ones. The coordinator's lease
//! and its verdicts are played, in the fewest words: heard of last at a tick, over three later.

mod state;
mod steps;

use std::collections::{HashMap, VecDeque};

use self::state::{Key, State, Without};

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Two ends of the one task were accepted.
    TwoEnds,
    /// A report was accepted of an attempt that was given up before.
    LateReport,
    /// Two workers are at the task at once, and both believe in their leases.
    TwoAtWork,
}

/// Every state that can be reached, up to the first that must not be.
struct Explored {
    states: usize,
    /// Those in which the task is over.
    ends: usize,
    /// Those in which an attempt was given up.
    given_up: usize,
    broken: Option<(Broken, Vec<String>)>,
}

fn explore(without: Option<Without>) -> Explored {
    let first = State::new(without);
    let mut seen: HashMap<Key, usize> = HashMap::from([(first.key(), 0)]);
    let mut paths: Vec<(usize, String)> = vec![(0, "the beginning".to_owned())];
    let mut queue = VecDeque::from([(0, first)]);
    let mut explored = Explored {
        states: 1,
        ends: 0,
        given_up: 0,
        broken: None,
    };
    while let Some((at, state)) = queue.pop_front() {
        for step in state.steps() {
            let mut next = state.clone();
            let broken = next.take(step).err().or_else(|| next.broken());
            let key = next.key();
            if broken.is_none() && seen.contains_key(&key) {
                continue;
            }
            paths.push((at, format!("{step:?}")));
            let number = paths.len() - 1;
            if let Some(broken) = broken {
                explored.broken = Some((broken, path_to(&paths, number)));
                return explored;
            }
            seen.insert(key, number);
            explored.states += 1;
            explored.ends += usize::from(next.is_over());
            explored.given_up += usize::from(next.has_given_up());
            queue.push_back((number, next));
        }
    }
    explored
}

fn path_to(paths: &[(usize, String)], mut at: usize) -> Vec<String> {
    let mut path = Vec::new();
    while at > 0 {
        path.push(paths[at].1.clone());
        at = paths[at].0;
    }
    path.reverse();
    path
}

#[test]
fn no_order_of_events_lets_two_ends_count_or_two_workers_believe_in_one_task() {
    let explored = explore(None);

    println!(
        "{} states, {} with an end, {} with an attempt given up",
        explored.states, explored.ends, explored.given_up
    );
    assert_eq!(explored.broken, None);
    assert!(explored.states > 100_000, "{}", explored.states);
    assert!(explored.ends > 10_000, "{}", explored.ends);
    assert!(explored.given_up > 10_000, "{}", explored.given_up);
}

#[track_caller]
fn assert_missed(without: Without, broken: Broken) {
    let explored = explore(Some(without));

    let (what, path) = explored.broken.expect("a state that must not be");
    println!("{what:?} after {path:#?}");
    assert_eq!(what, broken, "{path:#?}");
}

#[test]
fn without_fencing_a_late_report_is_accepted() {
    assert_missed(Without::Fencing, Broken::LateReport);
}

#[test]
fn lease_that_runs_from_an_acknowledgement_lets_two_believe_in_one_task() {
    assert_missed(Without::LeaseFromSending, Broken::TwoAtWork);
}

#[test]
fn without_a_count_of_dials_a_late_hello_lets_two_believe_in_one_task() {
    assert_missed(Without::DialCount, Broken::TwoAtWork);
}
