//! Teams, members and mail.

use board::{
    id::{Incarnation, MessageId, Revision, TaskId, TeamName},
    mail::{Letter, MailKind, Recipients, Sender},
    team::{Dissolved, Member, MemberKind, Plan, Question, Shutdown, Team},
};
use proptest::{option, prelude::*, sample::select};

use super::{
    actor, agent_type, member_name, message_id, revision, short, task_id, team_uid, text, time,
};

pub(super) fn team() -> impl Strategy<Value = Team> {
    let numbers = (any::<[u64; 4]>(), any::<[u32; 4]>());
    let dissolved =
        (time(), actor(), short(), any::<bool>()).prop_map(|(at, by, reason, is_settled)| {
            Dissolved {
                at,
                by,
                reason,
                is_settled,
            }
        });
    let rest = (any::<bool>(), option::of(dissolved));
    (
        team_uid(),
        "[a-d]{1,2}",
        text(),
        member_name(),
        time(),
        numbers,
        rest,
    )
        .prop_map(
            |(uid, name, description, lead, created_at, (counts, numbers), rest)| {
                let [revision, last_task, last_message, expired_through] = counts;
                let [
                    closed_since_verification,
                    verification_threshold,
                    weight,
                    max_running,
                ] = numbers;
                let (idle_notices, dissolved) = rest;
                Team {
                    weight,
                    max_running,
                    uid,
                    name: TeamName::parse(&name).unwrap(),
                    description,
                    lead,
                    created_at,
                    revision: Revision(revision),
                    last_task: TaskId(last_task),
                    expired_through: TaskId(expired_through),
                    last_message: MessageId(last_message),
                    closed_since_verification,
                    verification_threshold,
                    idle_notices,
                    dissolved,
                }
            },
        )
}

pub(super) fn member() -> impl Strategy<Value = Member> {
    use MemberKind::{Agent, Hosted, Lead, Worker};
    let who = (
        member_name(),
        any::<u32>(),
        select(vec![Lead, Agent, Hosted, Worker]),
    );
    let texts = (short(), short(), text(), short());
    let times = (time(), option::of(time()));
    let plan = prop_oneof![
        Just(Plan::NotRequired),
        Just(Plan::Required),
        (message_id(), short(), time()).prop_map(|(request, correlation, deadline)| {
            Plan::Submitted {
                request,
                correlation,
                deadline,
            }
        }),
        Just(Plan::Approved),
    ];
    let shutdown = (message_id(), short(), member_name(), time()).prop_map(
        |(request, correlation, by, deadline)| Shutdown {
            request,
            correlation,
            by,
            deadline,
        },
    );
    let asked = proptest::collection::vec(member_name(), 1..3);
    let question =
        (message_id(), short(), asked, time()).prop_map(|(message, correlation, asked, at)| {
            Question {
                message,
                correlation,
                asked: asked.into(),
                at,
            }
        });
    let asked = (
        plan,
        option::of(shutdown),
        proptest::collection::vec(question, 0..3),
        message_id(),
    );
    (who, texts, option::of(agent_type()), times, asked).prop_map(
        |((name, incarnation, kind), texts, agent_type, (joined_at, left_at), asked)| {
            let (plan, shutdown, questions, handed) = asked;
            let (role, description, instructions, model) = texts;
            Member {
                name,
                incarnation: Incarnation(incarnation),
                kind,
                role,
                description,
                instructions,
                agent_type,
                model,
                joined_at,
                left_at,
                plan,
                shutdown,
                questions,
                handed,
            }
        },
    )
}

/// What a message may be.
pub(super) fn mail_kind() -> impl Strategy<Value = MailKind> {
    use MailKind::{
        Answer, Digest, Idle, MemberFailed, PlanApprovalRequest, PlanApprovalResponse, Question,
        ShutdownRequest, ShutdownResponse, TaskAssignment, TaskFinished, TaskUnassigned,
        TaskUnblocked, Text,
    };
    select(vec![
        Text,
        TaskAssignment,
        TaskUnassigned,
        TaskUnblocked,
        TaskFinished,
        Idle,
        MemberFailed,
        ShutdownRequest,
        ShutdownResponse,
        PlanApprovalRequest,
        PlanApprovalResponse,
        Question,
        Answer,
        Digest,
    ])
}

/// A message. Its id is to be set: none comes again.
pub(super) fn letter() -> impl Strategy<Value = Letter> {
    let from = prop_oneof![
        (member_name(), any::<u32>())
            .prop_map(|(name, number)| Sender::Member(name, Incarnation(number))),
        task_id().prop_map(Sender::Task),
        Just(Sender::Coordinator),
    ];
    let to = prop_oneof![
        3 => member_name().prop_map(Recipients::One),
        1 => any::<bool>().prop_map(|is_broadcast| Recipients::Many { is_broadcast }),
    ];
    let texts = (text(), short(), text(), short());
    let rest = (
        option::of(task_id()),
        option::of(any::<bool>()),
        option::of(time()),
        option::of(revision()),
    );
    (from, to, mail_kind(), texts, time(), rest).prop_map(
        |(from, to, kind, (text, summary, payload, correlation), at, rest)| {
            let (task, approve, deadline, revision) = rest;
            Letter {
                id: MessageId(0),
                from,
                to,
                kind,
                text,
                summary,
                payload,
                correlation,
                at,
                task,
                approve,
                deadline,
                revision,
            }
        },
    )
}
