//! The facts of a worker, none of which is derived from another.

use board::id::{AttemptNumber, Fence};

use super::*;

/// Stream up, heard, lease valid.
fn facts(fleet: &Fleet, now: Time) -> (bool, bool, bool) {
    let worker = fleet.worker(&worker_name("w")).unwrap();
    (
        worker.is_stream_up(),
        worker.is_heard(now),
        worker.is_lease_valid(now),
    )
}

#[test]
fn silent_process_behind_an_open_stream_is_told_apart_from_one_whose_stream_broke() {
    let mut fleet = empty_fleet();
    let worker = dial(&mut fleet, hello("w", 1), at(0));
    assert_eq!(facts(&fleet, at(9)), (true, true, true));
    assert_eq!(facts(&fleet, at(12)), (true, false, true));
    assert_eq!(facts(&fleet, at(15)), (true, false, false));

    worker.heard.note(at(13));
    fleet.close(&worker_name("w"), worker.session, at(14));

    assert_eq!(facts(&fleet, at(14)), (false, true, true));
    assert_eq!(facts(&fleet, at(24)), (false, false, true));
    assert_eq!(facts(&fleet, at(28)), (false, false, false));
}

#[test]
fn stream_of_a_worker_that_is_played_by_hand_is_all_that_is_heard_of_it() {
    let mut fleet = empty_fleet();
    let worker = dial(&mut fleet, manual("w", 1), at(0));
    assert_eq!(facts(&fleet, at(5_000)), (true, true, true));

    fleet.close(&worker_name("w"), worker.session, at(5_000));

    assert_eq!(facts(&fleet, at(5_001)), (false, false, true));
    assert_eq!(facts(&fleet, at(5_600)), (false, false, false));
}

fn fence(task: u64) -> Fence {
    Fence {
        epoch: Epoch(1),
        team: TeamUid(1),
        task: TaskId(task),
        attempt: AttemptNumber(1),
    }
}

#[test]
fn progress_is_no_sign_of_life_and_a_sign_of_life_no_progress() {
    let heard = Heard::at(at(1));

    heard.note_progress(&fence(1), None, at(5));
    heard.note(at(7));

    assert_eq!(heard.last(), at(7));
    assert_eq!(heard.progress(&fence(1)).unwrap().at, at(5));
    assert_eq!(heard.progress(&fence(2)), None);
}

#[test]
fn what_a_sub_agent_does_stays_until_it_says_something_else_and_over_a_reconnect() {
    let heard = Heard::at(at(1));
    let doing = |heard: &Heard| heard.progress(&fence(1)).unwrap().doing.to_string();

    heard.note_progress(&fence(1), Some("Writing SQL"), at(2));
    heard.note_progress(&fence(1), None, at(3));
    assert_eq!(doing(&heard), "Writing SQL");
    let again = heard.again(at(4));
    assert_eq!(doing(&again), "Writing SQL");
    again.note_progress(&fence(1), Some(""), at(5));
    assert_eq!(doing(&again), "");

    again.forget(&fence(1));
    assert_eq!(again.progress(&fence(1)), None);
}

#[test]
fn what_a_sub_agent_says_that_it_does_is_one_line_of_bounded_length() {
    let said = |text: &str| {
        let heard = Heard::at(at(1));
        heard.note_progress(&fence(1), Some(text), at(1));
        heard.progress(&fence(1)).unwrap().doing.to_string()
    };

    assert_eq!(said(" two\nlines\u{1b}[31m\t"), "two lines [31m");
    let longest = "x".repeat(DOING_LEN_MAX);
    assert_eq!(said(&longest), longest);
    let longer = said(&"x".repeat(DOING_LEN_MAX + 1));
    assert_eq!(longer, format!("{}…", "x".repeat(DOING_LEN_MAX - 3)));
    let wide = said(&"é".repeat(DOING_LEN_MAX));
    assert_eq!(wide, format!("{}…", "é".repeat(248)));
}
