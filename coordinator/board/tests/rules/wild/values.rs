//! Wild values: nothing, too much, and whatever lies at the edges.

use std::{sync::Arc, time::Duration};

use board::{
    command::{Addressees, NewLetter, NewMember, NewTask, Sweep, SweepWhat, Update},
    id::{AttemptNumber, Digest, MemberName, Revision, TaskId, TeamName},
    mail::MailKind,
    task::{Artifact, BlockerFailedPolicy, FailurePolicy, Priority, Retry, Status, TaskKind},
    team::MemberKind,
    time::Time,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::support::*;

pub fn number() -> impl Strategy<Value = u64> {
    select(vec![
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        64,
        65,
        u64::MAX - 1,
        u64::MAX,
    ])
}

pub fn small() -> impl Strategy<Value = u32> {
    select(vec![0, 1, 2, 3, 100, 101, u32::MAX])
}

pub fn id() -> impl Strategy<Value = TaskId> {
    number().prop_map(TaskId)
}

pub fn ids() -> impl Strategy<Value = Vec<TaskId>> {
    prop_oneof![3 => Just(vec![]), 1 => vec(id(), 0..4)]
}

pub fn text() -> impl Strategy<Value = Arc<str>> {
    let texts = [
        "",
        " ",
        "\0",
        "x",
        "Verify\nit",
        "ä€😀",
        "\u{202e}#1",
        "..",
        "\"\\",
    ];
    let long: Arc<str> = "😀".repeat(70_000).into();
    let texts = texts.map(Arc::from).into_iter().chain([long]);
    select(texts.collect::<Vec<Arc<str>>>())
}

pub fn span() -> impl Strategy<Value = Duration> {
    let millis = Duration::from_millis(1);
    select(vec![
        Duration::ZERO,
        millis,
        secs(1),
        secs(60),
        Duration::MAX,
    ])
}

pub fn moment() -> impl Strategy<Value = Time> {
    select(vec![i64::MIN, 0, 1_000_000, 1_060_000, i64::MAX]).prop_map(Time)
}

pub fn who() -> impl Strategy<Value = MemberName> {
    select(vec![
        "lead", "alice", "bob", "hana", "hugo", "w1", "mallory", "0",
    ])
    .prop_map(name)
}

pub fn team_name() -> impl Strategy<Value = TeamName> {
    let name = |name| TeamName::parse(name).unwrap();
    select(vec!["t", "t", "t", "u", "v", "default"]).prop_map(name)
}

pub fn artifacts() -> impl Strategy<Value = Vec<Artifact>> {
    let artifact = (text(), any::<u64>()).prop_map(|(path, size)| Artifact {
        digest: Digest([0xff; 32]),
        path,
        size,
    });
    prop_oneof![3 => Just(vec![]), 1 => vec(artifact, 0..3)]
}

pub fn priority() -> impl Strategy<Value = Priority> {
    select(vec![
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ])
}

pub fn policy() -> impl Strategy<Value = BlockerFailedPolicy> {
    select(vec![
        BlockerFailedPolicy::Wait,
        BlockerFailedPolicy::Cancel,
        BlockerFailedPolicy::Proceed,
    ])
}

pub fn failure_policy() -> impl Strategy<Value = FailurePolicy> {
    select(vec![
        FailurePolicy::Fail,
        FailurePolicy::Pause,
        FailurePolicy::Release,
    ])
}

pub fn retry() -> impl Strategy<Value = Retry> {
    (small(), span(), span()).prop_map(|(max_attempts, initial_backoff, max_backoff)| Retry {
        max_attempts,
        initial_backoff,
        max_backoff,
    })
}

pub fn some_type() -> impl Strategy<Value = board::id::AgentTypeName> {
    select(vec!["coder", "shell", "nowhere"]).prop_map(agent_type)
}

pub fn new_task() -> impl Strategy<Value = NewTask> {
    let texts = (text(), text(), text(), text(), text());
    let edges = (
        ids(),
        ids(),
        vec(0..5_usize, 0..2),
        option::of(id()),
        option::weighted(0.2, id()),
    );
    let lists = (vec(text(), 0..3), vec(text(), 0..2), artifacts());
    let runs = (
        option::of(who()),
        option::of(some_type()),
        option::of(small()),
    );
    let plan = (
        priority(),
        policy(),
        option::of(moment()),
        option::of(span()),
        option::of(retry()),
        failure_policy(),
        any::<[bool; 4]>(),
    );
    (texts, edges, lists, runs, plan).prop_map(|(texts, edges, lists, runs, plan)| NewTask {
        worker_labels: std::collections::BTreeMap::new(),
        window: 0,
        outlives_parent: plan.6[2],
        joins: edges.4,
        is_delegated: plan.6[3],
        // Most subjects are good, so that the rest is looked at.
        subject: if plan.6[0] { "s".into() } else { texts.0 },
        description: texts.1,
        active_form: texts.2,
        prompt: texts.3,
        client_task_id: texts.4,
        blocks: edges.0,
        blocked_by: edges.1,
        blocked_by_items: edges.2,
        parent: edges.3,
        labels: lists.0,
        output_globs: lists.1,
        inputs: lists.2,
        owner: runs.0,
        agent_type: runs.1,
        crash_limit: runs.2,
        priority: plan.0,
        blocker_failed_policy: plan.1,
        deadline: plan.2,
        timeout: plan.3,
        retry: plan.4,
        failure_policy: plan.5,
        share_todos: plan.6[1],
        kind: TaskKind::Verification,
        metadata: [("k".into(), "v".into())].into(),
    })
}

pub fn update() -> impl Strategy<Value = Update> {
    let status = select(vec![
        Status::Pending,
        Status::InProgress,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
    ]);
    let texts = (
        option::weighted(0.1, text()),
        option::weighted(0.1, text()),
        option::weighted(0.1, text()),
        option::weighted(0.1, text()),
        option::weighted(0.1, text()),
    );
    let edges = (ids(), ids(), ids(), ids());
    let lists = (vec(text(), 0..2), vec(text(), 0..2), artifacts());
    let of = (
        option::of(status),
        option::weighted(0.3, option::of(who())),
        option::weighted(0.1, number().prop_map(Revision)),
        option::weighted(0.1, small().prop_map(AttemptNumber)),
        any::<bool>(),
    );
    let plan = (
        option::weighted(0.2, option::of(some_type())),
        option::weighted(0.1, option::of(moment())),
        option::weighted(0.1, span()),
        option::of(policy()),
        option::of(failure_policy()),
        option::weighted(0.1, retry()),
        option::of(priority()),
    );
    (texts, edges, lists, of, plan).prop_map(|(texts, edges, lists, of, plan)| Update {
        window: None,
        subject: texts.0,
        description: texts.1,
        prompt: texts.2,
        result: texts.3,
        reason: texts.4,
        active_form: None,
        add_blocks: edges.0,
        add_blocked_by: edges.1,
        remove_blocks: edges.2,
        remove_blocked_by: edges.3,
        add_labels: lists.0,
        remove_labels: lists.1,
        add_outputs: lists.2,
        status: of.0,
        owner: of.1,
        expected_revision: of.2,
        attempt: of.3,
        stop_running: of.4,
        agent_type: plan.0,
        deadline: plan.1,
        timeout: plan.2,
        blocker_failed_policy: plan.3,
        failure_policy: plan.4,
        retry: plan.5,
        priority: plan.6,
        metadata: [("k".into(), None), ("é".into(), Some("1".into()))].into(),
        kind: Some(TaskKind::Work),
    })
}

pub fn new_member() -> impl Strategy<Value = NewMember> {
    let kind = select(vec![
        MemberKind::Lead,
        MemberKind::Agent,
        MemberKind::Hosted,
        MemberKind::Worker,
    ]);
    let all = (who(), kind, text(), option::of(some_type()), any::<bool>());
    all.prop_map(|(name, kind, text, agent_type, plan_required)| NewMember {
        name,
        kind,
        role: text.clone(),
        description: text.clone(),
        instructions: text.clone(),
        agent_type,
        model: text,
        plan_required,
    })
}

pub fn letter() -> impl Strategy<Value = NewLetter> {
    let to = prop_oneof![
        Just(Addressees::Everybody),
        vec(who(), 0..3).prop_map(Addressees::Named),
    ];
    let kind = select(vec![
        MailKind::Text,
        MailKind::Question,
        MailKind::Answer,
        MailKind::ShutdownRequest,
        MailKind::ShutdownResponse,
        MailKind::PlanApprovalRequest,
        MailKind::PlanApprovalResponse,
        MailKind::Digest,
    ]);
    let texts = (text(), text(), text(), text());
    let rest = (
        option::of(any::<bool>()),
        option::of(id()),
        option::of(span()),
    );
    (to, kind, texts, rest).prop_map(|(to, kind, texts, rest)| NewLetter {
        to,
        kind,
        text: texts.0,
        summary: texts.1,
        payload: texts.2,
        correlation: texts.3,
        approve: rest.0,
        task: rest.1,
        timeout: rest.2,
    })
}

pub fn sweep() -> impl Strategy<Value = Sweep> {
    let what = select(vec![SweepWhat::Cancel, SweepWhat::Pause, SweepWhat::Resume]);
    let filter = (
        option::of(id()),
        option::of(text()),
        option::of(some_type()),
        option::of(who()),
    );
    let rest = (ids(), id(), text());
    (what, filter, rest).prop_map(
        |(what, (parent, label, agent_type, owner), (tasks, after, reason))| Sweep {
            what,
            reason,
            parent,
            label,
            agent_type,
            owner,
            tasks,
            after,
        },
    )
}
