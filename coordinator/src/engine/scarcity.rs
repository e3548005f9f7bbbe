//! What is still done when the disk is nearly full (P8): what ends something, or takes something
//! away. When it is full nothing is decided that would have to be written: neither what callers and
//! workers bring, nor what time does.

use std::{sync::Arc, time::Duration};

use board::{
    command::{SweepWhat, Update, Wish},
    refusal::Refusal,
    time::Time,
};

use super::Engine;
use crate::disk::{DiskGauge, DiskKeeper};

/// Why a task waits that could go to a worker.
pub(super) const QUEUE_REASON: &str = "DISK_LOW: the coordinator's disk is nearly full";

/// How long those who were refused to renew a claim while the disk was full have to come again before
/// time goes on. They are told to come again after a second.
const RENEWAL_SPAN: Duration = Duration::from_secs(10);

impl Engine {
    /// Looks at this gauge from now on.
    pub fn watch_disk(&mut self, disk: DiskGauge) {
        self.disk = disk;
    }

    /// Has the disk measured before each group from now on.
    pub fn keep_disk(&mut self, keeper: DiskKeeper) {
        self.disk = keeper.gauge();
        self.disk_keeper = Some(keeper);
    }

    /// Measures the disk: before a group is decided, because what is decided must be written.
    pub fn look_at_disk(&mut self, now: Time) {
        if let Some(keeper) = &mut self.disk_keeper {
            keeper.measure(now);
        }
        let is_full = self.disk.is_full();
        if std::mem::replace(&mut self.is_stalled, is_full) && !is_full {
            self.tick_again_at = Some(now + RENEWAL_SPAN);
            self.may_place = true;
        }
    }

    /// Whether the disk is low: groups are kept small then.
    pub fn is_disk_low(&self) -> bool {
        self.disk.is_low()
    }

    /// Whether a wish must wait until the disk has room.
    pub(super) fn check_room(&self, wish: &Wish) -> Result<(), Refusal> {
        if self.disk.is_low() && !makes_room(wish) {
            return Err(Refusal::DiskLow);
        }
        self.check_writable()
    }

    /// Whether anything may be written.
    pub(super) fn check_writable(&self) -> Result<(), Refusal> {
        if self.is_stalled {
            return Err(Refusal::DiskLow);
        }
        Ok(())
    }

    /// Why a queued task waits, where that is because of the disk.
    pub(super) fn scarcity(&self) -> Option<Arc<str>> {
        self.disk.is_low().then(|| QUEUE_REASON.into())
    }
}

fn makes_room(wish: &Wish) -> bool {
    match wish {
        Wish::UpdateTask(_, _, update) => ends(update),
        Wish::UpdateTasks(_, updates) => updates.iter().all(|(_, update)| ends(update)),
        Wish::RenewClaim(..)
        | Wish::ReleaseTask(..)
        | Wish::DeleteTask(..)
        | Wish::CancelTask(..)
        | Wish::AnswerQuestion(..)
        | Wish::DissolveTeam(..)
        | Wish::AckMessages(..) => true,
        Wish::SweepTasks(_, sweep) => sweep.what == SweepWhat::Cancel,
        Wish::CreateTeam(_)
        | Wish::CreateTasks(..)
        | Wish::ClaimTask(..)
        | Wish::ClaimNext(..)
        | Wish::ReopenTask(..)
        | Wish::PauseTask(..)
        | Wish::ResumeTask(..)
        | Wish::AddMember(..)
        | Wish::RemoveMember(..)
        | Wish::HandOverLead(..)
        | Wish::SteerTask(..)
        | Wish::UpdateTeam(..)
        | Wish::SendMessage(..) => false,
    }
}

/// Whether an update tells that a task is over.
fn ends(update: &Update) -> bool {
    update.status.is_some_and(|status| status.is_terminal())
}
