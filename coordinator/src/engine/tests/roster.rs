//! Teams, members and who of them is there.

use board::{
    command::{CreateTeam, NewMember, Removal},
    id::{MemberName, TeamName},
    team::MemberKind,
};

use super::*;
use crate::engine::{Liveness, MemberView, Page, TeamPlace, TeamView};

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn named(name: &str) -> MemberName {
    MemberName::parse(name).unwrap()
}

fn new_member(name: &str, kind: MemberKind) -> NewMember {
    NewMember {
        name: named(name),
        kind,
        role: "".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: Some(shell()),
        model: "".into(),
        plan_required: false,
    }
}

fn add(name: &str, kind: MemberKind) -> Wish {
    Wish::AddMember(team(), new_member(name, kind))
}

fn team_of(name: &str) -> Wish {
    Wish::CreateTeam(CreateTeam {
        weight: None,
        max_running: 0,
        name: TeamName::parse(name).unwrap(),
        description: "".into(),
        lead: named("lead"),
        lead_role: "".into(),
        members: Vec::new(),
        verification_threshold: None,
        idle_notices: false,
    })
}

fn dissolve(name: &str) -> Wish {
    Wish::DissolveTeam(TeamName::parse(name).unwrap(), Removal::default())
}

fn by(name: &str) -> Caller {
    Caller {
        member: Some(named(name)),
        ..Caller::default()
    }
}

impl World {
    fn members(&mut self, with_gone: bool) -> Vec<MemberView> {
        let mut page = self.read(move |reader| reader.members(&team(), None, 100, with_gone));
        self.flush();
        page.try_recv().unwrap().unwrap().items
    }

    fn member(&mut self, name: &str) -> MemberView {
        let members = self.members(true);
        let mut members = members.into_iter();
        members
            .find(|view| view.member.name == named(name))
            .unwrap()
    }

    fn liveness(&mut self, name: &str) -> Liveness {
        self.member(name).living.liveness
    }

    fn teams(
        &mut self,
        after: Option<TeamPlace>,
        size: usize,
        with_dissolved: bool,
    ) -> Page<TeamView, TeamPlace> {
        let mut page = self.read(move |reader| reader.teams(after, size, with_dissolved));
        self.flush();
        page.try_recv().unwrap()
    }

    /// Lets time pass in steps in which nobody is missed who should not be.
    fn pass_in_steps(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            let next = self.engine.next_deadline(self.now);
            let next = next.unwrap_or(until).max(self.now + secs(1));
            self.now = next.min(until);
            self.flush();
        }
    }
}

/// W1.
#[test]
fn a_worker_that_is_away_for_an_hour_is_a_member_no_more() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.completed(&worker, fence, "r").unwrap();
    assert_eq!(world.liveness("w"), Liveness::Idle);
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.flush();
    assert_eq!(world.liveness("w"), Liveness::Unreachable);

    world.pass_in_steps(minutes(59));
    let still = world.member("w");
    world.pass_in_steps(minutes(2));
    let gone = world.member("w");

    assert_eq!(still.member.left_at, None);
    assert_eq!(still.living.liveness, Liveness::Gone);
    assert_eq!(still.living.reason, "its process is not connected");
    assert!(gone.member.left_at.is_some());
    assert_eq!(gone.living.reason, "it left");
    assert_eq!(world.members(false).len(), 1, "the lead alone");
}

#[test]
fn a_worker_that_comes_back_within_the_hour_stays() {
    let mut world = World::new();
    world.called(team_of("u")).unwrap();
    let serving = Hello {
        teams: Some(vec![team(), TeamName::parse("u").unwrap()]),
        ..hello("w", 1)
    };
    let worker = world.dial(serving.clone());
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.pass_in_steps(minutes(50));

    let worker = world.dial(Hello {
        instance: InstanceId(2),
        ..serving
    });
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.pass_in_steps(minutes(50));

    assert_eq!(world.member("w").member.left_at, None);
    world.pass_in_steps(minutes(12));
    let serving = world.engine.board().serving();
    assert_eq!(serving.len(), 0, "it left both");
}

/// Who was there before can't be known.
#[test]
fn the_hour_begins_anew_with_the_coordinator() {
    let mut world = World::new();
    let worker = world.dial(Hello {
        teams: Some(vec![team()]),
        ..hello("w", 1)
    });
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.pass_in_steps(minutes(50));

    let mut world = world.restart();
    world.pass_in_steps(minutes(60));
    let still = world.member("w").member.left_at;
    world.pass_in_steps(minutes(2));

    assert_eq!(still, None);
    assert!(world.member("w").member.left_at.is_some());
}

#[test]
fn calls_and_looks_of_a_member_are_seen_also_those_without_a_name() {
    let mut world = World::new();
    world.called(add("alice", MemberKind::Agent)).unwrap();
    let added = world.now;
    world.pass(secs(10));

    assert_eq!(world.member("alice").living.seen_at, None);
    assert_eq!(world.member("team-lead").living.seen_at, Some(added));
    world.read(|reader| reader.hear(&team(), &by("alice")));
    world.flush();
    assert_eq!(world.member("alice").living.seen_at, Some(world.now));
    world.pass(secs(10));
    world.read(|reader| reader.hear(&team(), &Caller::default()));
    world.flush();
    assert_eq!(world.member("team-lead").living.seen_at, Some(world.now));
    let mut world = world.restart();
    assert_eq!(world.member("alice").living.seen_at, None);
}

#[test]
fn a_stranger_and_an_earlier_incarnation_are_refused_a_look_and_are_not_seen() {
    let mut world = World::new();
    let alice = add("alice", MemberKind::Agent);
    world.called(alice.clone()).unwrap();
    world.read(|reader| reader.hear(&team(), &by("alice")));
    let remove = Wish::RemoveMember(team(), named("alice"), Removal::default());
    world.called(remove).unwrap();
    world.called(alice).unwrap();

    let first = Caller {
        incarnation: Some(1),
        ..by("alice")
    };
    let mut heard = world.read(move |reader| {
        let callers = [first, by("mallory")];
        callers.map(|caller| {
            let all = Wanted {
                filter: ListFilter::default(),
                order: listing::Order::Id,
                after: None,
                size: 10,
            };
            let listed = reader.tasks(&team(), &all, &caller).map(drop);
            assert_eq!(reader.hear(&team(), &caller), listed);
            listed.unwrap_err()
        })
    });
    world.flush();
    let [earlier, stranger] = heard.try_recv().unwrap();
    assert!(matches!(
        earlier,
        Refusal::IncarnationStale { present: 2, .. }
    ));
    assert!(matches!(stranger, Refusal::MemberUnknown { .. }));

    assert_eq!(world.member("alice").living.seen_at, None);
    assert_eq!(world.member("alice").member.incarnation.0, 2);
}

/// W1: it is told which member has its name, and in which team. Who holds attempts goes on with them.
#[test]
fn a_worker_whose_name_a_member_of_its_team_has_is_refused_by_name() {
    let mut world = World::new();
    world.called(add("w", MemberKind::Agent)).unwrap();
    let to_join = |held| Hello {
        teams: Some(vec![team()]),
        held,
        ..hello("w", 1)
    };

    let refused = world.try_dial(to_join(vec![])).map(|_| ()).unwrap_err();

    let taken = HelloRefused::NameInTeam {
        name: board::id::WorkerName::parse("w").unwrap(),
        team: team(),
        kind: "agent",
    };
    assert_eq!(refused, taken);
    assert!(world.engine.fleet.workers().next().is_none());
    // It serves any team without being a member of each.
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.try_dial(to_join(vec![fence])).unwrap();
    assert_eq!(world.member("w").member.kind, MemberKind::Agent);
    // One that is a member in its own name comes back to its teams.
    let named = Hello {
        name: board::id::WorkerName::parse("v").unwrap(),
        ..to_join(vec![])
    };
    let named = Hello {
        instance: InstanceId(2),
        ..named
    };
    world.dial(named.clone());
    world.dial(named);
    assert_eq!(world.member("v").member.kind, MemberKind::Worker);
}

/// T5: from the first word of its sub-agent to the silence of its worker.
#[test]
fn a_hosted_member_is_seen_through_its_worker() {
    let mut world = World::new();
    world.called(add("hana", MemberKind::Hosted)).unwrap();
    let mut worker = world.dial(Hello {
        manual: true,
        ..hello("w", 1)
    });
    assert_eq!(world.liveness("hana"), Liveness::Idle);
    let task = NewTask {
        owner: Some(named("hana")),
        prompt: "true".into(),
        ..plain()
    };
    world.called(create([task])).unwrap();
    let fence = worker.assigned().fence;
    assert_eq!(world.member("hana").living.reason, "prepares #1");

    world.started(&worker, fence).unwrap();
    world.pass(minutes(3));
    worker.welcome.heard.note_progress(&fence, None, world.now);
    let progress_at = world.now;
    world.pass(minutes(3));
    let working = world.member("hana");
    world.pass(minutes(3));
    let stalled = world.member("hana");
    world.take(Input::Fleet(FleetInput::Closed(worker.from.clone())));
    world.flush();

    assert_eq!(working.living.liveness, Liveness::Working);
    assert_eq!(working.living.progress_at, Some(progress_at));
    assert_eq!(working.tasks, [TaskId(1)]);
    assert_eq!(stalled.living.liveness, Liveness::Stalled);
    assert_eq!(stalled.living.reason, "no progress of #1 for 360 s");
    assert_eq!(world.liveness("w"), Liveness::Unreachable);
    assert_eq!(world.liveness("hana"), Liveness::Unreachable);
}

/// The same process on another stream: what it did meanwhile is not known, what it did before is.
#[test]
fn progress_is_remembered_over_a_reconnect() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();
    worker.welcome.heard.note_progress(&fence, None, world.now);
    let progress_at = world.now;
    world.pass(secs(5));

    let again = Hello {
        held: vec![fence],
        ..hello("w", 1)
    };
    let worker = world.dial(again);

    assert_eq!(world.member("w").living.progress_at, Some(progress_at));
    worker.welcome.heard.forget(&fence);
    let started_at = world.task(1).task.placement().unwrap().started_at;
    assert_eq!(world.member("w").living.progress_at, started_at);
}

#[test]
fn teams_are_listed_by_name_and_tombstones_where_wished() {
    let mut world = World::new();
    for name in ["b", "a", "b"] {
        world.called(team_of(name)).unwrap();
        world.called(dissolve(name)).unwrap();
    }
    world.called(team_of("b")).unwrap();
    let places = |page: Page<TeamView, TeamPlace>| {
        let place = |view: &TeamView| (view.team.name.to_string(), view.team.uid.0);
        let places: Vec<_> = page.items.iter().map(place).collect();
        (places, page.next)
    };
    let place = |name: &str, uid| (name.to_owned(), uid);

    let open = places(world.teams(None, 10, false));
    let (all, next) = places(world.teams(None, 3, true));
    let rest = places(world.teams(next, 3, true));

    assert_eq!(open, (vec![place("b", 5), place("default", 1)], None));
    assert_eq!(all, [place("a", 3), place("b", 2), place("b", 4)]);
    assert_eq!(rest, (vec![place("b", 5), place("default", 1)], None));
}

#[test]
fn a_team_that_is_over_is_told_until_another_has_its_name() {
    let mut world = World::new();
    world.called(team_of("u")).unwrap();
    world.called(dissolve("u")).unwrap();
    let look = |world: &mut World| {
        let mut view = world.read(|reader| reader.team(&TeamName::parse("u").unwrap()));
        world.flush();
        view.try_recv().unwrap().unwrap()
    };

    let over = look(&mut world);
    world.called(team_of("u")).unwrap();
    let new = look(&mut world);

    assert_eq!((over.team.uid, over.team.is_open()), (TeamUid(2), false));
    assert_eq!((new.team.uid, new.team.is_open()), (TeamUid(3), true));
    assert_eq!(over.oldest, Revision(1));
}

#[test]
fn a_tombstone_is_forgotten_and_who_was_in_it() {
    let mut world = World::new();
    world.called(team_of("u")).unwrap();
    world.called(dissolve("u")).unwrap();

    world.pass_in_steps(secs(3_600));

    assert!(world.engine.board().team(TeamUid(2)).is_none());
    assert_eq!(world.teams(None, 10, true).items.len(), 1);
    let world = world.restart();
    assert!(world.engine.board().team(TeamUid(2)).is_none());
}

#[test]
fn members_are_paged_by_name_with_those_who_left_where_wished() {
    let mut world = World::new();
    for name in ["dave", "alice", "carol", "bob"] {
        world.called(add(name, MemberKind::Agent)).unwrap();
    }
    let remove = Wish::RemoveMember(team(), named("bob"), Removal::default());
    world.called(remove).unwrap();
    let mut page = |after: Option<MemberName>, with_gone| {
        let look = move |reader: &mut Reader<'_>| {
            reader
                .members(&team(), after.as_ref(), 2, with_gone)
                .unwrap()
        };
        let mut page = world.read(look);
        world.flush();
        let page = page.try_recv().unwrap();
        let names = page.items.iter().map(|view| view.member.name.to_string());
        (names.collect::<Vec<_>>(), page.next)
    };

    let (first, next) = page(None, false);
    let (second, end) = page(next, false);
    let (with_gone, _) = page(None, true);

    assert_eq!(
        (first, second),
        (
            vec!["alice".to_owned(), "carol".to_owned()],
            vec!["dave".to_owned(), "team-lead".to_owned()],
        )
    );
    assert_eq!(end, None);
    assert_eq!(with_gone, ["alice", "bob"]);
}
