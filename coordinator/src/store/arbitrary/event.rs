//! Events and outcomes.

use board::{
    event::{Event, Fields, Happening},
    id::Revision,
    record::{CameTo, Outcome, Request},
    task::Status,
};
use proptest::{option, prelude::*, sample::select};

use super::{
    KEYS, actor, attempt_number, member_name, message_id, request_key, revision, short, task_id,
    team::mail_kind, team_uid, text, time, worker_name,
};

fn status() -> impl Strategy<Value = Status> {
    use Status::{Cancelled, Completed, Failed, InProgress, Pending};
    select(vec![Pending, InProgress, Completed, Failed, Cancelled])
}

fn happening() -> impl Strategy<Value = Happening> {
    let member = member_name;
    prop_oneof![
        Just(Happening::TeamCreated),
        member().prop_map(|member| Happening::MemberJoined { member }),
        (member(), short()).prop_map(|(member, reason)| Happening::MemberLeft { member, reason }),
        short().prop_map(|reason| Happening::TeamDissolved { reason }),
        member().prop_map(|to| Happening::LeadHandedOver { to }),
        member().prop_map(|member| Happening::PlanApproved { member }),
        (member(), short()).prop_map(|(member, reason)| Happening::PlanRejected { member, reason }),
        (message_id(), mail_kind(), option::of(member()))
            .prop_map(|(message, kind, to)| Happening::MessageSent { message, kind, to }),
        (task_id(), status(), short()).prop_map(|(task, from, reason)| Happening::TaskReopened {
            task,
            from,
            reason
        }),
        (task_id(), short()).prop_map(|(task, subject)| Happening::TaskDeleted { task, subject }),
        task_id().prop_map(|task| Happening::TaskExpired { task }),
        (task_id(), short()).prop_map(|(task, reason)| Happening::TaskPaused { task, reason }),
        task_id().prop_map(|task| Happening::TaskResumed { task }),
        Just(Happening::TeamUpdated),
        (task_id(), short()).prop_map(|(task, subject)| Happening::TaskCreated { task, subject }),
        (task_id(), any::<u32>()).prop_map(|(task, fields)| Happening::TaskUpdated {
            task,
            fields: Fields(fields),
        }),
        (task_id(), actor(), attempt_number())
            .prop_map(|(task, by, attempt)| Happening::TaskClaimed { task, by, attempt }),
        (task_id(), attempt_number(), worker_name()).prop_map(|(task, attempt, worker)| {
            Happening::TaskDispatched {
                task,
                attempt,
                worker,
            }
        }),
        (task_id(), attempt_number())
            .prop_map(|(task, attempt)| Happening::TaskStarted { task, attempt }),
        (task_id(), attempt_number(), text()).prop_map(|(task, attempt, reason)| {
            Happening::TaskStopRequested {
                task,
                attempt,
                reason,
            }
        }),
        (task_id(), attempt_number(), short()).prop_map(|(task, attempt, reason)| {
            Happening::TaskRequeued {
                task,
                attempt,
                reason,
            }
        }),
        task_id().prop_map(|task| Happening::TaskUnblocked { task }),
        (task_id(), attempt_number(), short()).prop_map(|(task, attempt, text)| {
            Happening::TaskAsked {
                task,
                attempt,
                text,
            }
        }),
        (task_id(), attempt_number(), short()).prop_map(|(task, attempt, text)| {
            Happening::TaskAnswered {
                task,
                attempt,
                text,
            }
        }),
        (task_id(), attempt_number(), short()).prop_map(|(task, attempt, text)| {
            Happening::TaskSteered {
                task,
                attempt,
                text,
            }
        }),
        short().prop_map(|missing| Happening::LossAccepted { missing }),
        (
            task_id(),
            option::of(attempt_number()),
            (status(), status()),
            short()
        )
            .prop_map(
                |(task, attempt, (from, to), message)| Happening::TaskEnded {
                    task,
                    attempt,
                    from,
                    to,
                    message,
                }
            ),
    ]
}

/// Any event. Its revision is to be set.
pub(in crate::store) fn event() -> impl Strategy<Value = Event> {
    let causes = (
        option::of(member_name()),
        option::of(task_id()),
        option::of(message_id()),
        revision(),
    );
    (team_uid(), time(), actor(), causes, happening()).prop_map(
        |(team, at, actor, (on_behalf_of, cause, cause_message, previous), what)| Event {
            team,
            revision: Revision(0),
            at,
            actor,
            on_behalf_of,
            cause,
            cause_message,
            previous,
            what,
        },
    )
}

/// Any outcome.
pub(in crate::store) fn outcome() -> impl Strategy<Value = Outcome> {
    let came_to = prop_oneof![
        Just(CameTo::Team),
        (task_id(), any::<u32>()).prop_map(|(first, count)| CameTo::Tasks { first, count }),
        (task_id(), any::<u32>(), option::of((status(), status()))).prop_map(
            |(task, fields, status)| CameTo::Updated {
                task,
                fields: Fields(fields),
                status,
            }
        ),
        task_id().prop_map(|task| CameTo::Task { task }),
        task_id().prop_map(|task| CameTo::Renewed { task }),
        task_id().prop_map(|task| CameTo::Reopened { task }),
        message_id().prop_map(|message| CameTo::Sent { message }),
        (any::<u32>(), any::<bool>(), task_id()).prop_map(|(count, is_more, last)| {
            CameTo::Swept {
                count,
                is_more,
                last,
            }
        }),
        select(vec![
            CameTo::Batch,
            CameTo::Deleted,
            CameTo::Dissolved,
            CameTo::Member,
            CameTo::Removed,
        ]),
    ];
    ((0..KEYS, any::<u128>()), time(), team_uid(), came_to).prop_map(
        |((key, body), at, team, came_to)| Outcome {
            request: Request {
                key: request_key(key),
                body,
            },
            at,
            team,
            came_to,
        },
    )
}
