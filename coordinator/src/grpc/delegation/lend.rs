//! Sub-agents that wait for others, and what their slots do meanwhile (D7).

use board::{command::Caller, id::TaskKey};
use tonic::Status;

use super::follow::Follow;
use crate::{
    engine::Waiting,
    grpc::{caller::Identity, status},
    handle::{Handle, Unavailable},
};

/// That a sub-agent waits, and may have lent its slot, until this is dropped; nothing where somebody
/// else waits.
pub(super) struct Lent(Option<Waiting>);

/// Notes that a caller waits for the task that it has just made. One that would never be over is
/// cancelled, and refused.
pub(super) async fn run(follow: &Follow, identity: &Identity) -> Result<Lent, Status> {
    let handle = &follow.services.handle;
    let lent = Lent::begin(handle, &identity.caller, &[follow.key], true).await;
    if lent.is_err() {
        follow.cancel(
            identity,
            "who wants it waits for it, and it would wait for that",
        );
    }
    lent
}

impl Lent {
    /// Notes that a caller waits for tasks.
    pub(super) async fn begin(
        handle: &Handle,
        caller: &Caller,
        awaited: &[TaskKey],
        is_checked: bool,
    ) -> Result<Self, Status> {
        let Some(lender) = caller.attempt else {
            return Ok(Self(None));
        };
        let awaited = awaited.to_vec();
        let begun = handle
            .read(move |reader| reader.wait_begins(lender, &awaited, is_checked))
            .await
            .map_err(status::unavailable)?;
        begun.map(Self).map_err(|refusal| status::refusal(&refusal))
    }

    /// Waits, when what was waited for is there, until who waited has a slot again.
    pub(super) async fn take_back(&self, handle: &Handle) -> Result<(), Unavailable> {
        let Some(waiting) = &self.0 else {
            return Ok(());
        };
        let id = waiting.id();
        let has_slot = handle.read(move |reader| reader.wait_ends(id)).await?;
        // Closed where the attempt is over: then it needs no slot.
        let _ = has_slot.await;
        Ok(())
    }
}
