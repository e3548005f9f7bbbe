//! Bytes as version 1 wrote them, and what is read of them.

use std::{sync::Arc, time::Duration};

use board::{
    event::{Actor, Event, Fields, Happening},
    id::{
        AgentTypeName, AttemptNumber, Digest, Incarnation, InstanceId, MemberName, MessageId,
        Revision, TaskId, TeamName, TeamUid, WorkerName,
    },
    record::{CameTo, Outcome, Request, RequestKey},
    task::{
        AfterStop, Artifact, AttemptEnding, BlockerFailedPolicy, Claim, EndedAttempt,
        FailurePolicy, Placement, Priority, Runner, Status, Stop, StopReason, Task, TaskKind,
        TaskState, Usage, Waiting,
    },
    team::{Member, MemberKind, Plan, Team},
    time::Time,
};

use super::{
    Names, decode_events, decode_member, decode_offered, decode_outcomes, decode_task, decode_team,
};

const TEAM: &str = "\
    010a04637265771201641a046c6561642005280930023801";
const MEMBER: &str = "\
    010a03626f62100218032201722a01643201693a057368656c6c42016d48055006";
const PENDING: &str = "\
    010a01731201641a01702a01013208080112046c65616438054009480350085803620a08051006180222\
    026e6f8a0101729201060801100218039a010165a20103626f62aa01060a016b120131b00102ba01016c\
    c00101c80101d00163da01020803e00101e80101fa01012a8202270a2007070707070707070707070707\
    0707070707070707070707070707070707070712016f18048a02016192020163";
const CLAIMED: &str = "\
    010a01731201641a01702a01013208080112046c656164380540094803500858036a0908031203626f62\
    180882011208011203657665200628063007380642016d82011608021201771a09094000000000000000\
    2006300738058a0101729201060801100218039a010165a20103626f62aa01060a016b120131b00102ba\
    01016cc00101c80101d00163da01020803e00101e80101fa01012a8202270a2007070707070707070707\
    0707070707070707070707070707070707070707070712016f18048a02016192020163";
const PLACED: &str = "\
    010a01731201641a01702a01013208080112046c65616438054009480350085803723508011201771a09\
    11090000000000000020062807320808011080cab5ee013a100808120508021201771a01782003280142\
    03626f628a0101729201060801100218039a010165a20103626f62aa01060a016b120131b00102ba0101\
    6cc00101c80101d00163da01020803e00101e80101fa01012a8202270a20070707070707070707070707\
    070707070707070707070707070707070707070712016f18048a02016192020163";
const EVENTS: &str = "\
    0108051208080112046c656164120208031a0248011a0910013203626f6248021a073203626f6248031a\
    0b10011801200232017348041a062002380148051a0d1001200228013203626f6248061a092002280132\
    017748071a0810012002280148081a092002280132017248091a0b100120022801320172480a1a042002\
    480b1a0f10012002280132016d42020203480c";
const OUTCOMES: &str = "\
    010805121c0a09110100000000000000120911050000000000000018022007280112200a091102000000\
    0000000012091105000000000000001802200728023002380212240a0911030000000000000012091105\
    00000000000000180220072803300240024a020103121e0a091104000000000000001209110500000000\
    0000001802200728043002";

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn bob() -> MemberName {
    MemberName::parse("bob").unwrap()
}

fn lead() -> MemberName {
    MemberName::parse("lead").unwrap()
}

fn worker() -> WorkerName {
    WorkerName::parse("w").unwrap()
}

#[test]
fn a_team_nudges_from_three_on_and_is_open() {
    let expected = Team {
        weight: 1,
        max_running: 0,
        uid: TeamUid(7),
        name: TeamName::parse("crew").unwrap(),
        description: "d".into(),
        lead: lead(),
        created_at: Time(5),
        revision: Revision(9),
        last_task: TaskId(2),
        expired_through: TaskId(0),
        last_message: MessageId(0),
        closed_since_verification: 1,
        verification_threshold: 3,
        idle_notices: false,
        dissolved: None,
    };

    assert_eq!(decode_team(TeamUid(7), &bytes(TEAM)).unwrap(), expected);
}

#[test]
fn a_member_needs_no_plan_and_was_asked_nothing() {
    let expected = Member {
        name: bob(),
        incarnation: Incarnation(2),
        kind: MemberKind::Hosted,
        role: "r".into(),
        description: "d".into(),
        instructions: "i".into(),
        agent_type: AgentTypeName::parse("shell").ok(),
        model: "m".into(),
        joined_at: Time(5),
        left_at: Some(Time(6)),
        plan: Plan::NotRequired,
        shutdown: None,
        questions: Vec::new(),
        handed: MessageId(0),
    };

    let member = decode_member(&bytes(MEMBER), &mut Names::default());

    assert_eq!(member.unwrap(), expected);
}

fn task(state: TaskState, attempts: Vec<EndedAttempt>) -> Task {
    Task {
        terms: None,
        id: TaskId(2),
        subject: "s".into(),
        description: "d".into(),
        active_form: "a".into(),
        prompt: "p".into(),
        owner: Some(bob()),
        blocked_by: vec![TaskId(1)],
        metadata: [(Arc::<str>::from("k"), Arc::<str>::from("1"))].into(),
        priority: Priority::High,
        labels: vec!["l".into()],
        agent_type: None,
        parent: Some(TaskId(1)),
        kind: TaskKind::Verification,
        deadline: Some(Time(99)),
        timeout: Some(Duration::from_secs(3)),
        crash_limit: 3,
        crashes: 1,
        retry: None,
        failures: 0,
        failure_policy: FailurePolicy::Fail,
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        share_todos: false,
        inputs: Vec::new(),
        output_globs: vec!["*".into()],
        outputs: vec![Artifact {
            digest: Digest([7; 32]),
            path: "o".into(),
            size: 4,
        }],
        result: "r".into(),
        error: "e".into(),
        usage: Usage {
            input_tokens: 0,
            output_tokens: 0,
            wall_ms: 1,
            cpu_ms: 2,
            output_bytes: 3,
        },
        created_at: Time(5),
        created_by: Actor::Member(lead()),
        started_at: Some(Time(8)),
        state,
        last_attempt: AttemptNumber(3),
        attempts,
        revision: Revision(9),
        client_task_id: "c".into(),
    }
}

fn decoded(hex: &str) -> Task {
    decode_task(TaskId(2), &bytes(hex), &mut Names::default()).unwrap()
}

#[test]
fn a_waiting_task_is_not_held() {
    let waiting = Waiting {
        since: Time(5),
        not_before: Some(Time(6)),
        refusals: 2,
        reason: "no".into(),
        paused: None,
    };

    let expected = task(TaskState::Pending(waiting), Vec::new());
    assert_eq!(decoded(PENDING), expected);
}

#[test]
fn a_claim_is_by_a_member_and_no_lease() {
    let claim = Claim {
        attempt: AttemptNumber(3),
        by: Actor::Member(bob()),
        since: Time(8),
        lease: None,
        renewed_at: Time(8),
    };
    let given_back = EndedAttempt {
        number: AttemptNumber(1),
        runner: Runner::Claimant(Actor::Member(MemberName::parse("eve").unwrap())),
        dispatched_at: Time(6),
        started_at: Some(Time(6)),
        ended_at: Time(7),
        ending: AttemptEnding::HandedBack,
        message: "m".into(),
        usage: Usage::default(),
    };
    let lost = EndedAttempt {
        number: AttemptNumber(2),
        runner: Runner::Worker(worker(), InstanceId(1 << 70)),
        started_at: None,
        ending: AttemptEnding::Lost,
        message: "".into(),
        ..given_back.clone()
    };

    let expected = task(TaskState::Claimed(claim), vec![given_back, lost]);
    assert_eq!(decoded(CLAIMED), expected);
}

#[test]
fn a_placed_task_is_read_as_it_was() {
    let placement = Placement {
        question: None,
        questions: 0,
        words: Vec::new(),
        last_word: 0,
        tasks_made: 0,
        attempt: AttemptNumber(1),
        worker: worker(),
        instance: InstanceId(9),
        member: Some(bob()),
        mail: MessageId(0),
        dispatched_at: Time(6),
        started_at: Some(Time(7)),
        run_limit: Some(Duration::from_millis(1_500)),
        stop: Some(Stop {
            at: Time(8),
            by: Actor::Worker(worker()),
            reason: "x".into(),
            then: AfterStop::Fail(StopReason::Deadline),
        }),
    };

    let expected = task(TaskState::Placed(Box::new(placement)), Vec::new());
    assert_eq!(decoded(PLACED), expected);
}

#[test]
fn events_have_no_cause_but_a_task_and_no_chain() {
    let (task, attempt) = (TaskId(2), AttemptNumber(1));
    let reason: Arc<str> = "r".into();
    let happenings = [
        Happening::TeamCreated,
        Happening::MemberJoined { member: bob() },
        Happening::MemberLeft {
            member: bob(),
            reason: "".into(),
        },
        Happening::TaskCreated {
            task,
            subject: "s".into(),
        },
        Happening::TaskUpdated {
            task,
            fields: Fields::STATUS,
        },
        Happening::TaskClaimed {
            task,
            by: Actor::Member(bob()),
            attempt,
        },
        Happening::TaskDispatched {
            task,
            attempt,
            worker: worker(),
        },
        Happening::TaskStarted { task, attempt },
        Happening::TaskStopRequested {
            task,
            attempt,
            reason: reason.clone(),
        },
        Happening::TaskRequeued {
            task,
            attempt,
            reason,
        },
        Happening::TaskUnblocked { task },
        Happening::TaskEnded {
            task,
            attempt: Some(attempt),
            from: Status::InProgress,
            to: Status::Completed,
            message: "m".into(),
        },
    ];
    let event = |(revision, what): (u64, Happening)| Event {
        team: TeamUid(7),
        revision: Revision(revision),
        at: Time(5),
        actor: if revision % 2 == 0 {
            Actor::Coordinator
        } else {
            Actor::Member(lead())
        },
        on_behalf_of: None,
        cause: (revision == 4).then_some(TaskId(1)),
        cause_message: None,
        previous: Revision(0),
        what,
    };
    let expected: Vec<Event> = (1..).zip(happenings).map(event).collect();

    let names = &mut Names::default();
    let events = decode_events(TeamUid(7), Revision(1), &bytes(EVENTS), names);

    assert_eq!(events.unwrap(), expected);
}

#[test]
fn outcomes_are_read_as_they_were() {
    let task = TaskId(2);
    let came_to = [
        CameTo::Team,
        CameTo::Tasks {
            first: task,
            count: 2,
        },
        CameTo::Updated {
            task,
            fields: Fields::OWNER,
            status: Some((Status::Pending, Status::Completed)),
        },
        CameTo::Task { task },
    ];
    let outcome = |(key, came_to)| Outcome {
        request: Request {
            key: RequestKey(key),
            body: 5,
        },
        at: Time(6),
        team: TeamUid(7),
        came_to,
    };
    let expected: Vec<Outcome> = (1..).zip(came_to).map(outcome).collect();

    let page = decode_outcomes(&bytes(OUTCOMES)).unwrap();

    assert_eq!((page.at, page.outcomes), (Time(5), expected));
}

#[test]
fn an_offered_type_allows_a_thousand_tasks_and_no_team() {
    let read = decode_offered(&bytes("010a016c"), &mut Names::default()).unwrap();

    let may = (read.tasks_max, read.may_create_teams);
    assert_eq!((read.name.as_str(), may), ("l", (1_000, false)));
}

#[test]
fn prompt_of_a_program_that_was_offered_before_is_a_script() {
    let is_script = |hex: &str| {
        let read = decode_offered(&bytes(hex), &mut Names::default());
        read.unwrap().prompt_is_script
    };

    assert!(is_script("010a016c1a07636f6d6d616e64"));
    assert!(!is_script("010a016c1a036c6c6d"));
}
