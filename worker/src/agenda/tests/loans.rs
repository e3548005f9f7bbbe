//! Slots that are lent.

use super::*;

/// Invariant 1.
pub(super) fn check(agenda: &Agenda, slots: usize) {
    let live: Vec<_> = agenda
        .held
        .iter()
        .filter(|(_, held)| held.is_live())
        .collect();
    let lenders: Vec<_> = live
        .iter()
        .filter_map(|(_, held)| held.lender.as_ref())
        .collect();
    assert!(live.len() - lenders.len() <= slots, "no slot is made up");
    for lender in &lenders {
        assert!(agenda.held[*lender].is_live(), "who lends is held");
        let borrowers = lenders.iter().filter(|other| *other == lender);
        assert_eq!(borrowers.count(), 1, "a slot is lent once");
    }
}

fn over(desk: &mut Desk, task: u64) {
    desk.over(task);
    check(&desk.agenda, 1);
}

#[test]
fn an_attempt_that_waits_lends_its_slot_to_one_at_a_time() {
    let mut desk = Desk::new(1);
    desk.running(1);

    assert_eq!(desk.assign(2), Taken::No("no free slot"));
    assert_eq!(desk.assign_lent_by(2, 1), Taken::Yes);
    assert_eq!(desk.assign_lent_by(3, 1), Taken::No("no free slot"));
    assert_eq!(desk.assign_lent_by(4, 9), Taken::No("no free slot"));
    over(&mut desk, 2);

    assert_eq!(desk.assign_lent_by(3, 1), Taken::Yes);
    check(&desk.agenda, 1);
}

#[test]
fn what_was_lent_can_be_lent_on() {
    let mut desk = Desk::new(1);
    desk.running(1);

    assert_eq!(desk.assign_lent_by(2, 1), Taken::Yes);
    assert_eq!(desk.assign_lent_by(3, 2), Taken::Yes);

    check(&desk.agenda, 1);
    assert_eq!(desk.assign(4), Taken::No("no free slot"));
}

#[test]
fn a_borrower_has_what_its_lender_had_when_that_is_over() {
    // The lender's own slot.
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.assign_lent_by(2, 1);
    over(&mut desk, 1);
    assert_eq!(desk.assign(3), Taken::No("no free slot"));
    over(&mut desk, 2);
    assert_eq!(desk.assign(3), Taken::Yes);

    // The loan that it lived on itself.
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.assign_lent_by(2, 1);
    desk.assign_lent_by(3, 2);
    over(&mut desk, 2);
    assert_eq!(desk.assign(4), Taken::No("no free slot"));
    assert_eq!(desk.assign_lent_by(4, 1), Taken::No("no free slot"));
    over(&mut desk, 3);
    assert_eq!(desk.assign_lent_by(4, 1), Taken::Yes);
}

#[test]
fn who_is_given_up_lends_nothing_more() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.acknowledge(1, ReportKind::Started, false);

    assert_eq!(desk.assign_lent_by(2, 1), Taken::No("no free slot"));
}

#[test]
fn a_lender_need_not_be_named_where_a_slot_is_free() {
    let mut desk = Desk::new(1);

    assert_eq!(desk.assign_lent_by(2, 1), Taken::Yes);

    assert_eq!(desk.assign(3), Taken::No("no free slot"));
}
