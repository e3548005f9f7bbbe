//! Whatever a peer says, however wild: the board answers or refuses, stays sound, and never
//! panics.

mod values;

use std::time::Duration;

use board::{
    command::{
        Ack, Call, Caller, ClaimNext, CreateTeam, EndReport, FleetCommand, Lease, Removal, Wish,
    },
    id::{AttemptNumber, Epoch, Fence, InstanceId, MessageId, Revision, TaskId, TeamUid},
    invariants,
    listing::{Among, At, Order},
    task::{AttemptEnding, Priority, StopReason, Usage},
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::Config};

use crate::{acts::act, support::*, world::World};
use values::*;

fn wish() -> impl Strategy<Value = Wish> {
    let attempt = || option::of(small().prop_map(AttemptNumber));
    let revision = || option::of(number().prop_map(Revision));
    let lease = || option::of(span()).prop_map(Lease);
    let removal = || (any::<bool>(), text()).prop_map(|(force, reason)| Removal { force, reason });
    let next = (vec(text(), 0..3), option::of(priority()), lease());
    let next = next.prop_map(|(labels, priority_min, lease)| ClaimNext {
        labels,
        priority_min,
        lease,
    });
    let new_team = (team_name(), vec(new_member(), 0..3), option::of(small()));
    let new_team = new_team.prop_map(|(name, members, verification_threshold)| CreateTeam {
        name,
        members,
        verification_threshold,
        ..team("v")
    });
    let ack = (option::of(number()), vec(number(), 0..3)).prop_map(|(up_to, messages)| Ack {
        up_to: up_to.map(MessageId),
        messages: messages.into_iter().map(MessageId).collect(),
    });
    let updates = vec((id(), update()), 0..4);
    let one = prop_oneof![
        3 => (team_name(), vec(new_task(), 0..4)).prop_map(|(t, n)| Wish::CreateTasks(t, n)),
        4 => (team_name(), id(), update()).prop_map(|(t, i, u)| Wish::UpdateTask(t, i, Box::new(u))),
        2 => (team_name(), updates).prop_map(|(t, all)| Wish::UpdateTasks(t, all)),
        2 => (team_name(), id(), revision(), option::of(lease()))
            .prop_map(|(t, i, r, l)| Wish::ClaimTask(t, i, r, l)),
        1 => (team_name(), next).prop_map(|(t, n)| Wish::ClaimNext(t, n)),
        1 => (team_name(), id(), attempt()).prop_map(|(t, i, a)| Wish::RenewClaim(t, i, a)),
        1 => (team_name(), id(), attempt(), text())
            .prop_map(|(t, i, a, r)| Wish::ReleaseTask(t, i, a, r)),
    ];
    let other = prop_oneof![
        (team_name(), id(), revision(), text())
            .prop_map(|(t, i, r, why)| Wish::ReopenTask(t, i, r, why)),
        (team_name(), id(), revision()).prop_map(|(t, i, r)| Wish::DeleteTask(t, i, r)),
        (team_name(), id(), text()).prop_map(|(t, i, why)| Wish::PauseTask(t, i, why)),
        (team_name(), id()).prop_map(|(t, i)| Wish::ResumeTask(t, i)),
        (team_name(), id(), text()).prop_map(|(t, i, why)| Wish::CancelTask(t, i, why)),
        (team_name(), removal()).prop_map(|(t, r)| Wish::DissolveTeam(t, r)),
        (team_name(), new_member()).prop_map(|(t, m)| Wish::AddMember(t, m)),
        (team_name(), who(), removal()).prop_map(|(t, m, r)| Wish::RemoveMember(t, m, r)),
        (team_name(), who()).prop_map(|(t, m)| Wish::HandOverLead(t, m)),
        (team_name(), id(), option::of(small()), text())
            .prop_map(|(t, i, n, a)| Wish::AnswerQuestion(t, i, n, a)),
        (team_name(), id(), text()).prop_map(|(t, i, a)| Wish::SteerTask(t, i, a)),
        (team_name(), letter()).prop_map(|(t, l)| Wish::SendMessage(t, Box::new(l))),
        (team_name(), ack).prop_map(|(t, a)| Wish::AckMessages(t, a)),
        (team_name(), sweep()).prop_map(|(t, s)| Wish::SweepTasks(t, Box::new(s))),
        new_team.prop_map(Wish::CreateTeam),
    ];
    prop_oneof![1 => one, 1 => other]
}

fn fence() -> impl Strategy<Value = Fence> {
    let all = (
        select(vec![7_u128, 0]),
        select(vec![1, 2, 9]),
        number(),
        small(),
    );
    all.prop_map(|(epoch, team, task, attempt)| Fence {
        epoch: Epoch(epoch),
        team: TeamUid(team),
        task: TaskId(task),
        attempt: AttemptNumber(attempt),
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    let all = (
        option::of(who()),
        option::weighted(0.2, small()),
        option::weighted(0.2, fence()),
        option::weighted(0.2, who()),
        option::weighted(0.2, number()),
    );
    all.prop_map(
        |(member, incarnation, attempt, on_behalf_of, cause)| Caller {
            member,
            incarnation,
            attempt,
            on_behalf_of,
            cause: cause.map(MessageId),
        },
    )
}

fn report() -> impl Strategy<Value = EndReport> {
    let ending = select(vec![
        AttemptEnding::Completed,
        AttemptEnding::Failed,
        AttemptEnding::Cancelled,
        AttemptEnding::TimedOut,
        AttemptEnding::Lost,
        AttemptEnding::HandedBack,
    ]);
    (ending, text(), any::<bool>()).prop_map(|(ending, text, is_stopped)| EndReport {
        ending,
        result: text.clone(),
        error: text,
        stop_reason: is_stopped.then_some(StopReason::ResourceLimit),
        outputs: vec![],
        usage: Usage {
            input_tokens: 0,
            output_tokens: 0,
            wall_ms: u64::MAX,
            cpu_ms: u64::MAX,
            output_bytes: 1,
        },
    })
}

fn fleet() -> impl Strategy<Value = FleetCommand> {
    let worker = || select(vec!["w1", "w2", "alice1"]);
    let team = || select(vec![1, 2, 9]).prop_map(TeamUid);
    let key = || (team(), id());
    let instance = || select(vec![1, 2, 9]).prop_map(InstanceId);
    prop_oneof![
        (key(), worker()).prop_map(|(key, worker)| {
            FleetCommand::Dispatch(key, worker_name(worker), crate::support::instance(worker))
        }),
        (fence(), instance(), option::of(span())).prop_map(|(fence, instance, run_limit)| {
            FleetCommand::Started {
                fence,
                instance,
                run_limit,
            }
        }),
        (fence(), instance(), report()).prop_map(|(fence, instance, report)| {
            FleetCommand::Ended {
                fence,
                instance,
                report,
            }
        }),
        (fence(), instance(), text()).prop_map(|(fence, instance, reason)| {
            FleetCommand::Refused {
                fence,
                instance,
                reason,
            }
        }),
        (fence(), instance(), (small(), text(), option::of(span()))).prop_map(
            |(fence, instance, (number, text, timeout))| FleetCommand::Asked {
                fence,
                instance,
                number,
                text,
                timeout,
            }
        ),
        (fence(), instance(), small()).prop_map(|(fence, instance, through)| {
            FleetCommand::Heeded {
                fence,
                instance,
                through,
            }
        }),
        (key(), small(), text()).prop_map(|(key, n, why)| FleetCommand::Lost(
            key,
            AttemptNumber(n),
            why
        )),
        (key(), small()).prop_map(|(key, n)| FleetCommand::NeverArrived(key, AttemptNumber(n))),
        (team(), worker()).prop_map(|(team, w)| FleetCommand::JoinWorker(team, worker_name(w))),
        (team(), worker(), text()).prop_map(|(team, w, why)| FleetCommand::LeaveWorker(
            team,
            worker_name(w),
            why
        )),
    ]
}

/// Whatever may come in.
#[derive(Debug, Clone)]
enum Wild {
    Call(Box<Call>),
    Fleet(FleetCommand),
    Wait(Duration),
    Look(u64, u64),
}

fn wild() -> impl Strategy<Value = Wild> {
    let call = (caller(), wish()).prop_map(|(caller, wish)| Call {
        caller,
        request: None,
        wish,
    });
    prop_oneof![
        8 => call.prop_map(|call| Wild::Call(Box::new(call))),
        4 => fleet().prop_map(Wild::Fleet),
        1 => span().prop_map(Wild::Wait),
        1 => (number(), number()).prop_map(|(a, b)| Wild::Look(a, b)),
    ]
}

/// Looks at a task that may not be there in all ways, and walks lists from where it isn't.
fn look(script: &Script, task: u64, other: u64) {
    let (board, task, other) = (&script.board, TaskId(task), TaskId(other));
    for team in [TEAM, TeamUid(2), TeamUid(9)] {
        let key = (team, task);
        let _ = (
            board.view(key),
            board.queue_place(key),
            board.owner_is_at(key),
        );
        let _ = (board.depth(team, task), board.is_below(team, task, other));
        let _ = (board.fence(key), board.ended(key), board.counts(team));
        let _ = board.cards_after(team, task).count();
        let places = [At::Id(task), At::Over(task), At::Open(Priority::High, task)];
        let parts = [
            Among::All,
            Among::Open,
            Among::Ready,
            Among::Children(other),
        ];
        for (among, place) in parts.iter().flat_map(|a| places.map(|p| (*a, p))) {
            for order in [Order::Id, Order::Priority, Order::Tree] {
                let _ = board
                    .walk(team, among, order, Some(place))
                    .map(|walk| walk.count());
            }
        }
    }
}

fn do_it(script: &mut Script, wild: Wild) {
    match wild {
        Wild::Call(call) => drop(script.call(&call)),
        Wild::Fleet(command) => drop(script.try_fleet(command)),
        Wild::Look(task, other) => look(script, task, other),
        Wild::Wait(span) => {
            script.after(span);
            // At the end of time there is always something due.
            for _ in 0..9 {
                script.tick();
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    #[test]
    fn nothing_that_anybody_says_panics_or_unsettles_the_board(
        acts in vec(act(), 0..20),
        wilds in vec(wild(), 1..60),
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        let mut script = world.script;
        for wild in wilds {
            do_it(&mut script, wild);
            if let Err(violation) = invariants::check(&script.board) {
                return Err(TestCaseError::fail(violation.to_string()));
            }
        }
        script.check();
    }
}
