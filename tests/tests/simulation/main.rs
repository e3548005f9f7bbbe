//! Ring 3: the whole fleet under virtual time, from fixed seeds, and a small exhaustive model.
//!
//! What is simulated and what is looked for is told in `ganger_tests::simulation`. A seed that fails
//! prints how to run it again, with a trace; `simulate` runs as many others as one likes.

#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

mod lease_model;

use ganger_tests::simulation::{Failure, Plan, Ran, Safeguard, run, run_and_explain};

/// How long each seed has faults.
const STEPS: u64 = 3_000;
/// The fixed seeds. More than enough for the steps that are to be walked at least.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=70;
const STEPS_MIN: u64 = 200_000;

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        steps: STEPS,
        without: None,
    }
}

#[test]
fn fleet_is_safe_under_every_fault_and_comes_to_rest_when_they_stop() {
    let mut all = Ran::default();
    for seed in SEEDS {
        let ran = run_and_explain(plan(seed)).unwrap_or_else(|failure| panic!("{failure}"));
        all.steps += ran.steps;
        all.span += ran.span;
        all.tasks += ran.tasks;
        all.completed += ran.completed;
        all.expired += ran.expired;
        all.requeued += ran.requeued;
        all.boots += ran.boots;
        all.stale += ran.stale;
    }

    println!("{all:?}");
    assert!(all.steps >= STEPS_MIN, "{all:?}");
    // Much was done, and much went wrong: otherwise nothing was shown.
    let seeds = SEEDS.count() as u64;
    assert!(all.completed as u64 > 20 * seeds, "{all:?}");
    assert!(all.requeued > 10 * seeds, "{all:?}");
    assert!(all.boots > 4 * seeds, "{all:?}");
    assert!(all.expired as u64 > 10 * seeds, "{all:?}");
    assert!(all.stale > seeds, "{all:?}");
}

#[test]
fn same_seed_gives_the_same_run_and_another_one_another() {
    let [first, again, other] = [1, 1, 2].map(|seed| run(plan(seed), false).unwrap());

    assert_eq!(first, again);
    assert_ne!(first.digest, other.digest);
}

/// The first failure among the fixed seeds when something is missing.
fn failure_without(safeguard: Safeguard) -> Failure {
    let without = Some(safeguard);
    let failures = SEEDS.filter_map(|seed| {
        let plan = Plan {
            without,
            ..plan(seed)
        };
        run(plan, false).err()
    });
    let mut failures = failures;
    *failures
        .next()
        .unwrap_or_else(|| panic!("nobody misses {safeguard:?}"))
}

#[test]
fn fleet_without_fencing_takes_reports_of_others() {
    let failure = failure_without(Safeguard::Fencing);

    let is_it = ["were accepted", "never ended it", "another attempt's"];
    assert!(
        is_it.iter().any(|what| failure.what.contains(what)),
        "{failure}"
    );
}

#[test]
fn fleet_without_a_flush_loses_what_was_acknowledged() {
    let failure = failure_without(Safeguard::Flush);

    let is_it = ["and it is not so", "and is lost", "follows", "went back"];
    assert!(
        is_it.iter().any(|what| failure.what.contains(what)),
        "{failure}"
    );
}

#[test]
fn fleet_whose_workers_do_not_say_what_they_hold_loses_attempts_that_run() {
    let failure = failure_without(Safeguard::HeldSet);

    assert!(failure.what.contains("but its worker has it"), "{failure}");
}

#[test]
fn lease_that_runs_from_an_acknowledgement_outlasts_the_coordinators() {
    let failure = failure_without(Safeguard::LeaseFromSending);

    let is_it = "but the worker's own lease is not over";
    assert!(failure.what.contains(is_it), "{failure}");
}

#[test]
fn failure_says_how_to_have_it_again() {
    let plan = failure_without(Safeguard::HeldSet).plan;

    let failure = run_and_explain(plan).unwrap_err();

    assert_eq!(failure.plan, plan);
    assert!(!failure.trace.is_empty());
    let command = format!(
        "cargo run -p ganger-tests --bin simulate -- --seed {} --steps {STEPS} --without held-set",
        plan.seed
    );
    assert!(failure.to_string().ends_with(&command), "{failure}");
}
