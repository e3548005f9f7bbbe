//! Free slots that are kept from round to round, and what the rescan is for.

use proptest::{prelude::*, test_runner::Config};

use super::*;
use crate::fleet::{Standing, WorkerEntry};

pub(super) fn by_hand(name: &str, instance: u128, slots: u32) -> Hello {
    Hello {
        manual: true,
        slots,
        ..hello(name, instance)
    }
}

/// Lets the driver sleep and wake, as often as it would, until a moment has come.
fn sleep_until(world: &mut World, until: Time) {
    while world.now < until {
        let wake = world.engine.next_deadline(world.now);
        world.now = wake.expect("something waits").max(world.now).min(until);
        world.flush();
    }
}

#[test]
fn free_slots_that_were_counted_wrong_are_mended_by_the_rescan() {
    let mut world = World::new();
    let mut worker = world.dial(by_hand("w", 1, 2));
    let engine = &mut world.engine;
    engine
        .fleet
        .spoil_offers(&engine.board, &worker.from.worker, 0);
    world.called(create([delegated()])).unwrap();
    assert!(worker.is_left_alone());
    let reason = world.task(1).phase_reason;
    assert_eq!(&*reason, "NO_FREE_SLOT: 0 of 2 slots for shell are free");

    let until = world.now + secs(5);
    sleep_until(&mut world, until);

    assert_eq!(worker.assigned().fence.task, TaskId(1));
}

#[test]
fn nothing_is_scanned_again_while_nothing_waits() {
    let mut world = World::new();
    world.dial(by_hand("w", 1, 2));
    let idle = world.engine.next_deadline(world.now);

    let claimable = world.called(create([plain()]));

    claimable.unwrap();
    assert_eq!(world.engine.rescan_at, None);
    assert_eq!(world.engine.next_deadline(world.now), idle);
}

#[test]
fn task_that_a_worker_lost_goes_back_to_it_when_nobody_else_took_it_for_a_minute() {
    let mut world = World::new();
    let mut first = world.dial(by_hand("a", 1, 1));
    world.called(create([delegated()])).unwrap();
    let fence = first.assigned().fence;
    world.started(&first, fence).unwrap();
    let mut second = world.dial(by_hand("b", 2, 1));
    world.called(create([delegated()])).unwrap();
    let busy = second.assigned().fence;
    world.started(&second, busy).unwrap();

    let mut first = world.dial(by_hand("a", 1, 1));

    let lost_at = world.now;
    assert!(first.is_left_alone());
    let reason = world.task(1).phase_reason;
    assert!(
        reason.starts_with("AVOIDS_WORKER: is kept from a, "),
        "{reason}"
    );
    let mut explained = world.read(|reader| {
        let explained = reader.explain(&team(), TaskId(1), None, 1, &Caller::default());
        explained.map(|explained| (explained.why, explained.place))
    });
    world.flush();
    let (why, place) = explained.try_recv().unwrap().unwrap();
    let words: Vec<_> = why.iter().map(board::placement::Why::word).collect();
    assert_eq!((words, place), (vec!["AVOIDS_WORKER"], Some(1)));
    // What waits behind it does not wait for it.
    world.called(create([delegated()])).unwrap();
    assert_eq!(first.assigned().fence.task, TaskId(3));
    let other = world.engine.board.fence(key(3)).unwrap();
    world.completed(&first, other, "done").unwrap();
    sleep_until(&mut world, lost_at + Duration::from_millis(59_999));
    assert!(first.is_left_alone());
    sleep_until(&mut world, lost_at + secs(66));
    assert_eq!(first.assigned().fence.task, TaskId(1));
    assert!(second.is_left_alone());
}

#[test]
fn worker_serves_a_team_that_is_made_after_it_dialled_in() {
    let mut world = World::new();
    let later = TeamName::parse("later").unwrap();
    let serving = Hello {
        teams: Some(vec![later.clone()]),
        ..by_hand("w", 1, 2)
    };
    let mut worker = world.dial(serving);
    let made = board::command::CreateTeam {
        name: later.clone(),
        description: "".into(),
        lead: MemberName::parse("lead").unwrap(),
        lead_role: "".into(),
        members: Vec::new(),
        verification_threshold: None,
        idle_notices: false,
        weight: None,
        max_running: 0,
    };
    world.called(Wish::CreateTeam(made)).unwrap();

    world.called(create([delegated()])).unwrap();
    assert!(worker.is_left_alone());
    let reason = world.task(1).phase_reason;
    assert_eq!(
        &*reason,
        "NO_WORKER_FOR_TYPE: no connected worker offers shell"
    );
    let wish = Wish::CreateTasks(later, vec![delegated()]);
    world.called(wish).unwrap();

    assert_eq!(worker.assigned().fence.team, TeamUid(2));
}

/// What happens to a fleet.
#[derive(Debug, Clone)]
enum Happens {
    Dial(u8, u32, bool),
    Close(u8),
    Drain(u8),
    Create(u8),
    End(u8),
    Start(u8),
    Pass(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..4_u8, 1..4_u32, any::<bool>()).prop_map(|(w, s, new)| Happens::Dial(w, s, new)),
        1 => (0..4_u8).prop_map(Happens::Close),
        1 => (0..4_u8).prop_map(Happens::Drain),
        4 => (1..4_u8).prop_map(Happens::Create),
        4 => any::<u8>().prop_map(Happens::End),
        4 => any::<u8>().prop_map(Happens::Start),
        2 => (0..20_000_u16).prop_map(Happens::Pass),
    ]
}

/// Streams by their workers, and the last instance.
#[derive(Default)]
struct Dialled {
    workers: BTreeMap<u8, Worker>,
    last: u128,
}

fn happen(world: &mut World, dialled: &mut Dialled, what: &Happens) {
    let running = |world: &World, pick: u8| {
        let workers = world.engine.board.holders().into_keys();
        let held: Vec<_> = workers
            .flat_map(|instance| world.engine.board.held_by(instance))
            .collect();
        (!held.is_empty()).then(|| held[usize::from(pick) % held.len()])
    };
    let stream_of = |world: &World, dialled: &Dialled, fence: Fence| {
        let instance = world.engine.board.instance_of((fence.team, fence.task));
        let mut workers = dialled.workers.iter();
        let of_instance = |(_, worker): &(&u8, &Worker)| Some(worker.from.instance) == instance;
        workers.find(of_instance).map(|(at, _)| *at)
    };
    match what {
        Happens::Dial(at, slots, is_new) => {
            let before = dialled.workers.get(at).map(|worker| worker.from.clone());
            dialled.last += u128::from(*is_new);
            let instance = match &before {
                Some(from) if !is_new => from.instance,
                _ => InstanceId(100 * u128::from(*at) + dialled.last),
            };
            let name = format!("w{at}");
            let hello = hello(&name, instance.0);
            let present = world.engine.fleet.worker(&hello.name);
            let is_taken = present.is_some_and(|worker| {
                let is_there = worker.standing(world.now) != Standing::Unreachable;
                worker.hello.instance != instance && is_there
            });
            if !is_taken {
                let hello = Hello {
                    slots: *slots,
                    held: world.engine.board.held_by(instance),
                    ..hello
                };
                let worker = world.dial(hello);
                dialled.workers.insert(*at, worker);
            }
        }
        Happens::Close(at) => {
            if let Some(worker) = dialled.workers.get(at) {
                let from = worker.from.clone();
                world.take(Input::Fleet(FleetInput::Closed(from)));
            }
        }
        Happens::Drain(at) => {
            if let Some(worker) = dialled.workers.get(at) {
                let from = worker.from.clone();
                world.take(Input::Fleet(FleetInput::Draining(from)));
            }
        }
        Happens::Create(count) => {
            let tasks = vec![delegated(); usize::from(*count)];
            world.called(create(tasks)).unwrap();
        }
        Happens::End(pick) | Happens::Start(pick) => {
            let Some(fence) = running(world, *pick) else {
                return;
            };
            if let Some(at) = stream_of(world, dialled, fence) {
                let worker = &dialled.workers[&at];
                // A stream that was replaced or whose lease is over is refused.
                match what {
                    Happens::End(_) => drop(world.completed(worker, fence, "done")),
                    _ => drop(world.started(worker, fence)),
                }
            }
        }
        Happens::Pass(millis) => {
            world.pass(Duration::from_millis((*millis).into()));
            let is_silent =
                |worker: &WorkerEntry| worker.is_stream_up() && !worker.is_heard(world.now);
            let was_silent = world.engine.fleet.workers().any(is_silent);
            for worker in dialled.workers.values().step_by(2) {
                worker.welcome.heard.note(world.now);
            }
            if was_silent {
                // That it is heard again is noticed within seconds; here, at once.
                let engine = &mut world.engine;
                engine.rescan_at = engine.rescan_at.map(|_| world.now);
            }
        }
    }
    world.flush();
}

proptest! {
    #![proptest_config(Config { cases: 100, failure_persistence: None, ..Config::default() })]

    /// And nobody has more than its slots, and no slot stays free while something waits for it.
    #[test]
    fn slots_that_are_kept_are_those_that_there_are(
        all in prop::collection::vec(happens(), 1..60),
    ) {
        let mut world = World::new();
        let mut dialled = Dialled::default();
        for what in &all {
            happen(&mut world, &mut dialled, what);

            let engine = &mut world.engine;
            engine.fleet.refresh_offers(&engine.board);
            let anew = engine.fleet.offers_anew(&engine.board);
            prop_assert_eq!(engine.fleet.slots(), &anew, "after {:?}", what);
            for worker in engine.fleet.workers() {
                let held = engine.board.held_count(worker.hello.instance);
                let is_well = worker.standing(world.now) == Standing::Connected;
                let free = worker.free(&engine.board);
                let is_idle = is_well && free > 0 && engine.board.is_queueing();
                prop_assert!(!is_idle || is_avoided(engine, &worker.hello), "after {:?}", what);
                prop_assert!(held <= 3, "after {:?}", what);
            }
        }
    }
}

/// Whether all that waits is kept from a worker.
fn is_avoided(engine: &Engine, hello: &Hello) -> bool {
    let tasks = engine.board.cards_after(TEAM, TaskId(0));
    let views = tasks.filter_map(|(id, _)| engine.board.view((TEAM, id)));
    let mut waiting = views.filter(|view| view.phase == Some(board::view::Phase::Queued));
    waiting.all(|view| {
        let want = view.queue.expect("it waits for a worker").want;
        let avoids = want.avoids.as_ref();
        avoids.is_some_and(|avoids| avoids.has(&hello.name, hello.instance))
    })
}
