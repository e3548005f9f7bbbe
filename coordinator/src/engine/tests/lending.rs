//! Slots that attempts lend to what they wait for (D7).

use board::{id::AgentTypeName, team::MemberKind};

use super::*;
use crate::engine::Waiting;

/// A worker with one slot, whose type may hire three deep.
fn small(name: &str, instance: u128) -> Hello {
    let mut hello = hello(name, instance);
    hello.slots = 1;
    hello.types[0].hiring_depth = 3;
    hello
}

fn agent(fence: Fence) -> Caller {
    Caller {
        attempt: Some(fence),
        ..Caller::default()
    }
}

fn hired() -> NewTask {
    NewTask {
        is_delegated: true,
        ..delegated()
    }
}

impl World {
    fn called_by(&mut self, fence: Fence, wish: Wish) -> CallReply {
        self.called_with(Call {
            caller: agent(fence),
            request: None,
            wish,
        })
    }

    fn tried_to_wait(&mut self, fence: Fence, task: u64) -> Result<Option<Waiting>, Refusal> {
        let awaited = [key(task)];
        let mut begun = self.read(move |reader| reader.wait_begins(fence, &awaited, true));
        self.flush();
        begun.try_recv().unwrap()
    }

    /// Lets a sub-agent wait for a task of its own.
    fn waits(&mut self, fence: Fence, task: u64) -> Waiting {
        self.tried_to_wait(fence, task)
            .unwrap()
            .expect("it is its own")
    }

    /// Ends a wait. Answers by what its answer comes.
    fn wait_ended(&mut self, waiting: &Waiting) -> oneshot::Receiver<()> {
        let id = waiting.id();
        let mut ended = self.read(move |reader| reader.wait_ends(id));
        self.flush();
        ended.try_recv().unwrap()
    }

    fn free(&self, worker: &Worker) -> u32 {
        let engine = &self.engine;
        let entry = engine.fleet.of_instance(worker.from.instance).unwrap();
        entry.free(&engine.board)
    }
}

#[test]
fn a_chain_of_three_is_finished_by_a_worker_with_one_slot() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let first = worker.assigned();
    assert_eq!((first.lender, first.hiring_depth), (None, 3));

    world.called_by(first.fence, create([hired()])).unwrap();
    assert!(worker.is_left_alone());
    let waits_first = world.waits(first.fence, 2);
    let second = worker.assigned();
    assert_eq!((second.lender, second.hiring_depth), (Some(first.fence), 2));
    world.called_by(second.fence, create([hired()])).unwrap();
    assert!(worker.is_left_alone());
    let waits_second = world.waits(second.fence, 3);
    let third = worker.assigned();
    assert_eq!((third.lender, third.hiring_depth), (Some(second.fence), 1));
    world.completed(&worker, third.fence, "three").unwrap();
    world.wait_ended(&waits_second).try_recv().unwrap();
    drop(waits_second);
    world.completed(&worker, second.fence, "two").unwrap();
    world.wait_ended(&waits_first).try_recv().unwrap();
    drop(waits_first);
    world.completed(&worker, first.fence, "one").unwrap();

    assert_eq!(
        [1, 2, 3].map(|task| world.status(task)),
        [Status::Completed; 3]
    );
    assert_eq!(world.free(&worker), 1);
    assert!(worker.is_left_alone());
}

#[test]
fn one_borrower_at_a_time_and_others_wait_their_turn() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let boss = worker.assigned().fence;
    world.called_by(boss, create([hired(), hired()])).unwrap();
    world.called(create([delegated()])).unwrap();

    let other = world.waits(boss, 2);
    let first = worker.assigned();
    let waits = world.waits(boss, 3);
    assert_eq!((first.fence.task, first.lender), (TaskId(2), Some(boss)));
    assert!(worker.is_left_alone());
    world.completed(&worker, first.fence, "").unwrap();
    let second = worker.assigned();

    // The lender goes on lending for what it waits for still; what is not below it gets nothing.
    assert_eq!((second.fence.task, second.lender), (TaskId(3), Some(boss)));
    world.wait_ended(&other).try_recv().unwrap();
    world.completed(&worker, second.fence, "").unwrap();
    world.wait_ended(&waits).try_recv().unwrap();
    assert!(worker.is_left_alone());
    world.completed(&worker, boss, "").unwrap();
    assert_eq!(worker.assigned().fence.task, TaskId(4));
}

/// It began to wait for one, and that is done elsewhere while another runs in its slot.
#[test]
fn a_lender_takes_its_slot_back_before_anybody_else_gets_one() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let boss = worker.assigned().fence;
    world.called_by(boss, create([hired(), hired()])).unwrap();
    let waits = world.waits(boss, 2);
    let borrower = worker.assigned();
    world.called(create([delegated()])).unwrap();

    let mut back = world.wait_ended(&waits);
    assert!(back.try_recv().is_err(), "its slot is lent");
    world.completed(&worker, borrower.fence, "").unwrap();

    back.try_recv().unwrap();
    assert!(worker.is_left_alone());
    assert_eq!(world.free(&worker), 0);
}

#[test]
fn a_lender_with_a_borrower_that_goes_on_takes_the_next_slot_that_is_free() {
    let mut world = World::new();
    let mut worker = world.dial(Hello {
        slots: 2,
        ..small("w", 1)
    });
    world.called(create([delegated(), delegated()])).unwrap();
    let (boss, other) = (worker.assigned().fence, worker.assigned().fence);
    world.called_by(boss, create([hired()])).unwrap();
    let waits = world.waits(boss, 3);
    let borrower = worker.assigned().fence;
    world.called(create([delegated()])).unwrap();
    let mut back = world.wait_ended(&waits);
    assert!(back.try_recv().is_err());

    world.completed(&worker, other, "").unwrap();

    back.try_recv().unwrap();
    assert!(worker.is_left_alone());
    world.completed(&worker, borrower, "").unwrap();
    assert_eq!(worker.assigned().fence.task, TaskId(4));
}

#[test]
fn who_goes_away_waits_no_more_and_lends_nothing() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let boss = worker.assigned().fence;
    world.called_by(boss, create([hired(), hired()])).unwrap();
    let waits = world.waits(boss, 2);
    let borrower = worker.assigned().fence;
    drop(waits);

    world.completed(&worker, borrower, "").unwrap();

    assert!(worker.is_left_alone());
    assert_eq!(world.free(&worker), 0);
}

#[test]
fn what_a_sub_agent_does_not_own_is_no_reason_to_lend() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated(), delegated()])).unwrap();
    let boss = worker.assigned().fence;

    assert!(world.tried_to_wait(boss, 2).unwrap().is_none());
    let stale = Fence {
        attempt: boss.attempt.next(),
        ..boss
    };
    world.called_by(boss, create([hired()])).unwrap();
    assert!(world.tried_to_wait(stale, 3).unwrap().is_none());
    assert!(worker.is_left_alone());
}

/// A worker is given nothing until it holds no more than it has slots.
#[test]
fn after_a_restart_nothing_is_lent_and_nothing_more_is_given_out() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let boss = worker.assigned().fence;
    world.called_by(boss, create([hired()])).unwrap();
    let _waits = world.waits(boss, 2);
    let borrower = worker.assigned().fence;

    let mut world = world.restart();
    let mut worker = world.dial(Hello {
        held: vec![boss, borrower],
        ..small("w", 1)
    });
    world.called(create([delegated()])).unwrap();
    world.completed(&worker, borrower, "").unwrap();

    assert!(worker.is_left_alone());
    world.completed(&worker, boss, "").unwrap();
    assert_eq!(worker.assigned().fence.task, TaskId(3));
}

#[test]
fn a_task_that_waits_for_who_waits_for_it_would_be_a_deadlock() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    world.called(create([delegated()])).unwrap();
    let boss = worker.assigned().fence;
    let after_me = NewTask {
        blocked_by: vec![TaskId(1)],
        ..hired()
    };
    world.called_by(boss, create([after_me])).unwrap();

    let refused = world.tried_to_wait(boss, 2).unwrap_err();

    let expected = Refusal::WouldDeadlock {
        task: TaskId(1),
        why: "#2 waits for #1".into(),
    };
    assert_eq!(refused, expected);
    assert!(worker.is_left_alone());
}

/// Down a chain, and by way of a hosted member who runs one task at a time.
#[test]
fn a_task_of_a_hosted_member_who_waits_for_it_would_be_a_deadlock() {
    let mut world = World::new();
    let mut worker = world.dial(small("w", 1));
    let hana = board::command::NewMember {
        name: MemberName::parse("hana").unwrap(),
        kind: MemberKind::Hosted,
        role: "".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: Some(AgentTypeName::parse("shell").unwrap()),
        model: "".into(),
        plan_required: false,
    };
    world.called(Wish::AddMember(team(), hana)).unwrap();
    let hers = || NewTask {
        owner: Some(MemberName::parse("hana").unwrap()),
        ..hired()
    };
    world.called(create([hers()])).unwrap();
    let boss = worker.assigned().fence;
    world.called_by(boss, create([hers()])).unwrap();

    let refused = world.tried_to_wait(boss, 2).unwrap_err();

    let why = "#2 belongs to hana, who is at #1 and runs one task at a time";
    let expected = Refusal::WouldDeadlock {
        task: TaskId(1),
        why: why.into(),
    };
    assert_eq!(refused, expected);
}
