//! Uploads that begin and bring nothing, all on one connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ganger_proto::v1::{self, upload_artifact_request::Part};
use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Attackers, Scale, Target, Verdict, by_turns, silent::half_a_preface};
use crate::{Client, Programs, error_info, patiently};

/// Uploads of an attack.
const UPLOADS: usize = 600;
/// Those of them that a connection may have.
const TAKEN: usize = 16;

/// How long the coordinator may take to end while it is attacked.
const END_SPAN_MAX: Duration = Duration::from_secs(3);

/// 600 uploads of one connection that send a header and then nothing. At last the coordinator is told to end
/// while they are open.
pub async fn stalled_uploads(programs: Programs, scale: Scale) -> Verdict {
    let mut target = Target::start(programs, &[], &[]).await;
    let stalled = tokio::spawn(upload(target.cluster.client()));
    let half = tokio::spawn(half_a_preface(target.cluster.addr()));

    let mut verdict = by_turns(&target, scale, attack).await;

    // What stalls ends by itself.
    let stalled = patiently("a stalled upload ends", stalled).await.unwrap();
    let reason = stalled.err().map(|status| error_info(&status).reason);
    let is_stalled = reason.as_deref() == Some("UPLOAD_STALLED");
    verdict.require(is_stalled, || {
        format!("a stalled upload ended with {reason:?}")
    });
    // It may end as the other side sees fit.
    let _ = patiently("half a preface ends", half).await.unwrap();
    verdict.note(target.held().await);
    let _attackers = attack(target.cluster.client()).await;
    let began = Instant::now();
    target.cluster.coordinator.signal(Signal::TERM);
    let ended = target.cluster.coordinator.end().await;
    let took = began.elapsed();
    verdict.require(ended.success() && took < END_SPAN_MAX, || {
        format!("the coordinator took {took:?} to end, with {ended}")
    });
    verdict
}

async fn attack(client: Client) -> Attackers {
    let mut attackers = Attackers::default();
    let ended = Arc::new(Semaphore::new(0));
    for _ in 0..UPLOADS {
        let (client, ended) = (client.clone(), ended.clone());
        attackers.add(async move {
            // Most are refused, and that is well.
            let _ = upload(client).await;
            ended.add_permits(1);
        });
    }
    let refused = ended.acquire_many((UPLOADS - TAKEN) as u32);
    patiently("uploads beyond the bound are refused", refused)
        .await
        .unwrap()
        .forget();
    attackers
}

/// Uploads a header and then nothing.
async fn upload(client: Client) -> Result<(), Status> {
    let header = v1::UploadArtifactRequest {
        part: Some(Part::Header(v1::UploadHeader::default())),
    };
    let parts = tokio_stream::once(header).chain(tokio_stream::pending());
    client.artifact().upload_artifact(parts).await.map(drop)
}
