//! Walking a board's tasks (K11): from each place on, in each order, among each part of them, a
//! walk is what sorting all of them would give.

use std::collections::BTreeMap;

use board::{
    Board,
    board::Card,
    command::{NewTask, Wish},
    id::{TaskId, TeamUid},
    listing::{Among, At, Order},
    refusal::Refusal,
    task::{Priority, Status},
};
use proptest::{prelude::*, test_runner::Config};

use crate::{acts::act, support::*, world::World};

/// What a list is sorted by.
#[derive(Debug, Clone)]
struct Listed {
    id: TaskId,
    parent: Option<TaskId>,
    /// None for what is over.
    priority: Option<Priority>,
    is_ready: bool,
}

fn cards(board: &Board, team: TeamUid) -> Vec<Listed> {
    let card = |(id, card): (TaskId, &Card)| {
        let (parent, priority) = match card {
            Card::Whole(task) => (task.parent, task.end().is_none().then_some(task.priority)),
            Card::Outline(stub) => (stub.parent, None),
        };
        let view = board.view((team, id));
        Listed {
            id,
            parent,
            priority,
            is_ready: view.is_some_and(|view| view.is_ready()),
        }
    };
    board.cards_after(team, TaskId(0)).map(card).collect()
}

fn is_among(card: &Listed, among: Among) -> bool {
    match among {
        Among::All => true,
        Among::Open => card.priority.is_some(),
        Among::Ready => card.is_ready,
        Among::Children(parent) => card.parent == Some(parent),
    }
}

/// What lies below a task, each with how deep, before its own children.
fn below(cards: &[Listed], parent: Option<TaskId>, depth: u32) -> Vec<(TaskId, u32)> {
    let children = cards.iter().filter(|card| card.parent == parent);
    let families = children.flat_map(|card| {
        let mut family = vec![(card.id, depth)];
        family.extend(below(cards, Some(card.id), depth + 1));
        family
    });
    families.collect()
}

/// The whole list, by sorting everything.
fn sorted(cards: &[Listed], among: Among, order: Order) -> Vec<At> {
    let here = cards.iter().filter(|card| is_among(card, among));
    match order {
        Order::Id => here.map(|card| At::Id(card.id)).collect(),
        Order::Priority => {
            let mut here: Vec<&Listed> = here.collect();
            // None is less than any priority: what is over comes last.
            here.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.id.cmp(&b.id)));
            let at = |card: &Listed| match card.priority {
                Some(priority) => At::Open(priority, card.id),
                None => At::Over(card.id),
            };
            here.into_iter().map(at).collect()
        }
        Order::Tree => {
            let root = match among {
                Among::Children(root) => Some(root),
                _ => None,
            };
            let all = below(cards, root, 0).into_iter();
            all.map(|(id, _)| At::Id(id)).collect()
        }
    }
}

fn walked(board: &Board, team: TeamUid, among: Among, order: Order, after: Option<At>) -> Vec<At> {
    board.walk(team, among, order, after).unwrap().collect()
}

/// Where a place stands in the order by priority.
fn rank(at: At) -> (std::cmp::Reverse<Option<Priority>>, TaskId) {
    match at {
        At::Open(priority, id) => (std::cmp::Reverse(Some(priority)), id),
        At::Over(id) | At::Id(id) => (std::cmp::Reverse(None), id),
    }
}

fn check_lists(board: &Board, team: TeamUid) -> Result<(), TestCaseError> {
    let cards = cards(board, team);
    let last = board.team(team).map_or(TaskId(0), |team| team.last_task);
    let parents = (1..=last.0 + 1).map(|id| Among::Children(TaskId(id)));
    let parts = [Among::All, Among::Open, Among::Ready];
    for among in parts.into_iter().chain(parents) {
        for order in [Order::Id, Order::Priority, Order::Tree] {
            let whole = sorted(&cards, among, order);
            let from_start = walked(board, team, among, order, None);
            prop_assert_eq!(&from_start, &whole, "{:?} {:?}", among, order);
            for (at, place) in whole.iter().enumerate() {
                let rest = walked(board, team, among, order, Some(*place));
                prop_assert_eq!(&rest, &whole[at + 1..], "after {:?}", place);
            }
        }
        // Also from a place where nothing is, or nothing is any more.
        for id in 0..=last.0 + 2 {
            let after = At::Id(TaskId(id));
            let rest = walked(board, team, among, Order::Id, Some(after));
            let whole = sorted(&cards, among, Order::Id);
            let greater: Vec<At> = whole
                .into_iter()
                .filter(|at| at.task() > TaskId(id))
                .collect();
            prop_assert_eq!(rest, greater);
        }
        for after in [
            At::Open(Priority::High, TaskId(3)),
            At::Open(Priority::Low, last.next()),
            At::Over(TaskId(2)),
        ] {
            let rest = walked(board, team, among, Order::Priority, Some(after));
            let mut whole = sorted(&cards, among, Order::Priority);
            whole.retain(|at| rank(*at) > rank(after));
            prop_assert_eq!(rest, whole, "after {:?}", after);
        }
    }
    let depths: BTreeMap<TaskId, u32> = below(&cards, None, 0).into_iter().collect();
    for card in &cards {
        prop_assert_eq!(board.depth(team, card.id), depths[&card.id]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_walk_from_any_place_is_the_rest_of_the_sorted_list(
        acts in prop::collection::vec(act(), 1..60)
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        let board = &world.script.board;
        for team in board.teams_ever() {
            check_lists(board, team.uid)?;
            check_lists(&outlined(board), team.uid)?;
        }
    }
}

fn part_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

/// A tree of seven, two of them roots: 1(3(5, 6), 4(7)), 2.
fn tree() -> Script {
    let mut script = Script::given(&[card("a"), card("b")]);
    for parent in [1, 1, 3, 3, 4] {
        script.create(LEAD, &[part_of(parent, card("x"))]).unwrap();
    }
    script
}

fn ids_of(places: Vec<At>) -> Vec<u64> {
    places.into_iter().map(|at| at.task().0).collect()
}

#[test]
fn a_tree_tells_each_task_before_its_children() {
    let script = tree();
    let of = |among| ids_of(walked(&script.board, TEAM, among, Order::Tree, None));

    assert_eq!(of(Among::All), [1, 3, 5, 6, 4, 7, 2]);
    assert_eq!(of(Among::Children(TaskId(1))), [3, 5, 6, 4, 7]);
    assert_eq!(of(Among::Children(TaskId(5))), [0; 0]);
    let depths = [1, 3, 5, 7, 2].map(|id| script.board.depth(TEAM, TaskId(id)));
    assert_eq!(depths, [0, 1, 2, 2, 0]);
}

/// Nobody can tell where a task was that is there no more: the list says so, rather than end.
#[test]
fn a_tree_refuses_to_go_on_from_a_place_that_is_gone_or_elsewhere() {
    let mut script = tree();
    let delete = Wish::DeleteTask(t(), TaskId(6), None);
    script.by(LEAD, delete).unwrap();
    let from = |among, id: u64| {
        let walk = script
            .board
            .walk(TEAM, among, Order::Tree, Some(At::Id(TaskId(id))));
        walk.map(|walk| ids_of(walk.collect()))
    };
    let gone = |id: u64| {
        Err(Refusal::BadValue {
            field: "page_token",
            why: format!("names #{id}, which is in this tree no more: begin again"),
        })
    };

    assert_eq!(from(Among::All, 5), Ok(vec![4, 7, 2]));
    assert_eq!(from(Among::All, 6), gone(6));
    assert_eq!(from(Among::Children(TaskId(3)), 4), gone(4));
    assert_eq!(from(Among::Children(TaskId(3)), 3), Ok(vec![5]));
    let by_id = walked(
        &script.board,
        TEAM,
        Among::All,
        Order::Id,
        Some(At::Id(TaskId(6))),
    );
    assert_eq!(ids_of(by_id), [7]);
}

#[test]
fn open_tasks_come_by_priority_and_those_that_are_over_last() {
    let prior = |priority| NewTask {
        priority,
        ..card("x")
    };
    let mut script = Script::given(&[
        prior(Priority::Low),
        prior(Priority::Critical),
        prior(Priority::High),
        prior(Priority::Critical),
        prior(Priority::Normal),
        prior(Priority::High),
    ]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    script.set(LEAD, 1, Status::Failed).unwrap();
    let of =
        |script: &Script, among| ids_of(walked(&script.board, TEAM, among, Order::Priority, None));

    assert_eq!(of(&script, Among::All), [4, 3, 6, 5, 1, 2]);
    assert_eq!(of(&script, Among::Open), [4, 3, 6, 5]);
    script.claim("alice", 3).unwrap();
    assert_eq!(of(&script, Among::Ready), [4, 6, 5]);
    let reopen = Wish::ReopenTask(t(), TaskId(2), None, "again".into());
    script.by(LEAD, reopen).unwrap();
    assert_eq!(of(&script, Among::All), [2, 4, 3, 6, 5, 1]);
}

#[test]
fn a_team_that_is_not_there_has_no_tasks() {
    let board = Script::empty().board;
    for order in [Order::Id, Order::Priority, Order::Tree] {
        assert_eq!(walked(&board, TEAM, Among::All, order, None), []);
    }
}
