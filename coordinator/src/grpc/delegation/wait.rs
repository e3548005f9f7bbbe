//! Waiting for several tasks at once: until what was waited for has come, or until somebody has to
//! do something so that it can.

use std::{collections::BTreeSet, future::pending};

use board::{
    event::{Event, Fields, Happening},
    id::{Revision, TaskId, TaskKey, TeamName},
    limits,
    refusal::Refusal,
    task::Status as TaskStatus,
    view::TaskView,
};
use ganger_proto::v1;
use tokio::task::JoinSet;
use tonic::Status;

use crate::{
    engine::Hindrance,
    grpc::{Services, caller::Identity, delegation::lend::Lent, from_wire, status, to_wire},
    handle::Unavailable,
    hub::Watcher,
};

/// Waits until all of the tasks, or any, are over, or the time is; or until one of them asks, or
/// none of them can get on. Who stops waiting drops the waits, and nothing else.
pub(super) async fn wait(
    services: &Services,
    identity: &Identity,
    request: v1::WaitTasksRequest,
) -> Result<v1::WaitTasksResponse, Status> {
    let awaited = Awaited {
        services,
        identity,
        team: identity.team(&request.team)?,
        ids: asked(&request.task_ids)?,
    };
    let timeout = request.timeout.as_ref();
    let timeout = timeout
        .map(|span| from_wire::span("timeout", span))
        .transpose()?;
    let until = from_wire::wait_until(request.until)?;
    let (mut seen, watcher) = awaited.begin(!request.wait_on).await?;
    let lent = Lent::begin(&services.handle, &identity.caller, &seen.keys, false).await?;
    let mut waits = Waits::begin(services, &seen, until);
    let mut alarm = watcher.map(|watcher| Alarm::new(watcher, &awaited.ids));
    let time = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => pending().await,
        }
    };
    tokio::pin!(time);
    let timed_out = loop {
        let is_hindered = !request.wait_on && !seen.hindrance.is_none();
        if is_hindered || waits.is_met() {
            break false;
        }
        tokio::select! {
            over = waits.next() => {
                over.map_err(status::unavailable)?;
                if waits.is_met() {
                    seen = awaited.look().await?;
                }
            }
            () = rung(&mut alarm) => {
                // Told of in one look with the tasks, should it still be there.
                if !awaited.hindrance().await?.is_none() {
                    seen = awaited.look().await?;
                }
            }
            () = &mut time => {
                seen = awaited.look().await?;
                break true;
            }
            () = services.stop.cancelled() => return Err(status::unavailable(super::closed())),
        }
    };
    lent.take_back(&services.handle)
        .await
        .map_err(status::unavailable)?;
    awaited.tell(seen, timed_out, !request.wait_on).await
}

/// Waits until a task's sub-agent asks, or the task can't get on any more without the lead or a
/// person; for ever where that can't be found out any more, which whoever waits for its end is told.
pub(super) async fn until_hindered(
    services: &Services,
    identity: &Identity,
    team: TeamName,
    task: TaskId,
) -> TaskView {
    let awaited = Awaited {
        services,
        identity,
        team,
        ids: vec![task],
    };
    match awaited.hindered().await {
        Some(view) => view,
        None => pending().await,
    }
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

/// What is waited for, and by whom.
struct Awaited<'w> {
    services: &'w Services,
    identity: &'w Identity,
    team: TeamName,
    ids: Vec<TaskId>,
}

/// How all of it stands at one moment.
struct Seen {
    views: Vec<TaskView>,
    keys: Vec<TaskKey>,
    hindrance: Hindrance,
}

impl Awaited<'_> {
    /// The first look, and, where that is wanted, what tells of whatever happens after it.
    async fn begin(&self, watches: bool) -> Result<(Seen, Option<Watcher>), Status> {
        let team = self.team.clone();
        let look = self.looking();
        let seen = self.services.look(move |reader| {
            let seen = look(reader)?;
            let watched = watches.then(|| reader.watch(&team)).transpose()?;
            Ok::<_, Refusal>((seen, watched.map(|watched| watched.watcher)))
        });
        seen.await?.map_err(|refusal| status::refusal(&refusal))
    }

    async fn look(&self) -> Result<Seen, Status> {
        let seen = self.services.look(self.looking()).await?;
        seen.map_err(|refusal| status::refusal(&refusal))
    }

    fn looking(
        &self,
    ) -> impl FnOnce(&mut crate::engine::Reader<'_>) -> Result<Seen, Refusal> + Send + use<> {
        let (team, ids) = (self.team.clone(), self.ids.clone());
        let caller = self.identity.caller.clone();
        move |reader| {
            let one = |id: &TaskId| {
                let view = reader.task(&team, *id, &caller)?;
                Ok((view, reader.task_key(&team, *id, &caller)?))
            };
            let seen = ids.iter().map(one).collect::<Result<Vec<_>, Refusal>>()?;
            let (views, keys) = seen.into_iter().unzip();
            Ok(Seen {
                views,
                keys,
                hindrance: reader.hindrance(&team, &ids, &caller)?,
            })
        }
    }

    /// What keeps from waiting on, without a look at each task whole.
    async fn hindrance(&self) -> Result<Hindrance, Status> {
        let (team, ids) = (self.team.clone(), self.ids.clone());
        let caller = self.identity.caller.clone();
        let seen = self
            .services
            .look(move |reader| reader.hindrance(&team, &ids, &caller));
        seen.await?.map_err(|refusal| status::refusal(&refusal))
    }

    /// The first task, when something keeps from waiting on for it; none where it can't be read.
    async fn hindered(&self) -> Option<TaskView> {
        let (mut seen, watcher) = self.begin(true).await.ok()?;
        let mut alarm = watcher.map(|watcher| Alarm::new(watcher, &self.ids));
        while seen.hindrance.is_none() {
            rung(&mut alarm).await;
            if !self.hindrance().await.ok()?.is_none() {
                seen = self.look().await.ok()?;
            }
        }
        self.note(seen.hindrance);
        seen.views.pop()
    }

    /// Has the lead told what can't get on, where it is not the lead who waits.
    fn note(&self, hindrance: Hindrance) {
        let Hindrance {
            team,
            is_lead,
            stuck,
            ..
        } = hindrance;
        if !is_lead
            && !stuck.is_empty()
            && let Err(why) = self.services.handle.note_stuck(team, stuck)
        {
            tracing::warn!(team = %self.team, %why, "can't tell the lead what is stuck");
        }
    }

    async fn tell(
        &self,
        seen: Seen,
        timed_out: bool,
        minds: bool,
    ) -> Result<v1::WaitTasksResponse, Status> {
        let hindrance = seen.hindrance;
        let team = self.team.clone();
        let head = self.services.look(move |reader| reader.team(&team)).await?;
        let head = head.map_err(|refusal| status::refusal(&refusal))?;
        let over = seen.views.iter().filter(|view| view.task.end().is_some());
        let mut briefly = to_wire::Briefly::default();
        let tasks = seen.views.iter().map(|view| briefly.task(view)).collect();
        let told = v1::WaitTasksResponse {
            questions: to_wire::questions(&seen.views),
            stuck: hindrance.stuck.iter().map(to_wire::stuck).collect(),
            finished: to_wire::count(over.count()),
            tasks,
            timed_out,
            verification_nudge_needed: head.team.verification_due().is_some(),
        };
        if minds {
            self.note(hindrance);
        }
        Ok(told)
    }
}

type Over = Result<Result<TaskView, Refusal>, Unavailable>;

/// The waits for each task that is open.
struct Waits {
    waits: JoinSet<Over>,
    until: v1::WaitUntil,
    is_any_over: bool,
}

impl Waits {
    fn begin(services: &Services, seen: &Seen, until: v1::WaitUntil) -> Self {
        let mut waits = JoinSet::new();
        let is_over = |view: &TaskView| view.task.end().is_some();
        let open = seen.keys.iter().zip(&seen.views);
        for (key, _) in open.filter(|(_, view)| !is_over(view)) {
            let (handle, key) = (services.handle.clone(), *key);
            waits.spawn(async move { handle.wait(key).await });
        }
        Self {
            waits,
            until,
            is_any_over: seen.views.iter().any(is_over),
        }
    }

    fn is_met(&self) -> bool {
        match self.until {
            v1::WaitUntil::Any => self.is_any_over,
            _ => self.waits.is_empty(),
        }
    }

    /// Waits until one more is over. A task that was deleted meanwhile is over as well.
    async fn next(&mut self) -> Result<(), Unavailable> {
        let over = self.waits.join_next().await;
        self.is_any_over = true;
        match over {
            Some(Ok(over)) => over.map(drop),
            // A wait that panicked is as good as one that was refused: what is there is told.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

/// Rings when something has happened that may keep from waiting on.
struct Alarm {
    watcher: Watcher,
    seen: Revision,
    awaited: BTreeSet<TaskId>,
}

async fn rung(alarm: &mut Option<Alarm>) {
    match alarm {
        Some(alarm) => alarm.rung().await,
        None => pending().await,
    }
}

impl Alarm {
    fn new(watcher: Watcher, awaited: &[TaskId]) -> Self {
        Self {
            seen: watcher.latest(),
            watcher,
            awaited: awaited.iter().copied().collect(),
        }
    }

    async fn rung(&mut self) {
        loop {
            self.watcher.past(self.seen).await;
            let latest = self.watcher.latest();
            let missed = usize::try_from(latest.0 - self.seen.0).unwrap_or(usize::MAX);
            let recent = self.watcher.recent(self.seen, missed);
            self.seen = latest;
            // Where the ring doesn't reach back, it may have been among what is not there.
            if recent.is_none_or(|events| events.iter().any(|told| self.minds(&told.event))) {
                return;
            }
        }
    }

    /// Whether a task may ask, or may not get on any more, because of this: one that is awaited, or
    /// another for which it waits. Most of what happens to others is none of it.
    fn minds(&self, event: &Event) -> bool {
        const IN_THE_WAY: [Fields; 5] = [
            Fields::OWNER,
            Fields::AGENT_TYPE,
            Fields::BLOCKED_BY,
            Fields::BLOCKS,
            Fields::BLOCKER_FAILED_POLICY,
        ];
        match &event.what {
            Happening::TaskEnded { task, to, .. } => {
                *to != TaskStatus::Completed || self.awaited.contains(task)
            }
            Happening::TaskUpdated { fields, .. } => IN_THE_WAY.iter().any(|f| fields.has(*f)),
            Happening::TaskAsked { .. }
            | Happening::TaskUnblocked { .. }
            | Happening::TaskPaused { .. }
            | Happening::TaskRequeued { .. }
            | Happening::TaskReopened { .. }
            | Happening::TaskClaimed { .. }
            | Happening::TaskDeleted { .. }
            | Happening::MemberLeft { .. }
            | Happening::LeadHandedOver { .. } => true,
            Happening::TeamCreated
            | Happening::TeamUpdated
            | Happening::LossAccepted { .. }
            | Happening::TeamDissolved { .. }
            | Happening::MemberJoined { .. }
            | Happening::PlanApproved { .. }
            | Happening::PlanRejected { .. }
            | Happening::MessageSent { .. }
            | Happening::TaskCreated { .. }
            | Happening::TaskExpired { .. }
            | Happening::TaskDispatched { .. }
            | Happening::TaskStarted { .. }
            | Happening::TaskStopRequested { .. }
            | Happening::TaskResumed { .. }
            | Happening::TaskAnswered { .. }
            | Happening::TaskSteered { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use board::{
        event::Actor,
        id::{AttemptNumber, MemberName, MessageId, TeamUid},
        mail::MailKind,
        time::Time,
    };
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hub::Hub;

    const TEAM: TeamUid = TeamUid(1);
    const AWAITED: TaskId = TaskId(1);
    const OTHER: TaskId = TaskId(2);

    fn event(revision: u64, what: Happening) -> Event {
        Event {
            team: TEAM,
            revision: Revision(revision),
            at: Time(0),
            actor: Actor::Coordinator,
            on_behalf_of: None,
            cause: None,
            cause_message: None,
            previous: Revision(0),
            what,
        }
    }

    fn alarm(hub: &Hub) -> Alarm {
        Alarm::new(hub.watch(TEAM, Revision(0)).unwrap(), &[AWAITED])
    }

    fn ended(task: TaskId, to: TaskStatus) -> Happening {
        Happening::TaskEnded {
            task,
            attempt: None,
            from: TaskStatus::Pending,
            to,
            message: "".into(),
        }
    }

    fn updated(fields: Fields) -> Happening {
        Happening::TaskUpdated {
            task: OTHER,
            fields,
        }
    }

    #[test]
    fn alarm_rings_for_what_may_keep_from_waiting_on_and_for_nothing_else() {
        let attempt = AttemptNumber(1);
        let task = OTHER;
        let text = || std::sync::Arc::from("so");
        let bob = || MemberName::parse("bob").unwrap();
        let sent = Happening::MessageSent {
            message: MessageId(1),
            kind: MailKind::Text,
            to: None,
        };
        let asked = Happening::TaskAsked {
            task,
            attempt,
            text: text(),
        };
        let answered = Happening::TaskAnswered {
            task,
            attempt,
            text: text(),
        };
        let left = Happening::MemberLeft {
            member: bob(),
            reason: text(),
        };
        let mut changes = Fields::SUBJECT;
        changes.add(Fields::OWNER);
        let table = [
            (asked, true),
            (
                Happening::TaskPaused {
                    task,
                    reason: text(),
                },
                true,
            ),
            (Happening::TaskUnblocked { task }, true),
            (left, true),
            (Happening::LeadHandedOver { to: bob() }, true),
            (ended(OTHER, TaskStatus::Failed), true),
            (ended(OTHER, TaskStatus::Cancelled), true),
            (ended(AWAITED, TaskStatus::Completed), true),
            (updated(changes), true),
            (ended(OTHER, TaskStatus::Completed), false),
            (updated(Fields::SUBJECT), false),
            (
                Happening::TaskStarted {
                    task: AWAITED,
                    attempt,
                },
                false,
            ),
            (Happening::TaskResumed { task: AWAITED }, false),
            (Happening::MemberJoined { member: bob() }, false),
            (answered, false),
            (sent, false),
        ];
        for (what, rings) in table {
            let hub = Hub::default();
            let mut alarm = alarm(&hub);
            let shown = format!("{what:?}");

            hub.publish(vec![event(1, what)]);

            let rang = alarm.rung().now_or_never().is_some();
            assert_eq!(rang, rings, "{shown}");
            // What was seen is not seen again.
            assert!(alarm.rung().now_or_never().is_none(), "{shown}");
        }
    }

    #[test]
    fn alarm_rings_where_more_has_happened_than_is_kept() {
        let hub = Hub::default();
        let mut alarm = alarm(&hub);
        let sent = |revision| event(revision, Happening::TeamUpdated);

        hub.publish((1..=5_000).map(sent).collect());

        assert!(alarm.rung().now_or_never().is_some());
    }
}
