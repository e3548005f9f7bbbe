//! Changing what a task says of how, when and by what it is to be done (K2, K5, K13).

use std::time::Duration;

use board::{
    command::{Answer, CreateTeam, FleetCommand, NewTask, Update, Wish},
    id::{AttemptNumber, Digest, Revision, TaskId},
    refusal::Refusal,
    task::{
        Artifact, BlockerFailedPolicy, FailurePolicy, Priority, Retry, Status, StopReason, TaskKind,
    },
    time::Time,
};

use crate::support::*;

fn change(change: impl FnOnce(&mut Update)) -> Update {
    let mut update = Update::default();
    change(&mut update);
    update
}

fn output(path: &str, digest: u8) -> Artifact {
    Artifact {
        digest: Digest([digest; 32]),
        path: path.into(),
        size: 1,
    }
}

const RETRY: Retry = Retry {
    max_attempts: 3,
    initial_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(9),
};

/// All fields that say how a task is to be done, each with what it comes to.
fn all_fields() -> Update {
    Update {
        priority: Some(Priority::Critical),
        add_labels: vec!["b".into(), "c".into()],
        remove_labels: vec!["a".into()],
        agent_type: Some(Some(agent_type("shell"))),
        prompt: Some("true".into()),
        kind: Some(TaskKind::Verification),
        deadline: Some(Some(Time(9_000_000))),
        timeout: Some(secs(60)),
        blocker_failed_policy: Some(BlockerFailedPolicy::Cancel),
        failure_policy: Some(FailurePolicy::Pause),
        retry: Some(RETRY),
        add_outputs: vec![output("x", 1)],
        ..Update::default()
    }
}

#[test]
fn each_field_changes_and_is_named_and_the_same_again_leaves_no_trace() {
    let labels = vec!["a".into(), "b".into()];
    let mut script = Script::given(&[NewTask {
        labels,
        ..card("a")
    }]);

    let told = script.update(LEAD, 1, all_fields()).unwrap();
    let again = script.update(LEAD, 1, all_fields()).unwrap();

    told.is(&[
        "lead: #1 updated: priority, labels, agent_type, prompt, kind, deadline, timeout, \
         blocker_failed_policy, failure_policy, retry, outputs",
    ]);
    let task = script.task(1);
    assert_eq!(task.priority, Priority::Critical);
    assert_eq!(task.labels, ["b".into(), "c".into()]);
    assert_eq!(task.agent_type, Some(agent_type("shell")));
    assert_eq!(&*task.prompt, "true");
    assert_eq!(task.kind, TaskKind::Verification);
    assert_eq!(task.deadline, Some(Time(9_000_000)));
    assert_eq!(task.timeout, Some(secs(60)));
    assert_eq!(task.blocker_failed_policy, BlockerFailedPolicy::Cancel);
    assert_eq!(task.failure_policy, FailurePolicy::Pause);
    assert_eq!(task.retry.as_deref(), Some(&RETRY));
    assert_eq!(task.outputs, [output("x", 1)]);
    again.is(&[]);
    assert_eq!(again.decision.records, []);
}

#[test]
fn a_deadline_can_be_taken_away_again() {
    let mut script = Script::given(&[NewTask {
        deadline: Some(Time(1_000_001)),
        ..card("a")
    }]);

    script
        .update(LEAD, 1, change(|c| c.deadline = Some(None)))
        .unwrap()
        .is(&["lead: #1 updated: deadline"]);

    assert_eq!(script.next_deadline(), None);
}

#[test]
fn a_type_puts_a_task_into_its_queue_and_none_takes_it_out() {
    let mut script = Script::given(&[card("a")]);
    let of_type = |name: Option<&str>| change(|c| c.agent_type = Some(name.map(agent_type)));

    script.update(LEAD, 1, of_type(Some("coder"))).unwrap();
    assert_eq!(script.queued(), [1]);
    script.update(LEAD, 1, of_type(None)).unwrap();
    assert_eq!(script.queued(), []);
    script.claim("alice", 1).unwrap();
}

/// K13: no update leads to a task that could not have been made.
#[test]
fn how_a_task_is_run_is_checked_as_when_it_is_made() {
    let mut script = Script::new();
    script.join("w1");
    let shell = NewTask {
        agent_type: Some(agent_type("shell")),
        prompt: "true".into(),
        ..card("a")
    };
    script
        .create(LEAD, &[shell, owned_by("w1", job("b")), card("c")])
        .unwrap();
    let of_type = |name: Option<&str>| change(|c| c.agent_type = Some(name.map(agent_type)));
    let missing = Refusal::PromptMissing {
        agent_type: agent_type("shell"),
    };
    let unknown = Refusal::AgentTypeUnknown {
        agent_type: agent_type("wizard"),
        known: vec![known("coder"), known("shell")],
        now: script.now,
    };
    let no_type = Refusal::AgentTypeMissing { owner: name("w1") };
    let both = Update {
        prompt: Some("true".into()),
        ..of_type(Some("shell"))
    };

    let blanked = script.update(LEAD, 1, change(|c| c.prompt = Some(" ".into())));
    let nobodys = script.update(LEAD, 2, of_type(None));
    let no_prompt = script.update(LEAD, 3, of_type(Some("shell")));
    let nowhere = script.update(LEAD, 3, of_type(Some("wizard")));

    assert_eq!(blanked.unwrap_err(), missing);
    assert_eq!(nobodys.unwrap_err(), no_type);
    assert_eq!(no_prompt.unwrap_err(), missing);
    assert_eq!(nowhere.unwrap_err(), unknown);
    script.update(LEAD, 3, both).unwrap();
    assert_eq!(script.queued(), [1, 2, 3]);
}

#[test]
fn a_running_task_gets_another_type_only_by_being_stopped() {
    let mut script = Script::given(&[job("a")]);
    script.fleet(FleetCommand::OfferTypes(vec![offered("prover", "llm")]));
    script.dispatch(1, "w1");
    let another = |stop_running| Update {
        agent_type: Some(Some(agent_type("prover"))),
        stop_running,
        ..Update::default()
    };

    let refused = script.update(LEAD, 1, another(false));
    let prompt = script.update(LEAD, 1, change(|c| c.prompt = Some("next time".into())));
    let stopped = script.update(LEAD, 1, another(true));

    let running = Refusal::TaskRunning {
        task: TaskId(1),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };
    assert_eq!(refused.unwrap_err(), running);
    prompt.unwrap().is(&["lead: #1 updated: prompt"]);
    stopped.unwrap().is(&[
        "lead: #1 stop of attempt 1: is to be run as prover",
        "lead: #1 updated: agent_type",
        "> stop #1/1: is to be run as prover",
    ]);
    script
        .end(1, done("late"))
        .is(&["worker w1: #1 requeued after attempt 1: is to be run as prover"]);
    let queue = script.board.view(key(1)).unwrap().queue.unwrap();
    assert_eq!(queue.want.agent_type, agent_type("prover"));
}

#[test]
fn an_output_replaces_the_one_of_its_path_and_none_comes_late() {
    let mut script = Script::given(&[card("a")]);
    let with = |outputs: &[Artifact]| change(|c| c.add_outputs = outputs.to_vec());
    let first = [output("a", 1), output("b", 1)];
    script.update(LEAD, 1, with(&first)).unwrap();

    script.update(LEAD, 1, with(&[output("a", 2)])).unwrap();
    let in_one = Update {
        status: Some(Status::Completed),
        ..with(&[output("c", 1)])
    };
    script.update(LEAD, 1, in_one).unwrap();
    let late = script.update(LEAD, 1, with(&[output("d", 1)]));

    let over = Refusal::LateEnding {
        task: TaskId(1),
        status: Status::Completed,
    };
    assert_eq!(late.unwrap_err(), over);
    let kept = [output("b", 1), output("a", 2), output("c", 1)];
    assert_eq!(script.task(1).outputs, kept);
}

#[test]
fn the_reason_of_an_end_is_kept_as_its_error() {
    let ends = |status, result: Option<&str>, reason: Option<&str>| {
        let mut script = Script::given(&[card("a")]);
        let update = Update {
            status: Some(status),
            result: result.map(Into::into),
            reason: reason.map(Into::into),
            ..Update::default()
        };
        let told = script.update(LEAD, 1, update).unwrap();
        let task = script.task(1);
        let end = told.lines.iter().find(|line| line.contains('→')).unwrap();
        let [result, error] = [&task.result, &task.error].map(|text| text.to_string());
        let stop_reason = task.end().unwrap().stop_reason;
        (end.clone(), result, error, stop_reason)
    };
    let came = |end: &str, result: &str, error: &str, stop_reason| {
        let end = format!("lead: #1 pending → {end}");
        (end, result.to_string(), error.to_string(), stop_reason)
    };
    let (failed, cancelled) = (Status::Failed, Status::Cancelled);
    let called_off = Some(StopReason::Cancelled);

    let by_reason = ends(failed, None, Some("no luck"));
    let by_result = ends(failed, Some("no luck"), Some("never mind"));
    let off = ends(cancelled, None, Some("not needed"));
    let off_half_way = ends(cancelled, Some("half"), Some("not needed"));
    let done = ends(Status::Completed, Some("all"), Some("why not"));

    assert_eq!(by_reason, came("failed: no luck", "", "no luck", None));
    assert_eq!(by_result, came("failed: no luck", "", "no luck", None));
    let not_needed = "cancelled: not needed";
    assert_eq!(off, came(not_needed, "", "not needed", called_off));
    assert_eq!(
        off_half_way,
        came(not_needed, "half", "not needed", called_off)
    );
    assert_eq!(done, came("completed", "all", "", None));
}

fn policy(policy: BlockerFailedPolicy) -> Update {
    change(|c| c.blocker_failed_policy = Some(policy))
}

fn with_policy(policy: BlockerFailedPolicy, task: NewTask) -> NewTask {
    NewTask {
        blocker_failed_policy: policy,
        ..waits_for([1], task)
    }
}

fn unblocked(answer: &Answer) -> Vec<TaskId> {
    match answer {
        Answer::Updated(updated) => updated.unblocked.clone(),
        other => panic!("{other:?}"),
    }
}

/// K5: a policy that comes when a blocker failed long ago acts at once.
#[test]
fn a_new_policy_acts_at_once_on_a_blocker_that_failed() {
    let (wait, cancel, proceed) = (
        BlockerFailedPolicy::Wait,
        BlockerFailedPolicy::Cancel,
        BlockerFailedPolicy::Proceed,
    );
    let mut script = Script::given(&[
        card("a"),
        with_policy(wait, job("b")),
        with_policy(wait, job("c")),
        with_policy(proceed, job("d")),
    ]);
    script.set(LEAD, 1, Status::Failed).unwrap();
    assert_eq!(script.queued(), [4]);

    let freed = script.update(LEAD, 2, policy(proceed)).unwrap();
    let ended = script.update(LEAD, 3, policy(cancel)).unwrap();
    let held = script.update(LEAD, 4, policy(wait)).unwrap();

    freed.is(&[
        "lead: #2 updated: blocker_failed_policy",
        "lead: #2 unblocked (because of #1)",
    ]);
    assert_eq!(unblocked(&freed.answer), ids([2]));
    ended.is(&[
        "lead: #3 updated: blocker_failed_policy",
        "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #3 is over",
    ]);
    held.is(&["lead: #4 updated: blocker_failed_policy"]);
    assert_eq!(script.queued(), [2]);
    assert_eq!(script.lines()[3], "#4 [pending] d [blocked by #1]");
}

/// Nothing failed: a policy is only for later.
#[test]
fn a_new_policy_does_nothing_while_no_blocker_failed() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b")), job("c")]);
    for task in [2, 3] {
        for of in [BlockerFailedPolicy::Proceed, BlockerFailedPolicy::Cancel] {
            script
                .update(LEAD, task, policy(of))
                .unwrap()
                .is(&[&format!("lead: #{task} updated: blocker_failed_policy")]);
        }
    }

    script.set(LEAD, 1, Status::Completed).unwrap();

    assert_eq!(script.queued(), [2, 3]);
}

/// K4: what has begun is not made to wait behind its back.
#[test]
fn a_policy_that_would_block_work_in_progress_is_refused_unless_it_is_stopped() {
    let proceed = BlockerFailedPolicy::Proceed;
    let mut script = Script::given(&[
        card("a"),
        with_policy(proceed, card("claimed")),
        with_policy(proceed, job("placed")),
    ]);
    script.set(LEAD, 1, Status::Failed).unwrap();
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");
    let stop = |of| Update {
        stop_running: true,
        ..policy(of)
    };
    let held = Refusal::TaskHeld {
        task: TaskId(2),
        holder: "alice".into(),
    };
    let running = Refusal::TaskRunning {
        task: TaskId(3),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };

    for of in [BlockerFailedPolicy::Wait, BlockerFailedPolicy::Cancel] {
        assert_eq!(script.update(LEAD, 2, policy(of)).unwrap_err(), held);
        assert_eq!(script.update(LEAD, 3, policy(of)).unwrap_err(), running);
    }
    script
        .update(LEAD, 2, stop(BlockerFailedPolicy::Wait))
        .unwrap()
        .is(&[
            "lead: #2 requeued after attempt 1: has to wait for #1",
            "lead: #2 updated: blocker_failed_policy",
        ]);
    script
        .update(LEAD, 3, stop(BlockerFailedPolicy::Cancel))
        .unwrap()
        .is(&[
            "lead: #3 stop of attempt 1: has to wait for #1",
            "lead: #3 updated: blocker_failed_policy",
            "> stop #3/1: has to wait for #1",
        ]);
    script.end(3, done("late")).is(&[
        "worker w1: #3 requeued after attempt 1: has to wait for #1",
        "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #3 is over",
    ]);
}

/// K9: each team says how many are too many.
#[test]
fn the_threshold_of_the_nudge_is_the_teams() {
    for (threshold, expected) in [
        (Some(0), [None, None, None, None]),
        (Some(1), [Some(1), Some(2), Some(3), Some(4)]),
        (None, [None, None, Some(3), Some(4)]),
        (Some(4), [None, None, None, Some(4)]),
    ] {
        let mut script = Script::empty();
        let wish = CreateTeam {
            verification_threshold: threshold,
            ..team("t")
        };
        script.by(LEAD, Wish::CreateTeam(wish)).unwrap();
        script.create(LEAD, &vec![card("a"); 4]).unwrap();
        let mut nudge = |task| match script.set(LEAD, task, Status::Completed).unwrap().answer {
            Answer::Updated(updated) => updated.verification_nudge,
            other => panic!("{other:?}"),
        };

        assert_eq!([1, 2, 3, 4].map(&mut nudge), expected, "{threshold:?}");
    }
}

fn item(task: u64, status: Status, expected_revision: Option<Revision>) -> (TaskId, Update) {
    let update = Update {
        expected_revision,
        ..to(status)
    };
    (TaskId(task), update)
}

/// K6: complete A, then start B, in one batch; the other way round nothing of it is done.
#[test]
fn a_batch_goes_in_order() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b"))]);
    let complete = item(1, Status::Completed, None);
    let start = item(2, Status::InProgress, None);
    let before = script.board.clone();

    let backwards = Wish::UpdateTasks(t(), vec![start.clone(), complete.clone()]);
    let backwards = script.by(LEAD, backwards);
    assert_eq!(script.board, before);
    let told = script.by(LEAD, Wish::UpdateTasks(t(), vec![complete, start]));

    let blocked = Refusal::TaskBlocked {
        task: TaskId(2),
        blockers: ids([1]),
    };
    assert_eq!(backwards.unwrap_err(), blocked);
    let told = told.unwrap();
    told.is(&[
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "lead: #2 claimed by lead as attempt 1",
        "> #1 is over",
    ]);
    let Answer::Batch(TEAM, updates) = &told.answer else {
        panic!("{:?}", told.answer);
    };
    let statuses: Vec<_> = updates.iter().map(|update| update.status).collect();
    let completed = Some((Status::Pending, Status::Completed));
    let started = Some((Status::Pending, Status::InProgress));
    assert_eq!(statuses, [completed, started]);
    assert_eq!(updates[0].unblocked, ids([2]));
}

/// K10: what the batch itself does before doesn't make a task another one than the caller saw.
#[test]
fn one_item_at_another_revision_refuses_its_batch() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b"))]);
    let [first, second] = [1, 2].map(|task| script.task(task).revision);
    let both = |first, second| {
        let complete = item(1, Status::Completed, Some(first));
        let start = item(2, Status::InProgress, Some(second));
        Wish::UpdateTasks(t(), vec![complete, start])
    };
    let before = script.board.clone();

    let refused = script.by(LEAD, both(first, first));
    assert_eq!(script.board, before);
    let granted = script.by(LEAD, both(first, second));

    let mismatch = Refusal::RevisionMismatch {
        task: TaskId(2),
        expected: first,
        actual: second,
    };
    assert_eq!(refused.unwrap_err(), mismatch);
    assert!(granted.is_ok(), "{granted:?}");
}
