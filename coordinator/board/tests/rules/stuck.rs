//! What waits in vain (D5).

use board::{
    command::{FleetCommand, NewTask, Removal, Wish},
    decide::note_stuck,
    event::Actor,
    id::TaskId,
    record::Record,
    stuck::{Stuck, asking, stuck},
    task::{BlockerFailedPolicy, Status},
    team::MemberKind,
};

use crate::support::*;

/// A team of the lead alone, with these tasks.
fn alone(tasks: &[NewTask]) -> Script {
    let mut script = Script::new();
    for who in ["alice", "bob", "hana", "hugo"] {
        let gone = Wish::RemoveMember(t(), name(who), Removal::default());
        script.by(LEAD, gone).unwrap();
    }
    script.read(LEAD);
    script.create(LEAD, tasks).unwrap();
    script
}

/// Why the lead waits in vain for these; empty where it doesn't.
#[track_caller]
fn vain(script: &Script, awaited: impl IntoIterator<Item = u64>) -> Vec<String> {
    vain_for(script, &by(LEAD), awaited)
}

fn vain_for(
    script: &Script,
    waiter: &Actor,
    awaited: impl IntoIterator<Item = u64>,
) -> Vec<String> {
    let found = stuck(&script.board, TEAM, waiter, &ids(awaited));
    let line = |stuck: &Stuck| format!("#{} {}", stuck.task, stuck.because);
    found.iter().map(line).collect()
}

const GETS_ON: [&str; 0] = [];

fn pause(script: &mut Script, task: u64, reason: &str) {
    let pause = Wish::PauseTask(t(), TaskId(task), reason.into());
    script.by(LEAD, pause).unwrap();
}

fn ask(script: &mut Script, task: u64) {
    let (fence, instance) = script.running(task);
    script.fleet(FleetCommand::Asked {
        fence,
        instance,
        number: 1,
        text: "which one?".into(),
        timeout: None,
    });
}

#[test]
fn a_task_gets_on_as_long_as_a_worker_has_it_or_is_to_have_it() {
    let mut script = alone(&[job("a")]);
    assert_eq!(
        vain(&script, [1]),
        GETS_ON,
        "queued, though no worker is there"
    );
    script.dispatch(1, "w1");
    assert_eq!(vain(&script, [1]), GETS_ON, "prepared");
    script.start(1, None);
    assert_eq!(vain(&script, [1]), GETS_ON, "run");
    script.hand_back(1, "too hot");
    assert_eq!(vain(&script, [1]), GETS_ON, "backing off");
    script.until_due();
    script.dispatch(1, "w1");
    script.cancel(LEAD, 1, "so").unwrap();
    assert_eq!(vain(&script, [1]), GETS_ON, "being stopped");
}

#[test]
fn a_held_task_is_stuck_for_the_reason_of_its_hold() {
    let mut script = alone(&[job("a"), job("b")]);
    pause(&mut script, 1, "the model is down\nsince noon");
    pause(&mut script, 2, "");

    let because = [
        "#1 is held: the model is down",
        "#2 is held: paused by lead",
    ];
    assert_eq!(vain(&script, [1, 2]), because);
}

#[test]
fn a_card_gets_on_while_another_agent_may_claim_it() {
    let cards = [
        card("a"),
        owned_by("alice", card("b")),
        owned_by(LEAD, card("c")),
    ];
    let script = Script::given(&cards);

    assert_eq!(vain(&script, [1]), GETS_ON);
    assert_eq!(vain(&script, [2]), GETS_ON);
    assert_eq!(vain(&script, [3]), ["#3 waits to be claimed by lead"]);
    let alice = by("alice");
    assert_eq!(vain_for(&script, &alice, [1]), GETS_ON, "bob may");
    let own = ["#2 waits to be claimed by alice"];
    assert_eq!(vain_for(&script, &alice, [2]), own);
}

#[test]
fn a_card_that_only_the_lead_could_claim_is_stuck() {
    let mut script = alone(&[card("a")]);
    assert_eq!(vain(&script, [1]), ["#1 waits to be claimed"]);
    // Nor does somebody else than the lead wait with more hope.
    let worker = Actor::Task(TaskId(9));
    assert_eq!(vain_for(&script, &worker, [1]), ["#1 waits to be claimed"]);

    script.claim(LEAD, 1).unwrap();

    let own = ["#1 is claimed by lead, who waits"];
    assert_eq!(vain(&script, [1]), own);
    assert_eq!(vain_for(&script, &worker, [1]), GETS_ON);
}

#[test]
fn what_waits_for_others_gets_on_if_all_of_them_do() {
    let tasks = [
        job("a"),
        card("b"),
        waits_for([1], job("c")),
        waits_for([1, 2], job("d")),
        waits_for([3, 4], job("e")),
    ];
    let mut script = alone(&tasks);

    assert_eq!(vain(&script, [3]), GETS_ON);
    let direct = "#4 waits for #2, which waits to be claimed";
    assert_eq!(vain(&script, [4]), [direct]);
    let far = "#5 waits for #4, and so in the end for #2, which waits to be claimed";
    assert_eq!(vain(&script, [5, 4]), [far, direct]);
    // One that gets on is enough to wait for.
    assert_eq!(vain(&script, [5, 4, 3]), GETS_ON);
    script.set(LEAD, 2, Status::Completed).unwrap();
    assert_eq!(vain(&script, [5, 4]), GETS_ON);
}

#[test]
fn a_failed_blocker_holds_back_for_good_unless_its_dependant_proceeds() {
    let proceeds = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Proceed,
        ..waits_for([1], job("c"))
    };
    let mut script = alone(&[card("a"), waits_for([1], job("b")), proceeds, card("d")]);
    script.set(LEAD, 1, Status::Failed).unwrap();
    script.update(LEAD, 4, Default::default()).unwrap();

    assert_eq!(vain(&script, [2]), ["#2 waits for #1, which failed"]);
    assert_eq!(vain(&script, [3]), GETS_ON);
    // It may be in memory in outline only.
    script.board.outline(key(1));
    assert_eq!(vain(&script, [2]), ["#2 waits for #1, which failed"]);
    // What is over is not waited for.
    assert_eq!(vain(&script, [1]), GETS_ON);
    script.cancel(LEAD, 4, "so").unwrap();
    let mut more = script;
    more.create(LEAD, &[waits_for([4], job("e"))]).unwrap();
    let cancelled = ["#5 waits for #4, which was cancelled"];
    assert_eq!(vain(&more, [5]), cancelled);
}

#[test]
fn who_asks_is_told_as_that_and_holds_back_who_waits_for_it() {
    let mut script = alone(&[job("a"), waits_for([1], job("b"))]);
    script.dispatch(1, "w1");
    script.start(1, None);
    assert_eq!(asking(&script.board, TEAM, &ids([1, 2, 9])), []);
    ask(&mut script, 1);

    assert_eq!(asking(&script.board, TEAM, &ids([1, 2, 9])), ids([1]));
    assert_eq!(vain(&script, [1]), GETS_ON, "its question says so");
    let because = ["#2 waits for #1, which has asked, and waits for an answer"];
    assert_eq!(vain(&script, [2]), because);
    assert_eq!(vain(&script, [1, 2]), because);
}

#[test]
fn a_long_chain_is_looked_through_without_recursion_and_no_further_than_may_be() {
    let mut script = alone(&[card("a")]);
    script.is_checked = false;
    let mut last = 1;
    for _ in 0..11 {
        let chain: Vec<NewTask> = (0..1_000)
            .map(|at| waits_for([last + at], job("x")))
            .collect();
        // Later ones of a batch name earlier ones by their place.
        for task in chain {
            script.create(LEAD, &[task]).unwrap();
        }
        last += 1_000;
    }

    let far = format!(
        "#{} waits for #{}, and so in the end for #1, which waits to be claimed",
        9_000, 8_999
    );
    assert_eq!(vain(&script, [9_000]), [far]);
    assert_eq!(vain(&script, [11_001]), GETS_ON);
}

#[test]
fn the_lead_is_told_in_one_message() {
    let mut script = alone(&[card("a"), card("b")]);
    let all = stuck(&script.board, TEAM, &by("bob"), &ids([1, 2]));

    let decision = note_stuck(&script.board, TEAM, &all, script.now);

    assert_eq!(decision.events, []);
    for record in &decision.records {
        script.board.install(record);
        script.shelf.keep(record);
    }
    script.check();
    let line = ["1 Text: #1 and 1 more can't get on"];
    assert_eq!(script.mailbox(LEAD), line);
    let letter = script.letter(1);
    let text = "Somebody waits for tasks that can't get on without you or a person:\n#1 waits to \
                be claimed\n#2 waits to be claimed";
    assert_eq!((&*letter.text, letter.task), (text, None));
    // Nothing to tell, or a team that is gone.
    let nothing = note_stuck(&script.board, TEAM, &[], script.now);
    assert_eq!(nothing.records, [] as [Record; 0]);
    let gone = note_stuck(&script.board, board::id::TeamUid(9), &all, script.now);
    assert_eq!(gone.records, [] as [Record; 0]);
}

#[test]
fn what_belongs_to_who_left_is_stuck_and_so_is_a_hosted_member_s_card_never() {
    let mut script = Script::given(&[owned_by("hana", card("a"))]);
    assert_eq!(vain(&script, [1]), GETS_ON);
    script
        .by(
            LEAD,
            Wish::RemoveMember(t(), name("hana"), Removal::default()),
        )
        .unwrap();
    // It is nobody's then, and an agent may take it.
    assert_eq!(vain(&script, [1]), GETS_ON);
    assert!(script.member("hana").kind == MemberKind::Hosted && script.task(1).owner.is_none());
}
