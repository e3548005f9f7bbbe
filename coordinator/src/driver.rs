//! The one thread that owns board and store: wait, decide, evolve, persist, release.
//!
//! It is a plain thread because the database blocks, and because nothing else may write. While it
//! flushes a group, the next one gathers in its lanes. A flush that fails ends it, and with it the
//! process: memory has run ahead of the disk.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    engine::{Engine, Input},
    store::StoreError,
};

#[cfg(test)]
mod tests;

/// Commands of one group, and the bytes that they bring.
const GROUP_LEN_MAX: usize = 128;
const GROUP_BYTES_MAX: usize = 256 * 1024;

/// Workers' inputs of one group while the disk is low: reports bring up to 256 KiB each, and what
/// is decided must find room.
const FLEET_LEN_LOW: usize = 8;

/// What may wait in each lane before more is refused.
const CLIENTS_LEN_MAX: usize = 8_192;
const FLEET_LEN_MAX: usize = 65_536;

/// A pause of the loop beyond which every lease is made longer by it.
const PAUSE_FORGIVEN: Duration = Duration::from_millis(500);

/// The longest sleep, so that a pause of the whole process shows soon.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How long sweeps rest when nothing is left to remove, and at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// While there is more to remove, a sweep is followed by a rest of so many times its length, within
/// bounds: sweeps have about a fifth of the time, and commits the rest. A sweep takes a few
/// milliseconds, and commits wait for it. At a fixed pace, a busy board could write more than is
/// removed.
const SWEEP_REST: u32 = 4;
const SWEEP_REST_MIN: Duration = Duration::from_millis(5);

/// A backup rests for so many times as long as its last step took, and a moment at the least, so
/// that most of the time is the commits'.
const BACKUP_REST: u32 = 3;
const BACKUP_REST_MIN: Duration = Duration::from_millis(1);

/// Where inputs wait. The fleet's lane is drained before the clients'.
#[derive(Default)]
pub struct Lanes {
    lanes: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    fleet: VecDeque<Input>,
    clients: VecDeque<(Input, usize)>,
    is_closed: bool,
}

/// Why an input isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Too many wait already.
    #[error("the coordinator has more to do than it can queue")]
    Full,
    /// The driver has ended, or is about to.
    #[error("the coordinator is stopping")]
    Closed,
}

impl Lanes {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic half way through a change.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a client's input in line. `bytes` is about what it brings.
    pub fn push_client(&self, input: Input, bytes: usize) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.is_closed {
            return Err(NotTaken::Closed);
        }
        if state.clients.len() >= CLIENTS_LEN_MAX {
            return Err(NotTaken::Full);
        }
        state.clients.push_back((input, bytes));
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Puts a worker's input in line.
    pub fn push_fleet(&self, input: Input) -> Result<(), NotTaken> {
        let mut state = self.state();
        if state.is_closed {
            return Err(NotTaken::Closed);
        }
        if state.fleet.len() >= FLEET_LEN_MAX {
            return Err(NotTaken::Full);
        }
        state.fleet.push_back(input);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Takes nothing in any more; what is in line is still worked off.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.news.notify_one();
    }

    /// Waits until there is something to do, `until` at the longest, and takes a group.
    /// A group has at most `fleet_max` inputs of workers.
    fn take(&self, until: Instant, fleet_max: usize) -> Taken {
        let mut state = self.state();
        while state.fleet.is_empty() && state.clients.is_empty() && !state.is_closed {
            let Some(span) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            if span.is_zero() {
                break;
            }
            state = self
                .news
                .wait_timeout(state, span)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut inputs = Vec::new();
        while inputs.len() < fleet_max
            && let Some(input) = state.fleet.pop_front()
        {
            inputs.push(input);
        }
        let mut bytes = 0;
        while inputs.len() < GROUP_LEN_MAX
            && bytes < GROUP_BYTES_MAX
            && let Some((input, size)) = state.clients.pop_front()
        {
            inputs.push(input);
            bytes += size;
        }
        Taken {
            is_end: inputs.is_empty() && state.is_closed,
            inputs,
        }
    }
}

struct Taken {
    inputs: Vec<Input>,
    /// Nothing is left, and nothing will come.
    is_end: bool,
}

/// Starts the driver's thread. It ends when its lanes are closed and empty, or with the error of a
/// commit.
pub fn start(
    engine: Engine,
    lanes: Arc<Lanes>,
    clock: Clock,
) -> std::io::Result<thread::JoinHandle<Result<(), StoreError>>> {
    thread::Builder::new().name("driver".into()).spawn(move || {
        let _end = End(&lanes);
        run(engine, &lanes, &clock)
    })
}

/// The end of the driver, however it came: nothing is taken in any more, and whoever is still in
/// line learns at once that there will be no answer.
struct End<'l>(&'l Lanes);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_closed = true;
        let fleet = std::mem::take(&mut state.fleet);
        let clients = std::mem::take(&mut state.clients);
        // An input may do something when it is dropped: not under the lock.
        drop(state);
        drop((fleet, clients));
    }
}

fn run(mut engine: Engine, lanes: &Lanes, clock: &Clock) -> Result<(), StoreError> {
    let mut has_more = false;
    let mut next_sweep = Instant::now();
    let mut next_backup = None;
    loop {
        let mut wake = wake_time(&engine, clock, has_more).min(next_sweep);
        if let Some(at) = next_backup {
            wake = wake.min(at);
        }
        let fleet_max = match engine.is_disk_low() {
            true => FLEET_LEN_LOW,
            false => GROUP_LEN_MAX,
        };
        let taken = lanes.take(wake, fleet_max);
        if taken.is_end && !has_more {
            engine.farewell(Duration::from_millis(500));
            return Ok(());
        }
        let late = Instant::now().saturating_duration_since(wake);
        if late > PAUSE_FORGIVEN {
            tracing::warn!(pause_ms = late.as_millis(), "the coordinator was paused");
            engine.forgive(late);
        }

        let began = Instant::now();
        let now = clock.now();
        engine.look_at_disk(now);
        for input in taken.inputs {
            engine.take(input, now);
        }
        engine.elapse(now);
        has_more = engine.place(now);
        engine.commit(now)?;
        next_backup = back_up(&mut engine, next_backup);
        if Instant::now() >= next_sweep {
            let began = Instant::now();
            let is_more = engine.sweep(now)?;
            next_sweep = Instant::now() + sweep_rest(is_more, began.elapsed());
        }

        let busy = began.elapsed();
        if busy > PAUSE_FORGIVEN {
            tracing::warn!(group_ms = busy.as_millis(), "a group took long to commit");
            engine.forgive(busy);
        }
    }
}

/// How long to wait after a sweep, which took so long, before the next.
fn sweep_rest(is_more: bool, took: Duration) -> Duration {
    match is_more {
        true => (took * SWEEP_REST).clamp(SWEEP_REST_MIN, SWEEP_EVERY),
        false => SWEEP_EVERY,
    }
}

/// Goes on with a backup, once its rest is over. Answers when it goes on again; none without one.
fn back_up(engine: &mut Engine, due: Option<Instant>) -> Option<Instant> {
    let began = Instant::now();
    if due.is_some_and(|due| began < due) {
        return due;
    }
    let goes_on = engine.back_up();
    goes_on.then(|| {
        let rest = began.elapsed() * BACKUP_REST;
        Instant::now() + rest.max(BACKUP_REST_MIN)
    })
}

/// Until when there is nothing to do but wait for inputs.
fn wake_time(engine: &Engine, clock: &Clock, has_more: bool) -> Instant {
    let now = Instant::now();
    if has_more {
        return now;
    }
    let latest = now + SLEEP_MAX;
    match engine.next_deadline(clock.now()) {
        // Not at once again and again, should something due not be done.
        Some(at) => clock
            .instant_of(at)
            .clamp(now + Duration::from_millis(1), latest),
        None => latest,
    }
}
