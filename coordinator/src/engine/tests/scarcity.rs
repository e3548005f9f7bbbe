//! What is done while the disk is nearly full, and when it is not any more.

use board::{
    command::{Ack, Addressees, ClaimNext, CreateTeam, NewLetter, Removal},
    mail::MailKind,
};

use super::*;
use crate::disk::Room;

fn low(world: &mut World, is_low: bool) {
    room(world, if is_low { Room::Low } else { Room::Ample });
}

fn room(world: &mut World, room: Room) {
    let gauge = DiskGauge::default();
    gauge.set(room);
    world.engine.watch_disk(gauge);
    world.engine.look_at_disk(world.now);
}

fn is_refused(reply: &CallReply) -> bool {
    matches!(reply, Err(refused) if refused.refusal == Refusal::DiskLow)
}

#[test]
fn what_makes_no_room_is_refused_and_looking_is_not() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();
    low(&mut world, true);

    let lead = || MemberName::parse(DEFAULT_LEAD).unwrap();
    let wishes = [
        Wish::CreateTeam(CreateTeam {
            weight: None,
            max_running: 0,
            name: TeamName::parse("red").unwrap(),
            description: "".into(),
            lead: lead(),
            lead_role: "".into(),
            members: Vec::new(),
            verification_threshold: None,
            idle_notices: false,
        }),
        create([plain()]),
        update(1, Update::default()),
        update(
            1,
            Update {
                status: Some(Status::InProgress),
                ..Update::default()
            },
        ),
        Wish::UpdateTasks(
            team(),
            vec![(TaskId(1), ended()), (TaskId(1), Update::default())],
        ),
        Wish::ClaimTask(team(), TaskId(1), None, None),
        Wish::ClaimNext(team(), ClaimNext::default()),
        Wish::PauseTask(team(), TaskId(1), "".into()),
        Wish::ResumeTask(team(), TaskId(1)),
        Wish::ReopenTask(team(), TaskId(1), None, "why".into()),
        Wish::HandOverLead(team(), lead()),
        Wish::RemoveMember(team(), lead(), Removal::default()),
        Wish::SendMessage(
            team(),
            Box::new(NewLetter {
                to: Addressees::Everybody,
                kind: MailKind::Text,
                text: "hello".into(),
                summary: "".into(),
                payload: "".into(),
                correlation: "".into(),
                approve: None,
                task: None,
                timeout: None,
            }),
        ),
    ];
    for wish in wishes {
        let reply = world.called(wish.clone());
        assert!(is_refused(&reply), "{wish:?}: {reply:?}");
    }
    assert_eq!(world.status(1), Status::Pending);
}

fn ended() -> Update {
    Update {
        status: Some(Status::Completed),
        ..Update::default()
    }
}

#[test]
fn what_ends_or_takes_away_is_done() {
    let mut world = World::new();
    world.called(create(vec![plain(); 5])).unwrap();
    for task in [1, 2, 3] {
        let claim = Wish::ClaimTask(team(), TaskId(task), None, None);
        world.called(claim).unwrap();
    }
    low(&mut world, true);

    let wishes = [
        update(1, ended()),
        Wish::UpdateTasks(team(), vec![(TaskId(2), ended())]),
        Wish::RenewClaim(team(), TaskId(3), None),
        Wish::ReleaseTask(team(), TaskId(3), None, "".into()),
        cancel(4),
        Wish::DeleteTask(team(), TaskId(5), None),
        Wish::AckMessages(team(), Ack::default()),
    ];
    for wish in wishes {
        let reply = world.called(wish.clone());
        assert!(!is_refused(&reply), "{wish:?}: {reply:?}");
    }

    let statuses = [1, 2, 3, 4].map(|task| world.status(task));
    let expected = [
        Status::Completed,
        Status::Completed,
        Status::Pending,
        Status::Cancelled,
    ];
    assert_eq!(statuses, expected);
}

#[test]
fn a_request_that_was_done_before_is_answered_again() {
    let mut world = World::new();
    let id = Some(request(1, 1));
    world.called_as(create([plain()]), id).unwrap();
    low(&mut world, true);

    assert!(world.called_as(create([plain()]), id).is_ok());
    assert!(is_refused(
        &world.called_as(create([plain()]), Some(request(2, 2)))
    ));
}

#[test]
fn nothing_is_given_to_workers_until_there_is_room_and_what_they_end_is_taken() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let first = worker.assigned().fence;
    world.called(create([delegated()])).unwrap();
    let second = worker.assigned().fence;
    world.called(create([delegated()])).unwrap();
    low(&mut world, true);

    world.completed(&worker, first, "done").unwrap();

    assert_eq!(world.status(1), Status::Completed);
    assert!(worker.is_left_alone());
    let waiting = world.task(3);
    let reason = &waiting.phase_reason;
    assert!(reason.starts_with("DISK_LOW"), "{reason}");

    low(&mut world, false);
    world.flush();
    assert_eq!(worker.assigned().fence.task, TaskId(3));
    world.completed(&worker, second, "done").unwrap();
}

#[test]
fn a_full_disk_takes_nothing_and_what_was_refused_is_taken_when_there_is_room() {
    let mut world = World::new();
    let worker = &mut world.dial(hello("w", 1));
    world
        .called(create([delegated(), plain(), plain()]))
        .unwrap();
    let fence = worker.assigned().fence;
    let claim = |task| Wish::ClaimTask(team(), TaskId(task), None, None);
    world.called(claim(2)).unwrap();
    let commits = world.engine.commits;
    room(&mut world, Room::None);

    let renewal = Wish::RenewClaim(team(), TaskId(2), None);
    for wish in [
        update(2, ended()),
        cancel(3),
        Wish::AckMessages(team(), Ack::default()),
        renewal.clone(),
    ] {
        let reply = world.called(wish.clone());
        assert!(is_refused(&reply), "{wish:?}: {reply:?}");
    }
    let report = world.completed(worker, fence, "done");
    assert_eq!(report, Err(Refusal::DiskLow));
    assert!(!world.engine.sweep(world.now).unwrap());
    assert_eq!(world.engine.next_deadline(world.now), None);
    assert_eq!(world.engine.commits, commits, "nothing was written");

    room(&mut world, Room::Low);
    world.completed(worker, fence, "done").unwrap();
    assert_eq!(world.status(1), Status::Completed);
    world.called(renewal).unwrap();
}

#[test]
fn no_attempt_and_no_claim_ends_while_the_disk_is_full() {
    let mut world = World::new();
    let worker = &mut world.dial(hello("w", 1));
    world.called(create([delegated(), plain()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(worker, fence).unwrap();
    let claim = Wish::ClaimTask(team(), TaskId(2), None, None);
    world.called(claim).unwrap();
    room(&mut world, Room::None);

    world.pass(secs(24 * 3_600));
    world.flush();

    assert_eq!(world.status(1), Status::InProgress);
    assert_eq!(world.status(2), Status::InProgress);
    worker.welcome.heard.note(world.now);
    room(&mut world, Room::Low);
    world.flush();
    assert_eq!(world.status(1), Status::InProgress, "its worker was heard");
    assert_eq!(world.status(2), Status::InProgress, "its holder may renew");
    let renewal = Wish::RenewClaim(team(), TaskId(2), None);
    world.called(renewal).unwrap();
    world.pass(secs(11));
    worker.welcome.heard.note(world.now);
    world.flush();
    assert_eq!(world.status(2), Status::InProgress);
}

#[test]
fn a_worker_that_only_goes_on_is_welcome_on_a_full_disk_and_others_wait() {
    let mut world = World::new();
    let worker = &mut world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(worker, fence).unwrap();
    room(&mut world, Room::None);

    let holding = Hello {
        held: vec![fence],
        ..hello("w", 1)
    };
    let again = world.try_dial(holding.clone()).unwrap();

    assert!(again.welcome.verdicts[0].keep);
    for other in [hello("w", 1), hello("x", 3)] {
        assert_eq!(world.try_dial(other).err(), Some(HelloRefused::DiskFull));
    }
    room(&mut world, Room::Low);
    world.try_dial(hello("x", 3)).unwrap();
}
