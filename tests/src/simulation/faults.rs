//! What breaks, as chance has it.

use super::world::{Event, World};

impl World {
    /// Breaks something, and plans the next time.
    pub(super) fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        let next = self.chance.between(500, 12_000);
        self.after(next, Event::Fault);
        let workers = self.workers.len() as u64;
        let worker = usize::try_from(self.chance.below(workers)).expect("few");
        match self.chance.below(16) {
            0 | 1 => self.pull_plug(),
            2 => self.stop_coordinator(),
            3 => {
                let span = self.span();
                self.pause_coordinator(span.min(30_000));
            }
            4 => self.coordinator.slow_flush = Some(self.chance.between(600, 12_000)),
            5 | 6 => {
                let is_known_dead = !self.chance.one_in(3);
                self.end_worker(worker, is_known_dead);
            }
            7 | 8 => {
                let until = self.now + self.span();
                let stopped = &mut self.workers[worker];
                if stopped.process.is_some() {
                    stopped.paused_until.get_or_insert(until);
                }
            }
            9 => self.drain_worker(worker),
            10..13 => {
                let blocked = self.chance.between(1, 3);
                self.net.up_blocked.insert(worker, blocked & 1 == 1);
                self.net.down_blocked.insert(worker, blocked & 2 == 2);
                let span = self.span();
                self.after(span, Event::Heal(worker));
            }
            13 | 14 => self.break_a_stream(worker),
            _ => {
                self.net.slowness = self.chance.between(500, 4_000);
                let span = self.span();
                self.after(span, Event::Hurry);
            }
        }
    }

    /// How long something stays broken: mostly shorter than a lease, now and then longer than
    /// anybody waits.
    fn span(&mut self) -> u64 {
        match self.chance.below(8) {
            0 => self.chance.between(40_000, 150_000),
            1 | 2 => self.chance.between(14_000, 25_000),
            _ => self.chance.between(300, 14_000),
        }
    }

    fn drain_worker(&mut self, at: usize) {
        let instant = self.instant();
        let worker = &mut self.workers[at];
        let is_awake = worker.paused_until.is_none_or(|until| until <= self.now);
        let Some(process) = worker.process.as_mut().filter(|_| is_awake) else {
            return;
        };
        if !process.agenda.is_draining() {
            process.agenda.drain(instant);
            self.say_draining(at);
            self.settle(at);
        }
    }

    /// A stream breaks: what is on the way is lost, and each end hears of it or doesn't.
    fn break_a_stream(&mut self, worker: usize) {
        let conns = self.net.of_worker(worker);
        let Some(conn) = conns.last().copied() else {
            return;
        };
        let boot = self.net.conn(conn).map(|conn| conn.boot);
        self.cut(conn);
        if self.chance.one_in(2) && boot == Some(self.coordinator.boot) {
            self.stream_ended(conn);
        }
        // Who stands still hears nothing, and who is not told finds out by the silence.
        let paused_until = self.workers[worker].paused_until;
        let is_awake = paused_until.is_none_or(|until| until <= self.now);
        if self.chance.one_in(2) && is_awake {
            self.stream_broke(worker, conn);
        }
    }
}
