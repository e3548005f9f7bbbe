//! Commits batch after batch to a store until it is killed: `store-writer DIR SLACK`.
//!
//! Its database is compacted when it opens it, if it is longer than four times what lives and
//! SLACK bytes.
//! After each commit it sweeps a step: events past the newest few, and teams that are gone.
//! Prints `ready` once the store is open, then the number of each commit as soon as it is
//! acknowledged. What batch has which number says `plan`, so that whoever reads the store after
//! the kill knows what must be in it.

use std::io::Write;

use anyhow::{Context, Result};
use ganger_coordinator::store::{Options, Retention, SledStore, Store};

mod plan;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("which directory?")?;
    let slack = args.next().context("how much slack?")?;
    let options = Options {
        slack_bytes: slack.parse()?,
        retention: Retention {
            count: plan::EVENTS_KEPT,
            ..Retention::default()
        },
        ..Options::default()
    };
    let mut store = SledStore::open(dir.as_ref(), options)?;
    let mut number = store.load(&mut |_| {})?.commit;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    loop {
        number += 1;
        store.commit(&plan::batch(number))?;
        writeln!(out, "{number}")?;
        out.flush()?;
        store.sweep(plan::time(number))?;
    }
}
