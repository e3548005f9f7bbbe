//! Which agent types are offered now, are expected, or were seen last when (D2).

use board::{limits::OFFERED_TYPES_KEPT, refusal::Offering};

use super::{placing::by_hand, *};
use crate::engine::reader::OfferedView;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn coder() -> AgentTypeName {
    AgentTypeName::parse("coder").unwrap()
}

/// A worker that offers `coder` for as long as its stream is open.
fn offering_coder() -> Hello {
    let mut hello = by_hand("w", 1, 2);
    hello.types[0].name = coder();
    hello
}

fn known(world: &mut World) -> Vec<(String, bool, Option<Time>, usize)> {
    let mut answer = world.read(|reader| reader.agent_types());
    world.flush();
    let told = |view: OfferedView| {
        let name = view.offered.name.to_string();
        (name, view.is_expected, view.last_seen, view.workers.len())
    };
    answer.try_recv().unwrap().into_iter().map(told).collect()
}

fn offerings(world: &mut World) -> Vec<(String, Offering)> {
    let wizard = NewTask {
        agent_type: Some(AgentTypeName::parse("wizard").unwrap()),
        ..delegated()
    };
    let refused = world.called(create([wizard])).unwrap_err();
    let Refusal::AgentTypeUnknown { known, .. } = refused.refusal else {
        panic!("{refused:?}");
    };
    let told = known.into_iter();
    told.map(|known| (known.name.to_string(), known.offering))
        .collect()
}

fn hours_pass(world: &mut World, span: Duration) {
    let hour = Duration::from_secs(3_600);
    for _ in 0..span.as_secs() / hour.as_secs() {
        world.pass(hour);
        world.flush();
    }
}

#[test]
fn type_is_told_as_offered_now_expected_or_seen_last() {
    let mut world = World::new();
    let worker = world.dial(offering_coder());
    let expected = ("shell".to_owned(), Offering::Expected);
    assert_eq!(
        offerings(&mut world),
        [("coder".to_owned(), Offering::Now), expected.clone()]
    );
    let now = world.now;
    assert_eq!(
        known(&mut world),
        [
            ("coder".to_owned(), false, Some(now), 1),
            ("shell".to_owned(), true, None, 0)
        ]
    );

    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.flush();

    assert_eq!(
        offerings(&mut world),
        [("coder".to_owned(), Offering::Seen(now)), expected]
    );
    assert_eq!(known(&mut world)[0].2, Some(now));
}

#[test]
fn type_that_a_worker_offers_for_long_counts_from_when_it_offered_it_last() {
    let mut world = World::new();
    let worker = world.dial(offering_coder());

    hours_pass(&mut world, OFFERED_TYPES_KEPT + DAY);
    let last = world.now;
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    hours_pass(&mut world, OFFERED_TYPES_KEPT - DAY);

    let hour = Duration::from_secs(3_600);
    let seen = known(&mut world)[0].2.unwrap();
    assert!(last.since(seen) <= hour, "{seen:?} {last:?}");
    hours_pass(&mut world, DAY + hour);
    let names: Vec<String> = known(&mut world).into_iter().map(|known| known.0).collect();
    // What is expected stays.
    assert_eq!(names, ["shell"]);
}

#[test]
fn type_is_forgotten_for_good_and_also_by_a_restart() {
    let mut world = World::new();
    let worker = world.dial(offering_coder());
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.flush();
    let mut world = world.restart();
    assert_eq!(known(&mut world).len(), 2);

    // The coordinator itself was away for that long.
    world.pass(OFFERED_TYPES_KEPT);
    let world = world.restart();

    let mut kept = Vec::new();
    let mut store = world.store.clone();
    store
        .load(&mut |record| {
            if let Record::Offered(offered) = record {
                kept.push(offered.name);
            }
        })
        .unwrap();
    assert_eq!(kept, [shell()]);
    assert_eq!(known(&mut world.restart()).len(), 1);
}
