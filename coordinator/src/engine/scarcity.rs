//! What is still done when the disk is nearly full (P8): what ends something, or takes something
//! away.

use std::sync::Arc;

use board::{
    command::{SweepWhat, Update, Wish},
    refusal::Refusal,
};

use super::Engine;
use crate::disk::DiskGauge;

/// Why a task waits that could go to a worker.
pub(super) const QUEUE_REASON: &str = "DISK_LOW: the coordinator's disk is nearly full";

impl Engine {
    /// Looks at this gauge from now on.
    pub fn watch_disk(&mut self, disk: DiskGauge) {
        self.disk = disk;
    }

    /// Whether a wish must wait until the disk has room.
    pub(super) fn check_room(&self, wish: &Wish) -> Result<(), Refusal> {
        if self.disk.is_low() && !makes_room(wish) {
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
