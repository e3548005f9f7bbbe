//! Records, events and outcomes as they may come, made by chance.
//!
//! Ids and names come from small ranges, so that later ones replace earlier ones.

use std::{sync::Arc, time::Duration};

use board::{
    event::{Actor, Event, Fields, Happening},
    id::{
        AgentTypeName, AttemptNumber, Digest, Epoch, Incarnation, InstanceId, MemberName, Revision,
        TaskId, TeamName, TeamUid, WorkerName,
    },
    record::{CameTo, Meta, OfferedType, Outcome, Record, Request, RequestKey},
    task::{
        AfterStop, Artifact, AttemptEnding, BlockerFailedPolicy, Claim, End, EndStatus,
        EndedAttempt, Placement, Priority, Runner, Status, Stop, StopReason, Task, TaskKind,
        TaskState, Usage, Waiting,
    },
    team::{Member, MemberKind, Team},
    time::Time,
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};

pub(super) const TEAMS: u64 = 3;
pub(super) const TASKS: u64 = 6;
pub(super) const KEYS: u128 = 12;

/// A key as a hash is: told apart by any of its parts.
pub(super) fn request_key(number: u128) -> RequestKey {
    RequestKey(number << 64 | number)
}

/// Mostly short, sometimes too long for one record, now and then as long as a task may be.
fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        8 => "\\PC{0,12}",
        2 => (0..9_000_usize).prop_map(|len| "ä".repeat(len)),
        1 => Just("x".repeat(256 * 1_024)),
    ]
    .prop_map(Into::into)
}

fn short() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Into::into)
}

fn name<N: std::fmt::Debug>(parse: impl Fn(&str) -> N) -> impl Strategy<Value = N> {
    "[a-d]{1,2}".prop_map(move |text| parse(&text))
}

fn member_name() -> impl Strategy<Value = MemberName> {
    name(|text| MemberName::parse(text).unwrap())
}

fn worker_name() -> impl Strategy<Value = WorkerName> {
    name(|text| WorkerName::parse(text).unwrap())
}

fn agent_type() -> impl Strategy<Value = AgentTypeName> {
    name(|text| AgentTypeName::parse(text).unwrap())
}

fn time() -> impl Strategy<Value = Time> {
    any::<i64>().prop_map(Time)
}

fn task_id() -> impl Strategy<Value = TaskId> {
    (1..=TASKS).prop_map(TaskId)
}

fn team_uid() -> impl Strategy<Value = TeamUid> {
    (1..=TEAMS).prop_map(TeamUid)
}

fn attempt_number() -> impl Strategy<Value = AttemptNumber> {
    any::<u32>().prop_map(AttemptNumber)
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<u128>().prop_map(InstanceId)
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        member_name().prop_map(Actor::Member),
        worker_name().prop_map(Actor::Worker),
        Just(Actor::Coordinator),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 3]>().prop_map(|[wall_ms, cpu_ms, output_bytes]| Usage {
        wall_ms,
        cpu_ms,
        output_bytes,
    })
}

fn status() -> impl Strategy<Value = Status> {
    use Status::{Cancelled, Completed, Failed, InProgress, Pending};
    select(vec![Pending, InProgress, Completed, Failed, Cancelled])
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
        member_name().prop_map(Runner::Member),
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

fn state() -> impl Strategy<Value = TaskState> {
    let waiting = (time(), option::of(time()), any::<u32>(), short()).prop_map(
        |(since, not_before, refusals, reason)| Waiting {
            since,
            not_before,
            refusals,
            reason,
        },
    );
    let claim = (attempt_number(), member_name(), time()).prop_map(|(attempt, by, since)| Claim {
        attempt,
        by,
        since,
    });
    let placement = (
        attempt_number(),
        worker_name(),
        instance(),
        option::of(member_name()),
        time(),
        option::of(time()),
        option::of(any::<Duration>()),
        option::of(stop()),
    )
        .prop_map(
            |(attempt, worker, instance, member, dispatched_at, started_at, run_limit, stop)| {
                Placement {
                    attempt,
                    worker,
                    instance,
                    member,
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
        placement.prop_map(TaskState::Placed),
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

/// A task in any state, with anything in its fields.
pub(super) fn task() -> impl Strategy<Value = Task> {
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
    let rest = (usage(), state(), attempt_number(), any::<u64>());
    (task_id(), texts, shorts, whose, kinds, rows, times, rest).prop_map(
        |(id, texts, shorts, whose, kinds, rows, times, rest)| {
            let [description, prompt, result, error] = texts;
            let [subject, active_form, client_task_id] = shorts;
            let (owner, created_by, agent_type, parent, blocked_by) = whose;
            let (priority, kind, blocker_failed_policy, [crash_limit, crashes]) = kinds;
            let (metadata, labels, inputs, output_globs, outputs, attempts) = rows;
            let (created_at, started_at, deadline, timeout) = times;
            let (usage, state, last_attempt, revision) = rest;
            Task {
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
                blocker_failed_policy,
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

fn team() -> impl Strategy<Value = Team> {
    let numbers = (any::<[u64; 2]>(), any::<u32>());
    (
        team_uid(),
        "[a-d]{1,2}",
        text(),
        member_name(),
        time(),
        numbers,
    )
        .prop_map(
            |(uid, name, description, lead, created_at, ([revision, last_task], closed))| Team {
                uid,
                name: TeamName::parse(&name).unwrap(),
                description,
                lead,
                created_at,
                revision: Revision(revision),
                last_task: TaskId(last_task),
                closed_since_verification: closed,
            },
        )
}

fn member() -> impl Strategy<Value = Member> {
    use MemberKind::{Agent, Hosted, Lead, Worker};
    let who = (
        member_name(),
        any::<u32>(),
        select(vec![Lead, Agent, Hosted, Worker]),
    );
    let texts = (short(), short(), text(), short());
    let times = (time(), option::of(time()));
    (who, texts, option::of(agent_type()), times).prop_map(
        |((name, incarnation, kind), texts, agent_type, (joined_at, left_at))| {
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
            }
        },
    )
}

/// Any record that is written.
pub(super) fn record() -> impl Strategy<Value = Record> {
    let meta = (any::<u128>(), any::<u64>()).prop_map(|(epoch, last_team)| Meta {
        epoch: Epoch(epoch),
        last_team: TeamUid(last_team),
    });
    let offered = (
        agent_type(),
        [short(), short(), short()],
        option::of(time()),
    )
        .prop_map(
            |(name, [description, runtime, digest], last_seen)| OfferedType {
                name,
                description,
                runtime,
                digest,
                last_seen,
            },
        );
    prop_oneof![
        1 => meta.prop_map(Record::Meta),
        1 => offered.prop_map(Record::Offered),
        1 => team().prop_map(Record::Team),
        2 => (team_uid(), member()).prop_map(|(team, member)| Record::Member(team, member)),
        5 => (team_uid(), task()).prop_map(|(team, task)| Record::Task(team, Arc::new(task))),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let member = member_name;
    prop_oneof![
        Just(Happening::TeamCreated),
        member().prop_map(|member| Happening::MemberJoined { member }),
        member().prop_map(|member| Happening::MemberLeft { member }),
        (task_id(), short()).prop_map(|(task, subject)| Happening::TaskCreated { task, subject }),
        (task_id(), any::<u32>()).prop_map(|(task, fields)| Happening::TaskUpdated {
            task,
            fields: Fields(fields),
        }),
        (task_id(), member(), attempt_number())
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
pub(super) fn event() -> impl Strategy<Value = Event> {
    let rest = (actor(), option::of(task_id()), happening());
    (team_uid(), time(), rest).prop_map(|(team, at, (actor, cause, what))| Event {
        team,
        revision: Revision(0),
        at,
        actor,
        cause,
        what,
    })
}

/// Any outcome.
pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
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
