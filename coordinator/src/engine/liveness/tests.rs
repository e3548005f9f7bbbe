use std::sync::Arc;

use board::{
    id::{Incarnation, MemberName, MessageId},
    team::Question,
};

use super::{Liveness::*, *};

const NOW: Time = Time(10_000_000);

fn ago(secs: u64) -> Time {
    NOW - Duration::from_secs(secs)
}

fn member(kind: MemberKind) -> Member {
    Member {
        name: MemberName::parse("m").unwrap(),
        incarnation: Incarnation(1),
        kind,
        role: Arc::default(),
        description: Arc::default(),
        instructions: Arc::default(),
        agent_type: None,
        model: Arc::default(),
        joined_at: ago(9_000),
        left_at: None,
        plan: Plan::NotRequired,
        shutdown: None,
        questions: Vec::new(),
        handed: MessageId(0),
    }
}

fn known(member: &Member) -> Known<'_> {
    Known {
        member,
        is_team_open: true,
        called_at: None,
        holds: Vec::new(),
        runs: Vec::new(),
        contact: None,
    }
}

const REACHED: Contact = Contact {
    is_reached: true,
    heard_at: Some(Time(NOW.0 - 1_000)),
    connected_at: Some(Time(NOW.0 - 4_000_000)),
    lease_until: Some(Time(NOW.0 + 14_000)),
};

const SILENT: Contact = Contact {
    is_reached: false,
    heard_at: Some(Time(NOW.0 - 12_000)),
    connected_at: Some(Time(NOW.0 - 4_000_000)),
    lease_until: Some(Time(NOW.0 + 3_000)),
};

const AWAITED: Contact = Contact {
    is_reached: false,
    heard_at: None,
    connected_at: None,
    lease_until: Some(Time(NOW.0 + 40_000)),
};

fn run(task: u64, contact: Contact, progress: Option<u64>) -> Run {
    Run {
        task: TaskId(task),
        worker: WorkerName::parse("w1").unwrap(),
        contact: Some(contact),
        started_at: Some(ago(3_000)),
        is_stopping: false,
        is_asking: false,
        progress_at: progress.map(ago),
        stall_span: STALL_SPAN,
    }
}

#[track_caller]
fn is(known: &Known<'_>, liveness: Liveness, reason: &str) {
    let living = judge(known, NOW);
    assert_eq!((living.liveness, &*living.reason), (liveness, reason));
}

#[test]
fn an_outside_agent_works_when_it_holds_a_task_and_is_gone_only_when_it_left() {
    for kind in [MemberKind::Lead, MemberKind::Agent] {
        let present = member(kind);
        let left = Member {
            left_at: Some(ago(5)),
            ..member(kind)
        };
        let long_silent = Known {
            called_at: Some(ago(1_000_000)),
            ..known(&present)
        };
        let holding = Known {
            holds: vec![TaskId(3), TaskId(4)],
            ..known(&present)
        };

        is(&known(&present), Idle, "");
        is(&long_silent, Idle, "");
        is(&holding, Working, "holds #3, #4");
        is(&known(&left), Gone, "it left");
    }
}

#[test]
fn who_asked_waits_also_while_it_holds_a_task() {
    let request = MessageId(7);
    let planning = Member {
        plan: Plan::Submitted {
            request,
            correlation: "c".into(),
            deadline: NOW,
        },
        ..member(MemberKind::Agent)
    };
    let asking = Member {
        questions: vec![Question {
            message: request,
            correlation: "c".into(),
            asked: Arc::default(),
            at: ago(400),
        }],
        ..member(MemberKind::Hosted)
    };
    let quiet = Known {
        runs: vec![run(1, REACHED, Some(400))],
        ..known(&asking)
    };

    let planning = Known {
        holds: vec![TaskId(1)],
        ..known(&planning)
    };
    let why = "waits for the lead to approve its plan, message 7";
    is(&planning, WaitingForApproval, why);
    is(
        &quiet,
        WaitingForAnswer,
        "waits for the answer to message 7",
    );
}

#[test]
fn a_hosted_member_is_as_its_attempt_is() {
    let hosted = member(MemberKind::Hosted);
    let with = |run: Run| Known {
        runs: vec![run],
        ..known(&hosted)
    };
    let preparing = Run {
        started_at: None,
        ..run(1, REACHED, None)
    };
    let stopping = Run {
        is_stopping: true,
        ..run(1, REACHED, Some(3_000))
    };

    is(&known(&hosted), Idle, "");
    is(&with(preparing), Working, "prepares #1");
    is(&with(run(1, REACHED, Some(299))), Working, "runs #1");
    is(
        &with(run(1, REACHED, Some(300))),
        Stalled,
        "no progress of #1 for 300 s",
    );
    is(&with(stopping), Working, "is being stopped at #1");
    is(
        &with(run(1, SILENT, Some(400))),
        Unreachable,
        "worker w1 was last heard of 12 s ago; its lease is over in 3 s",
    );
    is(
        &with(run(1, AWAITED, None)),
        Unreachable,
        "worker w1 was not heard of since the coordinator started; its lease is over in 40 s",
    );
}

#[test]
fn an_attempt_without_any_progress_stalls_some_time_after_its_start_or_its_stream() {
    let hosted = member(MemberKind::Hosted);
    let since = |started: u64, connected: u64| Known {
        runs: vec![Run {
            started_at: Some(ago(started)),
            ..run(
                1,
                Contact {
                    connected_at: Some(ago(connected)),
                    ..REACHED
                },
                None,
            )
        }],
        ..known(&hosted)
    };

    is(&since(299, 900), Working, "runs #1");
    is(&since(900, 299), Working, "runs #1");
    is(&since(301, 900), Stalled, "no progress of #1 for 301 s");
}

#[test]
fn a_hosted_member_whose_sub_agent_asks_waits_and_is_not_stalled() {
    let hosted = member(MemberKind::Hosted);
    let asking = |contact| Known {
        runs: vec![Run {
            is_asking: true,
            ..run(3, contact, Some(900))
        }],
        ..known(&hosted)
    };

    let why = "has asked at #3, and waits for the answer";
    is(&asking(REACHED), WaitingForAnswer, why);
    let living = judge(&asking(SILENT), NOW);
    assert_eq!(living.liveness, Unreachable);
    // A worker that runs it may be at work at others.
    let worker = member(MemberKind::Worker);
    let runs = Known {
        contact: Some(REACHED),
        runs: asking(REACHED).runs,
        ..known(&worker)
    };
    is(&runs, Working, "runs #3");
}

#[test]
fn a_worker_is_stalled_when_none_of_its_attempts_gets_on() {
    let worker = member(MemberKind::Worker);
    let with = |contact: Option<Contact>, runs: Vec<Run>| Known {
        contact,
        runs,
        ..known(&worker)
    };
    let runs = |spans: &[u64]| {
        let runs = spans.iter().zip(1..);
        runs.map(|(span, task)| run(task, REACHED, Some(*span)))
            .collect()
    };

    is(&with(None, vec![]), Gone, "its process is not connected");
    is(&with(Some(REACHED), vec![]), Idle, "");
    is(
        &with(Some(SILENT), vec![]),
        Unreachable,
        "its process was last heard of 12 s ago; its lease is over in 3 s",
    );
    let one_gets_on = with(Some(REACHED), runs(&[400, 1]));
    is(&one_gets_on, Working, "runs #1, #2");
    let none_does = with(Some(REACHED), runs(&[400, 301]));
    is(&none_does, Stalled, "no progress of #1, #2 for 301 s");
    let many = with(Some(REACHED), runs(&[1; 7]));
    is(&many, Working, "runs #1, #2, #3, #4, #5 and 2 more");
}

#[test]
fn everybody_of_a_dissolved_team_is_gone() {
    for kind in [MemberKind::Lead, MemberKind::Hosted, MemberKind::Worker] {
        let member = member(kind);
        let over = Known {
            is_team_open: false,
            runs: vec![run(1, REACHED, None)],
            ..known(&member)
        };

        is(&over, Gone, "the team was dissolved");
    }
}

#[test]
fn when_a_member_was_seen_and_got_on_is_told_beside() {
    let hosted = member(MemberKind::Hosted);
    let running = Known {
        called_at: Some(ago(60)),
        runs: vec![run(1, REACHED, Some(30)), run(2, REACHED, None)],
        ..known(&hosted)
    };
    let agent = member(MemberKind::Agent);
    let calling = Known {
        called_at: Some(ago(60)),
        ..known(&agent)
    };

    let living = judge(&running, NOW);
    assert_eq!(living.seen_at, Some(ago(1)));
    assert_eq!(living.progress_at, Some(ago(30)));
    let living = judge(&calling, NOW);
    assert_eq!((living.seen_at, living.progress_at), (Some(ago(60)), None));
}
