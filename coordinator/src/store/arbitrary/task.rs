//! Tasks.

use std::time::Duration;

use board::{
    id::{Digest, Revision},
    task::{
        AfterStop, Artifact, Asked, AttemptEnding, BlockerFailedPolicy, Claim, End, EndStatus,
        EndedAttempt, FailurePolicy, Hirer, Paused, Placement, Priority, Retry, Runner, Stop,
        StopReason, Task, TaskKind, TaskState, Terms, Usage, Waiting, Word, WordKind,
    },
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

use super::{
    actor, agent_type, attempt_number, instance, member_name, message_id, short, task_id, text,
    time, worker_name,
};

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 5]>().prop_map(
        |[wall_ms, cpu_ms, output_bytes, input_tokens, output_tokens]| Usage {
            input_tokens,
            output_tokens,
            wall_ms,
            cpu_ms,
            output_bytes,
        },
    )
}

fn stop_reason() -> impl Strategy<Value = StopReason> {
    use StopReason::{
        BlockerFailed, Cancelled, CrashLimit, Deadline, ResourceLimit, Timeout as TimeoutReason,
    };
    select(vec![
        Deadline,
        TimeoutReason,
        Cancelled,
        BlockerFailed,
        CrashLimit,
        ResourceLimit,
    ])
}

fn artifact() -> impl Strategy<Value = Artifact> {
    (any::<[u8; 32]>(), short(), any::<u64>()).prop_map(|(digest, path, size)| Artifact {
        digest: Digest(digest),
        path,
        size,
    })
}

fn ended_attempt() -> impl Strategy<Value = EndedAttempt> {
    use AttemptEnding::{Cancelled, Completed, Failed, HandedBack, Lost, TimedOut};
    let runner = prop_oneof![
        actor().prop_map(Runner::Claimant),
        (worker_name(), instance()).prop_map(|(name, instance)| Runner::Worker(name, instance)),
    ];
    let ending = select(vec![
        Completed, Failed, Cancelled, TimedOut, Lost, HandedBack,
    ]);
    let times = (time(), option::of(time()), time());
    (attempt_number(), runner, times, ending, short(), usage()).prop_map(
        |(number, runner, (dispatched_at, started_at, ended_at), ending, message, usage)| {
            EndedAttempt {
                number,
                runner,
                dispatched_at,
                started_at,
                ended_at,
                ending,
                message,
                usage,
            }
        },
    )
}

fn stop() -> impl Strategy<Value = Stop> {
    let then = prop_oneof![
        Just(AfterStop::Cancel),
        Just(AfterStop::Requeue),
        stop_reason().prop_map(AfterStop::Fail),
    ];
    (time(), actor(), short(), then).prop_map(|(at, by, reason, then)| Stop {
        at,
        by,
        reason,
        then,
    })
}

/// A question that waits, how many were asked, words that wait, and how many were given.
type Talk = (Option<Asked>, u32, Vec<Word>, u32);

fn talk() -> impl Strategy<Value = Talk> {
    let asked = (
        any::<u32>(),
        text(),
        (time(), time()),
        message_id(),
        short(),
    )
        .prop_map(
            |(number, text, (at, deadline), message, correlation)| Asked {
                number,
                text,
                at,
                deadline,
                message,
                correlation,
            },
        );
    let kind = prop_oneof![
        any::<u32>().prop_map(WordKind::Answer),
        any::<u32>().prop_map(WordKind::NoAnswer),
        Just(WordKind::Steer),
    ];
    let word = (any::<u32>(), kind, text(), actor()).prop_map(|(number, kind, text, by)| Word {
        number,
        kind,
        text,
        by,
    });
    (
        option::of(asked),
        any::<u32>(),
        vec(word, 0..3),
        any::<u32>(),
    )
}

fn state() -> impl Strategy<Value = TaskState> {
    let paused = (time(), actor(), short());
    let paused = paused.prop_map(|(at, by, reason)| Paused { at, by, reason });
    let waiting = (
        time(),
        option::of(time()),
        any::<u32>(),
        short(),
        option::of(paused),
    )
        .prop_map(|(since, not_before, refusals, reason, paused)| Waiting {
            since,
            not_before,
            refusals,
            reason,
            paused: paused.map(Box::new),
        });
    let lease = option::of(any::<Duration>());
    let claim = (attempt_number(), actor(), time(), lease, time()).prop_map(
        |(attempt, by, since, lease, renewed_at)| Claim {
            attempt,
            by,
            since,
            lease,
            renewed_at,
        },
    );
    let placement = (
        attempt_number(),
        worker_name(),
        instance(),
        (option::of(member_name()), message_id()),
        time(),
        option::of(time()),
        option::of(any::<Duration>()),
        (option::of(stop()), talk(), any::<u32>()),
    )
        .prop_map(
            |(attempt, worker, instance, who, dispatched_at, started_at, run_limit, rest)| {
                let (member, mail) = who;
                let (stop, (question, questions, words, last_word), tasks_made) = rest;
                Placement {
                    tasks_made,
                    question,
                    questions,
                    words,
                    last_word,
                    attempt,
                    worker,
                    instance,
                    member,
                    mail,
                    dispatched_at,
                    started_at,
                    run_limit,
                    stop,
                }
            },
        );
    prop_oneof![
        waiting.prop_map(TaskState::Pending),
        claim.prop_map(TaskState::Claimed),
        placement.prop_map(|placement| TaskState::Placed(Box::new(placement))),
        end().prop_map(TaskState::Ended),
    ]
}

fn end() -> impl Strategy<Value = End> {
    use EndStatus::{Cancelled, Completed, Failed};
    let ways = select(vec![Completed, Failed, Cancelled]);
    let rest = (time(), actor(), option::of(stop_reason()), any::<bool>());
    (ways, rest).prop_map(|(status, (at, by, stop_reason, cascade_due))| End {
        status,
        at,
        by,
        stop_reason,
        cascade_due,
    })
}

fn retry() -> impl Strategy<Value = Retry> {
    any::<(u32, Duration, Duration)>().prop_map(|(max_attempts, initial_backoff, max_backoff)| {
        Retry {
            max_attempts,
            initial_backoff,
            max_backoff,
        }
    })
}

/// A task in any state, with anything in its fields.
fn terms() -> impl Strategy<Value = Terms> {
    let hirer = (task_id(), attempt_number()).prop_map(|(task, attempt)| Hirer { task, attempt });
    let all = (
        btree_map(short(), short(), 0..2),
        any::<u32>(),
        any::<bool>(),
        option::of(task_id()),
        option::of(hirer),
    );
    all.prop_map(
        |(worker_labels, window, outlives_parent, joins, hired_by)| Terms {
            worker_labels,
            window,
            outlives_parent,
            joins,
            hired_by,
        },
    )
}

pub(in crate::store) fn task() -> impl Strategy<Value = Task> {
    use BlockerFailedPolicy::{Cancel, Proceed, Wait};
    let texts = [
        text().boxed(),
        text().boxed(),
        text().boxed(),
        text().boxed(),
    ];
    let shorts = [short().boxed(), short().boxed(), short().boxed()];
    let whose = (
        option::of(member_name()),
        actor(),
        option::of(agent_type()),
        option::of(task_id()),
        vec(task_id(), 0..5),
    );
    let kinds = (
        select(vec![
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::Critical,
        ]),
        select(vec![TaskKind::Work, TaskKind::Verification]),
        select(vec![Wait, Cancel, Proceed]),
        any::<[u32; 2]>(),
    );
    let trying = (
        option::of(retry()),
        any::<u32>(),
        select(vec![
            FailurePolicy::Fail,
            FailurePolicy::Pause,
            FailurePolicy::Release,
        ]),
        any::<bool>(),
    );
    let rows = (
        btree_map(short(), short(), 0..3),
        vec(short(), 0..3),
        vec(artifact(), 0..2),
        vec(short(), 0..3),
        vec(artifact(), 0..2),
        vec(ended_attempt(), 0..3),
    );
    let times = (
        time(),
        option::of(time()),
        option::of(time()),
        option::of(any::<Duration>()),
    );
    let rest = (usage(), state(), attempt_number(), any::<u64>(), terms());
    let all = (
        task_id(),
        texts,
        shorts,
        whose,
        kinds,
        trying,
        rows,
        times,
        rest,
    );
    all.prop_map(
        |(id, texts, shorts, whose, kinds, trying, rows, times, rest)| {
            let [description, prompt, result, error] = texts;
            let [subject, active_form, client_task_id] = shorts;
            let (owner, created_by, agent_type, parent, blocked_by) = whose;
            let (priority, kind, blocker_failed_policy, [crash_limit, crashes]) = kinds;
            let (retry, failures, failure_policy, share_todos) = trying;
            let (metadata, labels, inputs, output_globs, outputs, attempts) = rows;
            let (created_at, started_at, deadline, timeout) = times;
            let (usage, state, last_attempt, revision, terms) = rest;
            let terms = (terms != Terms::USUAL).then(|| Box::new(terms));
            Task {
                terms,
                id,
                subject,
                description,
                active_form,
                prompt,
                owner,
                blocked_by,
                metadata,
                priority,
                labels,
                agent_type,
                parent,
                kind,
                deadline,
                timeout,
                crash_limit,
                crashes,
                retry: retry.map(Box::new),
                failures,
                failure_policy,
                blocker_failed_policy,
                share_todos,
                inputs,
                output_globs,
                outputs,
                result,
                error,
                usage,
                created_at,
                created_by,
                started_at,
                state,
                last_attempt,
                attempts,
                revision: Revision(revision),
                client_task_id,
            }
        },
    )
}
