//! What sub-agents ask and are told, and who hears that somebody waits in vain.

use board::{
    event::Actor,
    stuck::Stuck,
    task::{Word, WordKind},
};

use super::*;

impl World {
    fn asked(&mut self, worker: &Worker, fence: Fence, number: u32) -> ReportReply {
        let (reply, mut answer) = oneshot::channel();
        self.take(Input::Fleet(FleetInput::Asked {
            from: worker.from.clone(),
            fence,
            number,
            text: "which one?".into(),
            timeout: None,
            reply,
        }));
        self.flush();
        answer.try_recv().unwrap()
    }

    fn heeded(&mut self, from: &From, fence: Fence, through: u32) {
        let heeded = FleetInput::Heeded(from.clone(), fence, through);
        self.take(Input::Fleet(heeded));
        self.flush();
    }

    fn waiting_words(&mut self) -> Vec<u32> {
        let task = self.task(1).task;
        let words = task.placement().unwrap().words.iter();
        words.map(|word| word.number).collect()
    }
}

impl Worker {
    /// What it is told to tell sub-agents, and nothing else.
    fn words(&mut self) -> Vec<(Fence, Word)> {
        let mut words = Vec::new();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Tell { fence, word } => words.push((fence, word)),
                other => panic!("no word: {other:?}"),
            }
        }
        words
    }
}

fn answer(text: &str) -> Wish {
    Wish::AnswerQuestion(team(), TaskId(1), None, text.into())
}

/// A world in which the first task's sub-agent runs.
fn at_work() -> (World, Worker, Fence) {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();
    (world, worker, fence)
}

/// The same process, dialling in again with what it holds.
fn again(fence: Fence) -> Hello {
    Hello {
        held: vec![fence],
        ..hello("w", 1)
    }
}

#[test]
fn answer_goes_out_when_it_is_durable_and_again_to_who_dials_in_until_it_is_heeded() {
    let (mut world, mut worker, fence) = at_work();
    world.asked(&worker, fence, 1).unwrap();
    let (reply, _) = oneshot::channel();
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish: answer("the new"),
    };
    world.take(Input::Call(Box::new(call), reply));
    assert!(worker.is_left_alone());
    world.flush();

    let word = Word {
        number: 1,
        kind: WordKind::Answer(1),
        text: "the new".into(),
        by: Actor::Member(MemberName::parse(DEFAULT_LEAD).unwrap()),
    };
    let told = vec![(fence, word)];
    assert_eq!(worker.words(), told);
    let mut world = world.restart();
    let mut worker = world.dial(again(fence));
    assert!(worker.welcome.verdicts[0].keep);
    assert_eq!(worker.words(), told);

    world.heeded(&worker.from, fence, 1);

    let mut worker = world.dial(again(fence));
    assert_eq!(worker.words(), []);
}

#[test]
fn words_are_not_repeated_to_who_is_to_stop() {
    let (mut world, mut worker, fence) = at_work();
    world.asked(&worker, fence, 1).unwrap();
    world.called(answer("the new")).unwrap();
    world.called(cancel(1)).unwrap();
    assert!(matches!(worker.orders.try_recv(), Ok(Order::Tell { .. })));
    assert_eq!(worker.stopped(), fence);

    let mut worker = world.dial(again(fence));

    assert_eq!(worker.stopped(), fence);
    assert!(worker.is_left_alone());
}

#[test]
fn what_was_heeded_counts_by_the_present_stream_alone() {
    let (mut world, worker, fence) = at_work();
    world.asked(&worker, fence, 1).unwrap();
    world.called(answer("the new")).unwrap();
    let old = worker.from;
    let worker = world.dial(again(fence));

    world.heeded(&old, fence, 1);
    assert_eq!(world.waiting_words(), [1]);
    // Of an attempt that is not its own it says nothing that matters.
    let other = Fence {
        attempt: fence.attempt.next(),
        ..fence
    };
    world.heeded(&worker.from, other, 1);
    assert_eq!(world.waiting_words(), [1]);
    world.heeded(&worker.from, fence, 1);
    assert_eq!(world.waiting_words(), [0; 0]);
}

#[test]
fn question_that_comes_again_after_a_restart_is_taken_as_the_same() {
    let (mut world, worker, fence) = at_work();
    world.asked(&worker, fence, 1).unwrap();

    let mut world = world.restart();
    let worker = world.dial(again(fence));

    assert_eq!(world.asked(&worker, fence, 1), Ok(()));
    let task = world.task(1);
    let phase = Some(board::view::Phase::WaitingForAnswer);
    assert_eq!(task.phase, phase);
    assert_eq!(task.task.placement().unwrap().questions, 1);
}

#[test]
fn lead_hears_of_each_situation_once() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();
    let lead = MemberName::parse(DEFAULT_LEAD).unwrap();
    let unread = |world: &World| world.engine.board().unread(TEAM, &lead);
    let stuck = vec![Stuck {
        task: TaskId(1),
        because: "waits to be claimed".into(),
    }];
    let note = |world: &mut World| {
        world.take(Input::NoteStuck(TEAM, stuck.clone()));
        world.flush();
    };

    note(&mut world);
    note(&mut world);
    assert_eq!(unread(&world), 1);

    // The same again after something has happened to it is another situation.
    let change = Update {
        subject: Some("think harder".into()),
        ..Update::default()
    };
    world.called(update(1, change)).unwrap();
    note(&mut world);
    assert_eq!(unread(&world), 2);
}

#[test]
fn so_many_situations_are_remembered_and_no_more() {
    let mut situations = Situations::default();

    let fresh = (0..=10_000).filter(|at| situations.note(*at));
    assert_eq!(fresh.count(), 10_001);

    assert!(!situations.note(10_000));
    assert!(situations.note(0));
}
