//! Workers that are names and nothing else, as many as a fleet may have.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ganger_proto::v1;

use super::{Attackers, Scale, Target, Verdict, by_turns};
use crate::{Client, HandWorker, Programs, WorkerSpec, hello, patiently};

/// Workers that are invented in all, at the least: as many as a fleet may have.
const WORKERS: usize = 10_000;
/// Connections that they come by.
const CONNECTIONS: usize = 6;

/// 10,000 invented workers. Every other one goes at once, and leaves its name.
pub async fn invented_workers(programs: Programs, scale: Scale) -> Verdict {
    let target = Target::start(programs, &[], &[]).await;
    let address: Arc<str> = target.cluster.address().into();
    let names = Arc::new(AtomicUsize::new(0));
    let invent = |count: usize| {
        let (address, names) = (address.clone(), names.clone());
        async move {
            let mut attackers = Attackers::default();
            let inventing: Vec<_> = (0..CONNECTIONS)
                .map(|_| tokio::spawn(invent(address.clone(), names.clone(), count / CONNECTIONS)))
                .collect();
            for inventing in inventing {
                let there = inventing.await.expect("inventing does not panic");
                attackers.add(async move {
                    let _there = there;
                    std::future::pending().await
                });
            }
            attackers
        }
    };
    let mut verdict = by_turns(&target, scale, |_| invent(WORKERS / scale.turns)).await;

    // The fleet is full of names, and more come: an honest one gets in and gets work.
    let _attackers = invent(WORKERS / 10).await;
    let late = WorkerSpec::named("late").slots(1).sandbox("none");
    let late = target.cluster.start_worker(late).await;
    let client = target.cluster.client();
    let task = client.start("echo done").await;
    let ended = client.ended(task.id).await;
    verdict.require(ended.status() == v1::TaskStatus::Completed, || {
        format!("a worker that comes late did not work: {ended:?}")
    });
    drop(late);
    verdict.note(target.held().await);
    verdict
}

/// Invents so many workers over one connection. Answers those that stay.
async fn invent(address: Arc<str>, names: Arc<AtomicUsize>, count: usize) -> Vec<HandWorker> {
    let client = Client::of(&address);
    let mut there = Vec::new();
    for number in 0..count {
        let name = names.fetch_add(1, Ordering::Relaxed);
        let connecting = HandWorker::connect(&client, hello(&format!("invented-{name}")));
        // One that is refused has attacked, too.
        if let Ok(worker) = patiently("a Hello is answered", connecting).await
            && number % 2 == 0
        {
            there.push(worker);
        }
    }
    there
}
