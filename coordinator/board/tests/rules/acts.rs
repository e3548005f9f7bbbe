//! Random doings: mostly sensible, sometimes nonsense. Everything is picked by small numbers, which
//! are taken modulo what there is, so that a failing run shrinks well.

use board::task::{AttemptEnding, BlockerFailedPolicy, FailurePolicy, Priority, Status};
use proptest::prelude::*;

/// One doing.
#[derive(Debug, Clone)]
pub enum Act {
    Create(u8, bool, Vec<NewSpec>),
    Update(u8, u8, Change),
    Do(u8, u8, Doing),
    Place(Vec<(u8, u8, u8)>, u8),
    Dispatch(u8, u8),
    Report(u8, Skew, Report),
    Lost(u8, Skew),
    NeverArrived(u8, Skew),
    Join(u8),
    Roster(u8, bool, Roster),
    Mail(u8, Mail),
    Outline(u8),
    Hear(u8),
    Wait(u32),
    Spare(Vec<u8>),
    /// What a team is worth, and how much it may run.
    Share(bool, u8, u8),
    /// How many finished tasks are kept, and for how many milliseconds.
    Keep(u8, u32),
}

/// What is done to one task, or to whichever is the best. An attempt that is named is off by so
/// much.
#[derive(Debug, Clone, Copy)]
pub enum Doing {
    Claim(Option<u8>),
    ClaimNext(Option<u8>, Option<Priority>),
    Renew(Option<u8>),
    Release(Option<u8>),
    Reopen,
    Delete,
    Pause,
    Resume,
    Cancel,
}

/// What is done to a roster, or to the team as a whole.
#[derive(Debug, Clone, Copy)]
pub enum Roster {
    Add(u8, bool),
    Remove(u8, bool),
    HandOver(u8),
    LeaveWorker(u8),
    Dissolve(bool),
    MakeAgain,
}

/// What is done with words: to whom they go, or which are done with.
#[derive(Debug, Clone)]
pub enum Mail {
    Tell(Vec<u8>),
    TellAll,
    AckTo(u8),
    Ack(Vec<u8>),
    /// The answer to the question that a task's sub-agent asks, or of another number.
    Answer(u8, bool),
    Steer(u8),
}

#[derive(Debug, Clone)]
pub struct NewSpec {
    pub owner: Option<u8>,
    pub agent_type: Option<u8>,
    pub blocked_by: Vec<u8>,
    pub items: Vec<u8>,
    pub blocks: Vec<u8>,
    pub policy: BlockerFailedPolicy,
    pub priority: Priority,
    pub deadline: Option<u32>,
    pub timeout: Option<u8>,
    pub crash_limit: Option<u8>,
    pub is_verification: bool,
    pub label: Option<u8>,
    pub parent: Option<u8>,
    pub share_todos: bool,
    pub retry: Option<u8>,
    pub failure_policy: FailurePolicy,
    pub zone: Option<u8>,
    pub window: u8,
}

#[derive(Debug, Clone)]
pub struct Change {
    pub status: Option<Status>,
    pub owner: Option<Option<u8>>,
    pub subject: Option<u8>,
    pub priority: Option<Priority>,
    pub edges: [Vec<u8>; 4],
    pub stop_running: bool,
    pub label: Option<u8>,
    pub unlabel: Option<u8>,
    pub agent_type: Option<Option<u8>>,
    pub policy: Option<BlockerFailedPolicy>,
    pub failure_policy: Option<FailurePolicy>,
    pub retry: Option<u8>,
    pub deadline: Option<Option<u32>>,
    pub window: Option<u8>,
}

#[derive(Debug, Clone)]
pub enum Report {
    Started(Option<u8>),
    Ended(AttemptEnding),
    Refused,
    /// A question: the last one again, the next, or the one after; and how long it waits.
    Asked(u8, Option<u8>),
    /// All words but so many.
    Heeded(u8),
}

/// What is wrong with a report's fence, where anything is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skew {
    None,
    Epoch,
    Task,
    Attempt,
    Instance,
}

fn few(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn policy() -> impl Strategy<Value = BlockerFailedPolicy> {
    prop::sample::select(vec![
        BlockerFailedPolicy::Wait,
        BlockerFailedPolicy::Cancel,
        BlockerFailedPolicy::Proceed,
    ])
}

fn priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ])
}

fn rarely<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.2, value)
}

/// A task to be: how likely it has an owner, and a type.
fn new_spec(owned: f64, typed: f64) -> impl Strategy<Value = NewSpec> {
    let runs = (
        prop::option::weighted(owned, any::<u8>()),
        prop::option::weighted(typed, prop_oneof![15 => 0..2_u8, 1 => 0..4_u8]),
        prop_oneof![4 => Just(vec![]), 4 => few(3)],
        few(1),
        prop_oneof![6 => Just(vec![]), 1 => few(2)],
    );
    let bounds = (
        policy(),
        priority(),
        rarely(0..200_000_u32),
        rarely(0..100_u8),
        rarely(0..3_u8),
        prop::bool::weighted(0.1),
    );
    let more = (
        prop::option::weighted(0.3, any::<u8>()),
        rarely(any::<u8>()),
        prop::bool::weighted(0.2),
        rarely(any::<u8>()),
        failure_policy(),
        rarely(any::<u8>()),
        prop_oneof![3 => Just(0_u8), 1 => 1..4_u8],
    );
    (runs, bounds, more).prop_map(|(runs, bounds, more)| {
        let (owner, agent_type, blocked_by, items, blocks) = runs;
        let (policy, priority, deadline, timeout, crash_limit, is_verification) = bounds;
        let (label, parent, share_todos, retry, failure_policy, zone, window) = more;
        NewSpec {
            owner,
            agent_type,
            blocked_by,
            items,
            blocks,
            policy,
            priority,
            deadline,
            timeout,
            crash_limit,
            is_verification,
            label,
            parent,
            share_todos,
            retry,
            failure_policy,
            zone,
            window,
        }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let status = prop::sample::select(vec![
        Status::Pending,
        Status::InProgress,
        Status::Completed,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
    ]);
    let edge = || prop_oneof![5 => Just(vec![]), 1 => few(2)];
    let plain = (
        prop::option::of(status),
        rarely(prop::option::weighted(0.8, any::<u8>())),
        rarely(0..3_u8),
        rarely(priority()),
        [edge(), edge(), edge(), edge()],
        any::<bool>(),
    );
    let plan = (
        [rarely(any::<u8>()), rarely(any::<u8>())],
        prop::option::weighted(0.1, prop::option::weighted(0.8, 0..3_u8)),
        rarely(policy()),
        rarely(failure_policy()),
        rarely(any::<u8>()),
        prop::option::weighted(0.1, prop::option::of(0..200_000_u32)),
        rarely(0..4_u8),
    );
    (plain, plan).prop_map(|(plain, plan)| {
        let (status, owner, subject, priority, edges, stop_running) = plain;
        let ([label, unlabel], agent_type, policy, failure_policy, retry, deadline, window) = plan;
        Change {
            status,
            owner,
            subject,
            priority,
            edges,
            stop_running,
            label,
            unlabel,
            agent_type,
            policy,
            failure_policy,
            retry,
            deadline,
            window,
        }
    })
}

fn failure_policy() -> impl Strategy<Value = FailurePolicy> {
    prop_oneof![
        3 => Just(FailurePolicy::Fail),
        1 => Just(FailurePolicy::Pause),
        1 => Just(FailurePolicy::Release),
    ]
}

fn doing() -> impl Strategy<Value = Doing> {
    let skew = || prop::option::weighted(0.4, prop_oneof![3 => Just(0_u8), 1 => Just(1)]);
    prop_oneof![
        5 => prop::option::weighted(0.7, any::<u8>()).prop_map(Doing::Claim),
        5 => (rarely(any::<u8>()), rarely(priority())).prop_map(|(l, p)| Doing::ClaimNext(l, p)),
        1 => skew().prop_map(Doing::Renew),
        2 => skew().prop_map(Doing::Release),
        3 => Just(Doing::Reopen),
        2 => Just(Doing::Delete),
        2 => Just(Doing::Pause),
        2 => Just(Doing::Resume),
        2 => Just(Doing::Cancel),
    ]
}

fn skew() -> impl Strategy<Value = Skew> {
    prop_oneof![
        12 => Just(Skew::None),
        1 => Just(Skew::Epoch),
        1 => Just(Skew::Task),
        1 => Just(Skew::Attempt),
        1 => Just(Skew::Instance),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let ending = prop::sample::select(vec![
        AttemptEnding::Completed,
        AttemptEnding::Completed,
        AttemptEnding::Failed,
        AttemptEnding::Cancelled,
        AttemptEnding::TimedOut,
    ]);
    prop_oneof![
        3 => prop::option::of(0..100_u8).prop_map(Report::Started),
        5 => ending.prop_map(Report::Ended),
        1 => Just(Report::Refused),
        3 => (0..3_u8, prop::option::of(0..9_u8)).prop_map(|(n, t)| Report::Asked(n, t)),
        2 => (0..3_u8).prop_map(Report::Heeded),
    ]
}

fn roster() -> impl Strategy<Value = Roster> {
    prop_oneof![
        4 => (any::<u8>(), any::<bool>()).prop_map(|(m, hosted)| Roster::Add(m, hosted)),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(m, force)| Roster::Remove(m, force)),
        1 => any::<u8>().prop_map(Roster::HandOver),
        1 => any::<u8>().prop_map(Roster::LeaveWorker),
        1 => any::<bool>().prop_map(Roster::Dissolve),
        2 => Just(Roster::MakeAgain),
    ]
}

fn mail() -> impl Strategy<Value = Mail> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..4).prop_map(Mail::Tell),
        1 => Just(Mail::TellAll),
        1 => (0..20_u8).prop_map(Mail::AckTo),
        1 => prop::collection::vec(any::<u8>(), 1..9).prop_map(Mail::Ack),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(t, is_other)| Mail::Answer(t, is_other)),
        2 => any::<u8>().prop_map(Mail::Steer),
    ]
}

/// A task to be that somebody may claim, as likely as not the lead's.
fn card_spec() -> impl Strategy<Value = NewSpec> {
    (new_spec(0.5, 0.3), any::<[bool; 2]>()).prop_map(|(spec, [is_leads, is_normal])| NewSpec {
        owner: spec.owner.map(|owner| if is_leads { 0 } else { owner }),
        priority: match is_normal {
            true => Priority::Normal,
            false => spec.priority,
        },
        ..spec
    })
}

/// What members do, and time, and workers that come and go. Time goes on in whole seconds, so that
/// much falls due, or is ready, at the same moment.
pub fn member_act() -> impl Strategy<Value = Act> {
    let seconds = prop_oneof![8 => 0..4_u32, 1 => Just(300_u32), 1 => Just(600_u32)];
    prop_oneof![
        4 => (any::<u8>(), prop::bool::weighted(0.2), prop::collection::vec(card_spec(), 1..4))
            .prop_map(|(who, team, tasks)| Act::Create(who, team, tasks)),
        9 => (any::<u8>(), any::<u8>(), change()).prop_map(|(w, t, c)| Act::Update(w, t, c)),
        14 => (any::<u8>(), any::<u8>(), doing()).prop_map(|(w, t, d)| Act::Do(w, t, d)),
        1 => (any::<u8>(), any::<bool>(), roster()).prop_map(|(w, t, r)| Act::Roster(w, t, r)),
        2 => (any::<u8>(), mail()).prop_map(|(w, m)| Act::Mail(w, m)),
        1 => any::<u8>().prop_map(Act::Join),
        1 => any::<u8>().prop_map(Act::Outline),
        6 => prop_oneof![Just(0_u8), any::<u8>()].prop_map(Act::Hear),
        4 => seconds.prop_map(|seconds| Act::Wait(seconds * 1_000)),
    ]
}

pub fn act() -> impl Strategy<Value = Act> {
    let offer = (
        0..3_u8,
        prop_oneof![1 => Just(0), 5 => 1..4_u8],
        prop_oneof![3 => Just(0xff), 2 => any::<u8>()],
    );
    prop_oneof![
        6 => (any::<u8>(), prop::bool::weighted(0.3), prop::collection::vec(new_spec(0.1, 0.8), 1..4))
            .prop_map(|(who, team, tasks)| Act::Create(who, team, tasks)),
        5 => (any::<u8>(), any::<u8>(), change()).prop_map(|(w, t, c)| Act::Update(w, t, c)),
        7 => (any::<u8>(), any::<u8>(), doing()).prop_map(|(w, t, d)| Act::Do(w, t, d)),
        9 => (prop::collection::vec(offer, 1..4), 0..6_u8).prop_map(|(o, m)| Act::Place(o, m)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(t, w)| Act::Dispatch(t, w)),
        7 => (any::<u8>(), skew(), report()).prop_map(|(t, s, r)| Act::Report(t, s, r)),
        2 => (any::<u8>(), skew()).prop_map(|(t, s)| Act::Lost(t, s)),
        1 => (any::<u8>(), skew()).prop_map(|(t, s)| Act::NeverArrived(t, s)),
        1 => any::<u8>().prop_map(Act::Join),
        2 => any::<u8>().prop_map(Act::Outline),
        1 => any::<u8>().prop_map(Act::Hear),
        1 => (any::<u8>(), mail()).prop_map(|(w, m)| Act::Mail(w, m)),
        2 => (any::<u8>(), any::<bool>(), roster()).prop_map(|(w, t, r)| Act::Roster(w, t, r)),
        3 => prop_oneof![3 => 0..2_000_u32, 1 => 0..100_000_u32].prop_map(Act::Wait),
        1 => few(2).prop_map(Act::Spare),
        1 => (any::<bool>(), 1..5_u8, prop_oneof![1 => Just(0), 2 => 1..4_u8])
            .prop_map(|(team, weight, max)| Act::Share(team, weight, max)),
        2 => (1..6_u8, 0..50_000_u32).prop_map(|(count, span)| Act::Keep(count, span)),
    ]
}
