//! Waiting for several tasks at once.

use std::{collections::BTreeSet, time::Duration};

use board::{
    id::{TaskId, TaskKey, TeamName},
    limits,
    refusal::Refusal,
    view::TaskView,
};
use ganger_proto::v1;
use tokio::task::JoinSet;
use tonic::Status;

use crate::grpc::{Services, caller::Identity, from_wire, status, to_wire};

/// Waits until all of the tasks, or any, are over, or the time is.
pub(super) async fn wait(
    services: &Services,
    identity: &Identity,
    request: v1::WaitTasksRequest,
) -> Result<v1::WaitTasksResponse, Status> {
    let team = identity.team(&request.team)?;
    let ids = asked(&request.task_ids)?;
    let timeout = request.timeout.as_ref();
    let timeout = timeout
        .map(|span| from_wire::span("timeout", span))
        .transpose()?;
    let until = from_wire::wait_until(request.until)?;
    let (views, keys) = look(services, identity, &team, ids.clone()).await?;
    let over = views
        .iter()
        .filter(|view| view.task.end().is_some())
        .count();
    let open = keys.into_iter().zip(&views);
    let open = open
        .filter(|(_, view)| view.task.end().is_none())
        .map(|(key, _)| key);
    let open: Vec<TaskKey> = open.collect();
    let is_met = match until {
        v1::WaitUntil::Any => over > 0,
        _ => open.is_empty(),
    };
    let timed_out = !is_met && !until_met(services, open, until, timeout).await?;
    let (views, _) = look(services, identity, &team, ids).await?;
    let nudged = services.look(move |reader| reader.team(&team)).await?;
    let nudged = nudged.map_err(|refusal| status::refusal(&refusal))?;
    let over = views.iter().filter(|view| view.task.end().is_some());
    let mut briefly = to_wire::Briefly::default();
    Ok(v1::WaitTasksResponse {
        questions: Vec::new(),
        stuck: Vec::new(),
        finished: to_wire::count(over.count()),
        tasks: views.iter().map(|view| briefly.task(view)).collect(),
        timed_out,
        verification_nudge_needed: nudged.team.verification_due().is_some(),
    })
}

/// The tasks that are asked for, each once, in their order.
fn asked(ids: &[u64]) -> Result<Vec<TaskId>, Status> {
    if ids.is_empty() {
        return Err(status::refusal(&Refusal::Blank { field: "task_ids" }));
    }
    if ids.len() > limits::BATCH_MAX {
        return Err(status::refusal(&Refusal::TooMany {
            field: "task_ids",
            count: ids.len(),
            max: limits::BATCH_MAX,
        }));
    }
    let mut seen = BTreeSet::new();
    let fresh = ids.iter().filter(|id| seen.insert(**id));
    fresh
        .map(|id| from_wire::task_id("task_ids", *id))
        .collect()
}

async fn look(
    services: &Services,
    identity: &Identity,
    team: &TeamName,
    ids: Vec<TaskId>,
) -> Result<(Vec<TaskView>, Vec<TaskKey>), Status> {
    let (team, caller) = (team.clone(), identity.caller.clone());
    let seen = services.look(move |reader| {
        let one = |id: &TaskId| {
            let view = reader.task(&team, *id, &caller)?;
            Ok((view, reader.task_key(&team, *id, &caller)?))
        };
        ids.iter().map(one).collect::<Result<_, Refusal>>()
    });
    seen.await?.map_err(|refusal| status::refusal(&refusal))
}

/// Waits for open tasks. Says whether what was waited for came before the time was over. Who
/// stops waiting drops the waits, and nothing else.
async fn until_met(
    services: &Services,
    open: Vec<TaskKey>,
    until: v1::WaitUntil,
    timeout: Option<Duration>,
) -> Result<bool, Status> {
    let mut waits = JoinSet::new();
    for key in open {
        let handle = services.handle.clone();
        waits.spawn(async move { handle.wait(key).await });
    }
    let met = async {
        while let Some(over) = waits.join_next().await {
            // A wait that panicked is as good as one that was refused: what is there is told.
            if let Ok(over) = over {
                // A task that was deleted meanwhile is over as well.
                let _ = over.map_err(status::unavailable)?;
            }
            if until == v1::WaitUntil::Any {
                break;
            }
        }
        Ok(true)
    };
    let time = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        met = met => met,
        () = time => Ok(false),
        () = services.stop.cancelled() => Err(status::unavailable(super::closed())),
    }
}
