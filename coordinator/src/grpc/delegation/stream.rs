//! StreamTask: what happens to a task, told until it is over.

use board::{
    id::{AttemptNumber, TaskId},
    task::{EndStatus, StopReason},
    view::TaskView,
};
use ganger_proto::v1;

use super::{
    follow::{Follow, Stopped},
    lend::Lent,
};
use crate::grpc::{
    body::Sink,
    caller::Identity,
    status, to_wire,
    transcript::{self, Tail},
};

/// Streams what happens to a task until it is over. `canceller` is who wants it cancelled when
/// the reader goes away.
pub(super) async fn stream(
    mut follow: Follow,
    sink: Sink<v1::StreamTaskResponse>,
    canceller: Option<Identity>,
    lent: Lent,
) {
    let told = tokio::select! {
        told = tell(&mut follow, &sink, &lent) => told,
        () = sink.gone() => Err(Stopped::Gone),
    };
    match told {
        Ok(()) => {}
        Err(Stopped::Failed(status)) => sink.fail(status).await,
        Err(Stopped::Gone) => {
            if let Some(identity) = canceller {
                follow.cancel(&identity, "the caller went away");
            }
        }
    }
}

async fn tell(
    follow: &mut Follow,
    sink: &Sink<v1::StreamTaskResponse>,
    lent: &Lent,
) -> Result<(), Stopped> {
    let mut attempt = AttemptNumber(0);
    let mut tail: Option<Tail> = None;
    loop {
        // What the task is, is asked before what was written: so that nothing written before its
        // end can be missed.
        let view = follow.view().await?;
        if let Some(begun) = begun_after(&view, attempt) {
            if let Some(tail) = &mut tail {
                drain(tail, sink, follow.key.1, attempt).await?;
            }
            attempt = begun;
            let key = transcript::key(follow.key, attempt);
            tail = Some(Tail::new(&follow.services, key, 0).await?);
            sink.put(v1::StreamTaskResponse {
                r#type: "task_started".into(),
                task_id: follow.key.1.0,
                attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
                ..v1::StreamTaskResponse::default()
            })
            .await?;
        }
        if let Some(tail) = &mut tail {
            drain(tail, sink, follow.key.1, attempt).await?;
        }
        if view.task.end().is_some() {
            let back = lent.take_back(&follow.services.handle).await;
            back.map_err(status::unavailable)?;
            sink.put(ending(&view, attempt)).await?;
            return Ok(());
        }
        let stop = follow.services.stop.clone();
        tokio::select! {
            () = follow.changed() => {}
            () = transcript::news(&mut tail) => {}
            () = stop.cancelled() => return Err(status::unavailable(super::closed()).into()),
        }
    }
}

/// The latest attempt whose sub-agent has begun, if it is a later one than this.
fn begun_after(view: &TaskView, attempt: AttemptNumber) -> Option<AttemptNumber> {
    let placed = view.task.placement();
    let running = placed.filter(|p| p.started_at.is_some()).map(|p| p.attempt);
    let ended = view.task.attempts.iter().rev();
    let ended = ended.filter(|a| a.started_at.is_some()).map(|a| a.number);
    let latest = running.into_iter().chain(ended).max()?;
    (latest > attempt).then_some(latest)
}

async fn drain(
    tail: &mut Tail,
    sink: &Sink<v1::StreamTaskResponse>,
    task: TaskId,
    attempt: AttemptNumber,
) -> Result<(), Stopped> {
    loop {
        let page = tail.page().await?;
        if page.records.is_empty() {
            return Ok(());
        }
        for record in page.records {
            sink.put(v1::StreamTaskResponse {
                r#type: "task_running".into(),
                task_id: task.0,
                attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
                kind: record.kind,
                index: record.index,
                message: record.text,
                ..v1::StreamTaskResponse::default()
            })
            .await?;
        }
    }
}

fn ending(view: &TaskView, attempt: AttemptNumber) -> v1::StreamTaskResponse {
    let end = view.task.end();
    let stop_reason = end.and_then(|end| end.stop_reason);
    let kind = match end.map(|end| end.status) {
        Some(EndStatus::Completed) => "task_completed",
        Some(EndStatus::Cancelled) => "task_cancelled",
        _ if stop_reason == Some(StopReason::Timeout) => "task_timed_out",
        _ => "task_failed",
    };
    let task = to_wire::task(view);
    v1::StreamTaskResponse {
        r#type: kind.into(),
        task_id: task.id,
        attempt: i32::try_from(attempt.0).unwrap_or(i32::MAX),
        result: task.result.clone(),
        error: task.error.clone(),
        stop_reason: task.stop_reason,
        usage: task.usage,
        task: Some(task),
        ..v1::StreamTaskResponse::default()
    }
}
