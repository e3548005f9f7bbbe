//! Workers that are told to leave.

use super::*;

fn told(dialled: &mut Dialled) -> Option<(String, Option<Duration>)> {
    match dialled.orders.try_recv() {
        Ok(Order::Drain { reason, timeout }) => Some((reason.to_string(), timeout)),
        Ok(other) => panic!("no drain: {other:?}"),
        Err(_) => None,
    }
}

fn drain(fleet: &mut Fleet, reason: &str, timeout: Option<u64>, now: Time) -> bool {
    let timeout = timeout.map(secs);
    fleet.order_drain(&worker_name("w"), &reason.into(), timeout, now)
}

#[test]
fn worker_that_is_drained_is_told_once_however_often_it_is_wanted() {
    let mut fleet = empty_fleet();
    let mut worker = dial(&mut fleet, hello("w", 1), at(0));

    assert!(drain(&mut fleet, "old", Some(60), at(1)));
    assert!(drain(&mut fleet, "old", Some(60), at(2)));
    assert!(drain(&mut fleet, "", None, at(3)));

    assert_eq!(told(&mut worker), Some(("old".into(), Some(secs(60)))));
    assert_eq!(told(&mut worker), None);
    assert_eq!(standing(&fleet, "w", at(3)), Some(Standing::Draining));
    let drain = fleet.drain_of(InstanceId(1)).unwrap();
    assert_eq!((&*drain.reason, drain.since), ("old", at(1)));
}

#[test]
fn worker_is_told_again_when_it_is_given_another_reason_or_time() {
    let mut fleet = empty_fleet();
    let mut worker = dial(&mut fleet, hello("w", 1), at(0));
    drain(&mut fleet, "old", None, at(1));
    told(&mut worker).unwrap();

    drain(&mut fleet, "broken", None, at(2));
    assert_eq!(told(&mut worker), Some(("broken".into(), None)));
    drain(&mut fleet, "", Some(5), at(3));
    assert_eq!(told(&mut worker), Some(("broken".into(), Some(secs(5)))));
}

#[test]
fn drain_outlives_the_stream_of_its_process_and_not_the_process() {
    let mut fleet = empty_fleet();
    let first = dial(&mut fleet, hello("w", 1), at(0));
    drain(&mut fleet, "old", None, at(1));
    fleet.close(&worker_name("w"), first.session, at(2));

    let mut again = dial(&mut fleet, hello("w", 1), at(3));
    assert_eq!(told(&mut again), Some(("old".into(), None)));
    assert_eq!(standing(&fleet, "w", at(3)), Some(Standing::Draining));

    fleet.close(&worker_name("w"), again.session, at(4));
    let mut other = dial(&mut fleet, hello("w", 2), at(5));
    assert_eq!(told(&mut other), None);
    assert_eq!(standing(&fleet, "w", at(5)), Some(Standing::Connected));
    assert_eq!(fleet.drain_of(InstanceId(2)), None);
}

#[test]
fn worker_that_is_told_while_its_stream_is_down_is_told_when_it_dials_in() {
    let mut fleet = empty_fleet();
    let first = dial(&mut fleet, hello("w", 1), at(0));
    fleet.close(&worker_name("w"), first.session, at(1));

    assert!(drain(&mut fleet, "old", None, at(2)));
    assert_eq!(standing(&fleet, "w", at(2)), Some(Standing::Unreachable));
    let mut again = dial(&mut fleet, hello("w", 1), at(3));

    assert_eq!(told(&mut again), Some(("old".into(), None)));
}

#[test]
fn nobody_is_drained_where_there_is_no_such_worker() {
    let mut fleet = empty_fleet();

    assert!(!drain(&mut fleet, "old", None, at(1)));

    let mut worker = dial(&mut fleet, hello("w", 1), at(2));
    assert_eq!(told(&mut worker), None);
    assert_eq!(standing(&fleet, "w", at(2)), Some(Standing::Connected));
}
