//! The history of a board is its audit log: who did what, on whose behalf, because of what.

use std::collections::BTreeSet;

use ganger_proto::{BEHALF_KEY, CAUSE_KEY, v1};
use ganger_tests::{
    Client, Cluster, HandWorker, Watch, agent, hello, hosted, interactive, new_task, patiently,
    programs, refused,
};
use tonic::Code;
use v1::{
    EventType, ExplainTaskRequest, MessageType, SendMessageRequest,
    TaskStatus::{Completed, Failed},
};

async fn send(client: &Client, to: &str, say: impl FnOnce(&mut SendMessageRequest)) -> u64 {
    let mut request = SendMessageRequest {
        to: vec![to.into()],
        text: "words".into(),
        ..SendMessageRequest::default()
    };
    say(&mut request);
    let sent = patiently("SendMessage", client.mail().send_message(request)).await;
    sent.unwrap().into_inner().message_id
}

/// A history, page by page.
async fn history(client: &Client, task_id: u64, page_size: i32) -> Vec<v1::Event> {
    let mut request = ExplainTaskRequest {
        task_id,
        page_size,
        ..ExplainTaskRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = client.try_explain(request.clone()).await.unwrap();
        assert!(page.history.len() <= usize::try_from(page_size).unwrap());
        assert!(!page.history_cut, "{page:?}");
        all.extend(page.history);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

/// All events of a team up to the present one.
async fn told_by_watch(client: &Client, after: u64) -> Vec<v1::Event> {
    let revision = client.get_team().await.unwrap().revision;
    let mut watch: Watch = client.watch_after(after).await;
    if after < revision {
        watch
            .find("the last event", |event| event.revision == revision)
            .await;
    }
    watch.events
}

#[tokio::test]
async fn explanation_alone_tells_who_changed_a_task_for_whom_and_because_of_which_message() {
    let mut cluster = Cluster::start(programs!()).await;
    let lead = cluster.client().in_team("red");
    let members = [agent("alice"), agent("bob"), hosted("runner", "by-hand")];
    lead.create_team("red", members).await;
    let mut worker = HandWorker::connect(&lead, hello("me")).await.unwrap();
    let waits = v1::NewTask {
        owner: "runner".into(),
        prompt: "do it".into(),
        blocked_by_items: vec![0],
        ..new_task("waits")
    };
    lead.plan(vec![new_task("one"), waits]).await;
    let message = send(&lead, "alice", |letter| letter.text = "please do #1".into()).await;

    // Alice does it because of that message, and for Bob.
    let alice = lead
        .clone()
        .member("alice")
        .saying(CAUSE_KEY, &message.to_string())
        .saying(BEHALF_KEY, "bob");
    alice.claim(1).await.unwrap();
    alice
        .update(1, |update| update.subject = Some("the one".into()))
        .await;
    alice.set(1, Completed).await;
    // Which frees the other one, and the hosted member does that.
    let fence = worker.assignment().await.fence.unwrap();
    worker.started(&fence).await;
    worker.completed(&fence, "done").await;
    lead.watch().await.ended(2).await;
    let rows = |history: &[v1::Event]| -> Vec<_> {
        let row = |event: &v1::Event| {
            (
                event.r#type(),
                event.actor.clone(),
                event.on_behalf_of.clone(),
                event.cause_message_id,
                event.cause_task_id,
                event.unverified,
            )
        };
        history.iter().map(row).collect()
    };
    let by = |what, actor: &str, behalf: &str, message, task, unverified| {
        (
            what,
            actor.to_owned(),
            behalf.to_owned(),
            message,
            task,
            unverified,
        )
    };

    let first = history(&lead, 1, 50).await;
    let second = history(&lead, 2, 50).await;

    assert_eq!(
        rows(&first),
        [
            by(EventType::TaskCompleted, "alice", "bob", message, 0, true),
            by(EventType::TaskUpdated, "alice", "bob", message, 0, true),
            by(EventType::TaskClaimed, "alice", "bob", message, 0, true),
            by(EventType::TaskCreated, "team-lead", "", 0, 0, true),
        ]
    );
    assert_eq!(
        rows(&second),
        [
            by(EventType::TaskCompleted, "worker:me", "runner", 0, 0, false),
            by(EventType::TaskStarted, "worker:me", "runner", 0, 0, false),
            by(EventType::TaskDispatched, "coordinator", "", 0, 0, false),
            by(EventType::TaskUnblocked, "alice", "bob", message, 1, true),
            by(EventType::TaskCreated, "team-lead", "", 0, 0, true),
        ]
    );
    // What they stand on is linked, and is what everybody was told.
    let all = told_by_watch(&lead, 0).await;
    for history in [&first, &second] {
        for (at, event) in history.iter().enumerate() {
            let before = history.get(at + 1).map_or(0, |event| event.revision);
            assert_eq!(event.previous_revision, before);
            assert_eq!(all[usize::try_from(event.revision).unwrap() - 1], *event);
        }
    }
    let sent = all
        .iter()
        .find(|event| event.message_id == message)
        .unwrap();
    assert_eq!((&sent.actor[..], &sent.member[..]), ("team-lead", "alice"));

    cluster.crash_coordinator().await;
    let lead = cluster.client().in_team("red");
    for page_size in [1, 2, 4, 1_000] {
        assert_eq!(history(&lead, 1, page_size).await, first, "{page_size}");
        assert_eq!(history(&lead, 2, page_size).await, second, "{page_size}");
    }
}

#[tokio::test]
async fn history_of_one_task_is_no_way_to_that_of_another() {
    let cluster = Cluster::start(programs!()).await;
    let lead = cluster.client();
    let hello = v1::Hello {
        slots: 2,
        ..hello("me")
    };
    let mut worker = HandWorker::connect(&lead, hello).await.unwrap();
    lead.plan(vec![new_task("the lead's own")]).await;
    lead.update(1, |update| update.subject = Some("a secret".into()))
        .await;
    let task = v1::NewTask {
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        ..new_task("hired")
    };
    lead.plan(vec![task]).await;
    let assignment = worker.assignment().await;
    let sub_agent = cluster.client().sub_agent(&assignment);
    let secret = lead.explain(1).await.history[0].revision;
    let created = lead.explain(2).await.history.last().unwrap().revision;
    let last = lead.get(2).await.revision;

    for (who, client) in [("the lead", &lead), ("the sub-agent", &sub_agent)] {
        let page = |page_token: String| {
            client.try_explain(ExplainTaskRequest {
                task_id: 2,
                page_token,
                ..ExplainTaskRequest::default()
            })
        };
        for token in [secret, 1, last + 1, u64::MAX] {
            println!("{who}: {token}");
            let info = refused(
                page(token.to_string()).await,
                Code::InvalidArgument,
                "VALUE_INVALID",
            );
            assert_eq!(info.metadata["field"], "page_token");
        }
        for token in ["x", "-1", "1.0", "99999999999999999999", "\u{1f4a5}"] {
            let info = refused(
                page(token.into()).await,
                Code::InvalidArgument,
                "VALUE_INVALID",
            );
            assert_eq!(info.metadata["field"], "page_token");
        }
        let sound = page(created.to_string()).await.unwrap();
        assert_eq!(sound.history.len(), 1);
        assert_eq!(sound.history[0].r#type(), EventType::TaskCreated);
    }
}

#[tokio::test]
async fn deleted_task_is_known_to_have_been_and_its_events_tell_who_deleted_it() {
    let mut cluster = Cluster::start(programs!()).await;
    let lead = cluster.client().team_of("red", &["alice"]).await;
    let alice = lead.clone().member("alice");
    alice.plan(vec![new_task("mine")]).await;
    alice
        .update(1, |update| update.subject = Some("gone soon".into()))
        .await;
    let before = lead.explain(1).await.history;
    alice.try_delete(1).await.unwrap();

    for _ in 0..2 {
        let lead = cluster.client().in_team("red");
        let explain = ExplainTaskRequest {
            task_id: 1,
            ..ExplainTaskRequest::default()
        };
        let info = refused(
            lead.try_explain(explain).await,
            Code::NotFound,
            "TASK_NOT_FOUND",
        );
        assert_eq!(info.metadata["was_deleted"], "true");
        let all = told_by_watch(&lead, 0).await;
        let of_it: Vec<_> = all
            .iter()
            .filter(|event| event.task_id == 1)
            .rev()
            .collect();
        let deleted = of_it[0];
        assert_eq!(deleted.r#type(), EventType::TaskDeleted);
        assert_eq!(
            (&deleted.actor[..], &deleted.subject[..]),
            ("alice", "gone soon")
        );
        assert_eq!(deleted.previous_revision, before[0].revision);
        assert!(of_it[1..].iter().copied().eq(&before));
        cluster.crash_coordinator().await;
    }
}

/// A plan is put before the lead, who says yes or no.
async fn judged(lead: &Client, carol: &Client, approve: bool) {
    send(carol, "team-lead", |letter| {
        letter.set_type(MessageType::PlanApprovalRequest)
    })
    .await;
    send(lead, "carol", |letter| {
        letter.set_type(MessageType::PlanApprovalResponse);
        letter.approve = Some(approve);
    })
    .await;
}

/// The sub-agent of #2 asks, is answered, and is told something more.
async fn talk(lead: &Client, worker: &mut HandWorker, fence: &v1::Fence) {
    let (task_id, text) = (2, "words".to_owned());
    assert!(worker.asked(fence, 1, &text).await.accepted);
    let mut delegation = lead.delegation();
    let answer = v1::AnswerQuestionRequest {
        task_id,
        text: text.clone(),
        ..v1::AnswerQuestionRequest::default()
    };
    delegation.answer_question(answer).await.unwrap();
    let steer = v1::SteerTaskRequest {
        task_id,
        text,
        ..v1::SteerTaskRequest::default()
    };
    delegation.steer_task(steer).await.unwrap();
    assert_eq!(
        [worker.word().await.number, worker.word().await.number],
        [1, 2]
    );
}

/// Something of each type happens to a team; its end is the last of it.
async fn everything(lead: &Client, worker: &mut HandWorker) {
    let carol = v1::NewMember {
        plan_required: true,
        ..agent("carol")
    };
    lead.add_member(carol).await.unwrap();
    let carol = lead.clone().member("carol");
    judged(lead, &carol, false).await;
    judged(lead, &carol, true).await;
    let scripted = |subject: &str, blocked_by: Vec<u64>| v1::NewTask {
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        blocked_by,
        ..new_task(subject)
    };
    lead.plan(vec![new_task("one"), scripted("two", vec![1])])
        .await;
    let (reason, task_id) = ("because".to_owned(), 1);
    let weighty = v1::UpdateTeamRequest {
        weight: Some(2),
        ..v1::UpdateTeamRequest::default()
    };
    lead.team().update_team(weighty).await.unwrap();
    let mut delegation = lead.delegation();
    let pause = v1::PauseTaskRequest {
        task_id,
        reason: reason.clone(),
        ..v1::PauseTaskRequest::default()
    };
    delegation.pause_task(pause).await.unwrap();
    let resume = v1::ResumeTaskRequest {
        task_id,
        ..v1::ResumeTaskRequest::default()
    };
    delegation.resume_task(resume).await.unwrap();
    carol.claim(1).await.unwrap();
    let release = v1::ReleaseTaskRequest {
        task_id,
        reason: reason.clone(),
        ..v1::ReleaseTaskRequest::default()
    };
    carol.task().release_task(release).await.unwrap();
    lead.set(1, Failed).await;
    let reopen = v1::ReopenTaskRequest {
        task_id,
        reason,
        ..v1::ReopenTaskRequest::default()
    };
    lead.task().reopen_task(reopen).await.unwrap();
    lead.update(1, |update| update.priority = v1::TaskPriority::High.into())
        .await;
    lead.set(1, Completed).await;
    let fence = worker.assignment().await.fence.unwrap();
    worker.started(&fence).await;
    talk(lead, worker, &fence).await;
    lead.cancel(2).await;
    assert_eq!(worker.stop().await.fence.as_ref(), Some(&fence));
    let stopped = v1::Ended {
        fence: Some(fence),
        ending: v1::AttemptEnding::Cancelled.into(),
        ..v1::Ended::default()
    };
    assert!(worker.ended(stopped).await.accepted);
    lead.try_delete(1).await.unwrap();
    // Two finished ones are kept, and this makes three.
    lead.plan(vec![new_task("three"), new_task("four")]).await;
    for task in [3, 4] {
        lead.set(task, Completed).await;
    }
    let mut watch = lead.watch().await;
    watch.until(2, EventType::TaskExpired).await;
    lead.hand_over("alice").await.unwrap();
    let alice = lead.clone().member("alice");
    alice.remove_member("carol", false).await.unwrap();
    alice.dissolve(false).await.unwrap();
}

/// Each value of the enum, but the one that says nothing.
fn all_types() -> BTreeSet<i32> {
    let values = (1..).map_while(|value| EventType::try_from(value).ok());
    values.map(Into::into).collect()
}

#[tokio::test]
async fn every_type_of_event_is_told_live_and_after_a_crash_from_any_revision_the_same() {
    let mut cluster = Cluster::with(programs!(), &["--tasks-kept", "2"]).await;
    let lead = cluster.client().team_of("red", &["alice"]).await;
    let mut worker = HandWorker::connect(&lead, interactive("me")).await.unwrap();
    let mut live = lead.watch().await;

    everything(&lead, &mut worker).await;
    live.find("the end", |event| {
        event.r#type() == EventType::TeamDissolved
    })
    .await;
    let live = live.events;

    let types: BTreeSet<i32> = live.iter().map(|event| event.r#type).collect();
    let all = all_types();
    let lacking = all.difference(&types);
    let lacking: Vec<_> = lacking.map(|t| EventType::try_from(*t).unwrap()).collect();
    // That one is told by a board of which something was lost: see `loss`.
    assert_eq!(lacking, [EventType::LossAccepted]);
    let revisions: Vec<u64> = live.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=live.len() as u64).collect::<Vec<_>>());
    cluster.crash_coordinator().await;
    let lead = cluster.client().in_team("red");
    for after in 0..=live.len() {
        let rest = told_by_watch(&lead, after as u64).await;
        assert_eq!(rest, live[after..], "after {after}");
    }
}

#[tokio::test]
async fn history_that_is_not_kept_any_more_is_said_to_be_cut() {
    let cluster = Cluster::with(programs!(), &["--events-kept", "5"]).await;
    let client = cluster.client();
    client.plan(vec![new_task("one")]).await;
    for at in 0..20 {
        client
            .update(1, |update| update.subject = Some(at.to_string()))
            .await;
    }
    // What is too old goes when the store is swept; the task itself stays whole.
    let cut = patiently("old events are forgotten", async {
        loop {
            let explained = client.explain(1).await;
            if explained.history_cut {
                return explained;
            }
            client.plan(vec![new_task("more")]).await;
        }
    })
    .await;

    assert_eq!(cut.task.as_ref().unwrap().subject, "19");
    assert!(cut.next_page_token.is_empty());
    let oldest = client.get_team().await.unwrap().oldest_revision;
    assert!(
        cut.history.iter().all(|event| event.revision >= oldest),
        "{cut:?}"
    );
    let gone = v1::WatchTeamRequest {
        after_revision: Some(0),
        ..v1::WatchTeamRequest::default()
    };
    let gone = client.team().watch_team(gone).await;
    let info = refused(gone, Code::FailedPrecondition, "REVISION_GONE");
    let told: u64 = info.metadata["oldest_revision"].parse().unwrap();
    assert!(told >= oldest && told > 1, "{info:?}");
}
