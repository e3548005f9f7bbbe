//! The second part of a run: no more faults, and everything comes to its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use board::{
    id::InstanceId,
    task::{Status, Task},
};
use ganger_coordinator::{engine::Input, fleet::Standing};

use super::{
    Ran,
    client::{CREW, LEAD},
    memory::Fact,
    worker::Connection,
    world::{Event, World},
};

/// How long all may take to come to its end, milliseconds: two hours. Leases, back-offs and time
/// limits of attempts one after another make minutes.
const CALM_MAX: u64 = 2 * 3_600 * 1_000;
/// How often somebody looks, milliseconds.
const LOOK_EVERY: u64 = 5_000;

/// How the coordinator says that its workers stand.
pub(super) type Known = Arc<Mutex<Option<Vec<(InstanceId, Standing)>>>>;

impl World {
    pub(super) fn calm_down(&mut self) {
        self.is_calm = true;
        self.calm_since = self.now;
        self.net.slowness = 20;
        for worker in 0..self.workers.len() {
            self.heal(worker);
        }
        self.coordinator.disk.decide(None);
        self.coordinator.slow_flush = None;
        self.after(LOOK_EVERY, Event::Look);
    }

    /// Looks whether all is done.
    pub(super) fn look(&mut self) {
        let unfinished = self.unfinished();
        let Some(what) = unfinished else {
            self.is_done = true;
            return;
        };
        if self.now - self.calm_since > CALM_MAX {
            return self.broke(format!("two hours after the last fault {what}"));
        }
        self.after(LOOK_EVERY, Event::Look);
        let known = self.known.clone();
        self.put_client(Input::Read(Box::new(move |reader| {
            let page = reader.workers(None, 100);
            let workers = page.items.into_iter();
            let workers = workers.map(|worker| (worker.hello.instance, worker.standing));
            let workers: Vec<_> = workers.collect();
            Box::new(move || {
                if let Ok(mut known) = known.lock() {
                    *known = Some(workers);
                }
            })
        })));
    }

    /// Something that is not at its end.
    fn unfinished(&self) -> Option<String> {
        let Some(engine) = &self.coordinator.engine else {
            return Some("the coordinator is down".to_owned());
        };
        if let Some(task) = self
            .history
            .tasks
            .values()
            .find(|task| task.end().is_none())
        {
            return Some(format!("#{} is not over: {task:?}", task.id));
        }
        if let Some(client) = self.clients.iter().find(|client| !client.is_at_rest()) {
            return Some(format!("a client is not at rest: {client:?}"));
        }
        if let Some(client) = self
            .clients
            .iter()
            .find(|client| engine.board().unread(CREW, &client.name) > 0)
        {
            return Some(format!("{} has mail", client.name));
        }
        let known = self.known.lock().ok().and_then(|known| known.clone());
        let known = known.unwrap_or_default();
        for worker in &self.workers {
            let name = &worker.name;
            let Some(process) = &worker.process else {
                return Some(format!("{name} is down"));
            };
            if !matches!(process.connection, Connection::Up { .. }) {
                return Some(format!("{name} is not connected"));
            }
            if process.live() + process.agenda.presented().count() > 0 {
                return Some(format!("{name} still has attempts: {:?}", process.agenda));
            }
            if !known.contains(&(worker.instance(), Standing::Connected)) {
                return Some(format!("{name} is not known: {known:?}"));
            }
        }
        None
    }

    /// Everything came to its end: what must be so now.
    pub(super) fn judge_the_end(&mut self) -> Result<Ran, String> {
        self.check_board();
        self.check_mail()?;
        // Once more from the disk alone.
        self.crash();
        self.boot();
        if let Some(what) = self.take_broken() {
            return Err(what);
        }
        let tasks = self.history.ever().map(|(_, task)| task);
        let completed = tasks
            .clone()
            .filter(|task| task.status() == Status::Completed);
        let requeued = tasks
            .clone()
            .map(|task| task.attempts.len().saturating_sub(1) as u64);
        Ok(Ran {
            steps: self.steps,
            span: Duration::from_millis(self.now),
            digest: self.digest(),
            tasks: tasks.count(),
            expired: self.history.expired.len(),
            completed: completed.count(),
            requeued: requeued.sum(),
            ..self.ran
        })
    }

    /// Everything that was told is so.
    pub(super) fn check_memory(&mut self) {
        let Some(engine) = &self.coordinator.engine else {
            return;
        };
        let disk = &self.coordinator.disk;
        let checked = self.memory.check(engine.board(), disk, &self.history);
        self.hold(checked);
    }

    /// Every message that was sent was read, and the lead heard of every task that came to an end.
    fn check_mail(&self) -> Result<(), String> {
        for client in &self.clients {
            let missing = self.memory.facts.iter().find(|fact| match fact {
                Fact::Sent(_, message, _, to) => {
                    to.contains(&client.name) && !client.received.contains(message)
                }
                _ => false,
            });
            if let Some(missing) = missing {
                return Err(format!("{} never got {missing:?}", client.name));
            }
        }
        let lead = self
            .clients
            .iter()
            .find(|client| client.name.as_str() == LEAD);
        let lead = lead.expect("there is a lead");
        let is_told = |task: &Task| {
            let has_ended = matches!(task.status(), Status::Completed | Status::Failed);
            has_ended && !lead.finished.contains(&task.id)
        };
        let of_crew = self.history.ever().filter(|(key, _)| key.0 == CREW);
        match of_crew.map(|(_, task)| task).find(|task| is_told(task)) {
            Some(task) => Err(format!("the lead never heard of the end of #{}", task.id)),
            None => Ok(()),
        }
    }
}
