//! The verbs of the full board against a real coordinator: a team lives its whole life.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Child,
};

use crate::{Said, ganger, run, said};

/// A coordinator, and the team that is spoken in.
struct Board {
    addr: String,
    dir: TempDir,
    _coordinator: Child,
}

impl Board {
    /// A coordinator with a team `red`, which ann leads.
    async fn with_team(flags: &[&str]) -> Self {
        let board = Self::start().await;
        let create = [&["team", "create", "red", "--lead", "ann"], flags].concat();
        let made = board.by("", &create).await;
        assert_eq!(made.out, "made team red; its lead is ann@red\n");
        board
    }

    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut coordinator = ganger(
            dir.path(),
            &["coordinator", "--addr", "127.0.0.1:0", "--data-dir", "data"],
        )
        .spawn()
        .unwrap();
        let mut log = BufReader::new(coordinator.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = log.next_line().await.unwrap().expect("it serves");
            if let Some((_, rest)) = line.split_once("serving: grpcurl -plaintext ") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        // A full pipe would hold it up.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            addr,
            dir,
            _coordinator: coordinator,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn line<'a>(&'a self, member: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        let who: &[&str] = match member {
            "" => &["--addr", &self.addr, "--team", "red"],
            member => &["--addr", &self.addr, "--team", "red", "--member", member],
        };
        [who, words].concat()
    }

    /// Runs a line as a member; an empty name is the lead.
    async fn tried(&self, member: &str, words: &[&str]) -> Said {
        run(self.path(), &self.line(member, words)).await
    }

    /// The same, and it is done.
    async fn by(&self, member: &str, words: &[&str]) -> Said {
        let said = self.tried(member, words).await;
        assert_eq!(
            said.code, 0,
            "{member}: {words:?}: {}{}",
            said.out, said.err
        );
        said
    }

    /// The same, as JSON.
    async fn json(&self, member: &str, words: &[&str]) -> Value {
        let said = self.by(member, &[words, &["-o", "json"]].concat()).await;
        serde_json::from_str(&said.out).unwrap()
    }

    /// The same, with this on stdin.
    async fn fed(&self, member: &str, words: &[&str], stdin: &str) -> Said {
        let mut child = ganger(self.path(), &self.line(member, words))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin.as_bytes()).await.unwrap();
        drop(pipe);
        said(child.wait_with_output().await.unwrap())
    }
}

#[tokio::test]
async fn team_grows_changes_hands_and_leaves_a_tombstone() {
    let board = Board::with_team(&["--with", "carol", "--plan-required", "dave"]).await;

    let joined = board.by("", &["member", "add", "eve", "--role", "tester"]);
    assert_eq!(joined.await.out, "eve joined as agent\n");
    let left = board.by("eve", &["member", "remove", "eve"]).await;
    assert_eq!(left.out, "eve left\n");
    let again = board.by("eve", &["member", "add", "eve"]).await;
    assert_eq!(again.out, "eve/2 joined as agent\n");
    let leads = board.by("ann", &["team", "hand-over", "carol"]).await;
    assert_eq!(leads.out, "carol leads team red\n");

    let members = board.json("", &["member", "list"]).await;
    let told = |name: &str| {
        let members = members["members"].as_array().unwrap();
        let member = members.iter().find(|member| member["name"] == name);
        member.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(told("carol")["kind"], "MEMBER_KIND_LEAD");
    assert_eq!(told("ann")["kind"], "MEMBER_KIND_AGENT");
    assert_eq!(told("dave")["plan"], "PLAN_STATE_REQUIRED");
    let roster = board.by("", &["member", "list"]).await.out;
    assert!(roster.contains("owes a plan"), "{roster}");

    board.by("", &["task", "create", "Work"]).await;
    board.by("ann", &["task", "claim", "1"]).await;
    let not_hers = board.tried("ann", &["team", "dissolve", "red"]).await;
    assert_eq!(not_hers.code, 1, "{}", not_hers.err);
    let active = board.tried("carol", &["team", "dissolve", "red"]).await;
    assert_eq!(active.code, 5, "{}", active.err);
    assert!(active.err.contains("TEAM_ACTIVE"), "{}", active.err);
    let force = ["team", "dissolve", "red", "--force", "--reason", "done"];
    let ended = board.by("carol", &force).await;
    assert!(ended.out.starts_with("dissolved team red"), "{}", ended.out);

    let teams = run(board.path(), &["--addr", &board.addr, "team", "list"]).await;
    assert!(!teams.out.contains("red"), "{}", teams.out);
    let all = run(
        board.path(),
        &["--addr", &board.addr, "team", "list", "--all"],
    )
    .await;
    assert!(all.out.contains("(dissolved "), "{}", all.out);
}

#[tokio::test]
async fn team_is_given_its_share_and_a_task_its_window_and_wants() {
    let board = Board::with_team(&["--weight", "2"]).await;

    let shown = board.by("", &["team", "show"]).await.out;
    assert!(shown.contains("weight 2"), "{shown}");
    let update = ["team", "update", "--weight", "3", "--max-running", "20"];
    let updated = board.by("ann", &update).await;
    assert_eq!(
        updated.out,
        "team red: weight 3, at most 20 tasks at once\n"
    );
    let equal = ["team", "update", "--weight", "1", "--max-running", "0"];
    let updated = board.by("ann", &equal).await;
    assert_eq!(updated.out, "team red has an equal share, and no bound\n");
    let none = board
        .tried("ann", &["team", "update", "--weight", "0"])
        .await;
    assert_eq!(none.code, 2, "{}", none.err);
    assert!(none.err.contains("weight"), "{}", none.err);

    let wants = ["--worker-label", "gpu=yes", "--window", "4"];
    board
        .by("", &[&["task", "create", "All"], &wants[..]].concat())
        .await;
    board
        .by("", &["task", "update", "1", "--window", "5"])
        .await;
    let task = board.json("", &["task", "get", "1"]).await;
    let task = &task["task"];
    assert_eq!(task["window"], 5);
    assert_eq!(task["workerLabels"]["gpu"], "yes");
    let unsaid = ["task", "create", "x", "--worker-label", "gpu"];
    assert_eq!(board.tried("", &unsaid).await.code, 2);
}

#[tokio::test]
async fn plan_of_a_file_is_claimed_handed_back_and_worked_off() {
    let board = Board::with_team(&["--with", "alice", "--with", "bob"]).await;
    let plan = r#"[
        {"subject": "Analyze", "labels": ["db"]},
        {"subject": "Migrate", "blocked_by_items": [0], "priority": "TASK_PRIORITY_HIGH"},
        {"subject": "Update docs", "parent_task_id": "1"}
    ]"#;
    let made = board.fed("", &["task", "batch", "create", "-"], plan).await;
    assert_eq!(
        (made.code, made.out.lines().count()),
        (0, 3),
        "{}",
        made.err
    );

    let tree = board.by("", &["task", "list", "--order", "tree"]).await.out;
    let at = |word: &str| {
        let mut lines = tree.lines().enumerate();
        lines
            .find_map(|(row, line)| Some((row, line.find(word)?)))
            .unwrap_or_else(|| panic!("no {word} in\n{tree}"))
    };
    assert_eq!(
        (at("Update docs").0, at("Update docs").1),
        (at("Analyze").0 + 1, at("Analyze").1 + 2),
        "{tree}"
    );
    let found = board.json("", &["task", "list", "--text", "MIGR"]).await;
    assert_eq!(found["tasks"].as_array().unwrap().len(), 1);

    let next = ["task", "claim-next", "--label", "db", "--lease", "1h"];
    let claimed = board.json("alice", &next).await;
    assert_eq!(
        (&claimed["task"]["id"], &claimed["attempt"]),
        (&"1".into(), &1.into())
    );
    let none = board.tried("bob", &next).await;
    assert_eq!((none.code, none.err.as_str()), (4, "no task is ready\n"));
    let held = board.tried("bob", &["task", "claim", "1"]).await;
    assert!(held.err.contains("alice"), "{}", held.err);
    assert_eq!(held.code, 5);
    let renewed = board.by("alice", &["task", "renew", "1", "--attempt", "1"]);
    assert!(
        renewed
            .await
            .out
            .starts_with("the claim on #1 holds until ")
    );
    let release = ["task", "release", "1", "--reason", "no access"];
    let released = board.by("alice", &release).await;
    assert_eq!(released.out, "task #1 is pending, and nobody's\n");
    let stale = ["task", "claim", "1", "--expected-revision", "1"];
    assert_eq!(board.tried("bob", &stale).await.code, 5);
    board.by("bob", &["task", "claim", "1", "--no-lease"]).await;

    let changes = r#"[
        {"task_id": 1, "status": "TASK_STATUS_COMPLETED", "result": "12 tables"},
        {"task_id": 2, "status": "TASK_STATUS_IN_PROGRESS", "owner": "bob"}
    ]"#;
    let done = board
        .fed("", &["task", "batch", "update", "-"], changes)
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("freed #2"), "{}", done.out);
    let waited = board.by("", &["task", "wait", "--any", "1", "2"]).await;
    assert!(waited.out.contains("completed"), "{}", waited.out);
    let over = ["task", "wait", "1", "2", "--timeout", "100ms"];
    assert_eq!(board.tried("", &over).await.code, 124);
}

#[tokio::test]
async fn task_is_held_reopened_and_deleted_and_its_history_says_by_whom() {
    let board = Board::with_team(&["--with", "alice"]).await;
    board.by("", &["task", "create", "Analyze"]).await;
    board
        .by("", &["task", "create", "Report", "--blocked-by", "1"])
        .await;
    let mail = ["mail", "send", "--to", "ann", "Please hold the report."];
    let sent = board.json("alice", &mail).await;
    let message = sent["messageId"].as_str().unwrap();

    let why = ["--because-of", message, "--on-behalf-of", "carol"];
    let pause = ["task", "pause", "2", "--reason", "review first"];
    board.by("ann", &[&pause[..], &why].concat()).await;
    let explained = board.by("", &["task", "explain", "2"]).await.out;
    assert!(
        explained.contains("BLOCKED") && explained.contains("PAUSED"),
        "{explained}"
    );
    let cause = format!("paused: review first (ann, for carol, because of message {message})");
    assert!(explained.contains(&cause), "no {cause:?} in {explained}");
    board.by("ann", &["task", "resume", "2"]).await;

    let complete = ["task", "update", "1", "--status", "completed"];
    board.by("", &["task", "claim", "1"]).await;
    board.by("", &complete).await;
    let reopen = ["task", "reopen", "1", "--reason", "an index is missing"];
    let reopened = board.by("", &reopen).await;
    assert_eq!(
        reopened.out,
        "task #1 is pending again\nblocked again: #2\n"
    );
    let deleted = board.by("", &["task", "delete", "1"]).await;
    assert_eq!(deleted.out, "deleted task #1; freed #2\n");
    assert_eq!(board.tried("", &["task", "get", "1"]).await.code, 4);

    let history = board.by("", &["task", "history", "2"]).await.out;
    let events: Vec<&str> = history.lines().collect();
    assert!(events[0].contains("created: Report"), "{history}");
    let place = |words: &str| {
        let place = events.iter().position(|line| line.contains(words));
        place.unwrap_or_else(|| panic!("no {words} in {history}"))
    };
    assert!(place("paused") < place("resumed"), "{history}");
    let told = board.json("", &["task", "history", "2"]).await;
    assert_eq!(told["history"].as_array().unwrap().len(), events.len());
}

#[tokio::test]
async fn mail_goes_round_is_answered_and_stays_until_acknowledged() {
    let board = Board::with_team(&["--with", "bob", "--with", "carol"]).await;
    let sent = ["mail", "send", "--to", "bob,carol", "the schema is ready"];
    let receipts = board.by("", &sent).await.out;
    assert_eq!(receipts.lines().count(), 2, "{receipts}");
    assert!(receipts.contains("to carol: stored"), "{receipts}");
    let all = board.by("bob", &["mail", "send", "--broadcast", "hello"]);
    assert_eq!(all.await.out.lines().count(), 2);

    let read = ["mail", "receive", "--from", "ann"];
    for _ in 0..2 {
        let mail = board.by("carol", &read).await.out;
        assert!(mail.contains("\n  the schema is ready\n"), "{mail}");
    }
    board.by("carol", &["mail", "receive", "--ack"]).await;
    let empty = board.by("carol", &["mail", "receive"]).await.out;
    assert_eq!(empty, "no such mail; 0 unread in all\n");

    let ask = ["mail", "ask", "bob", "which one?", "--wait", "1m"];
    let asking = ganger(board.path(), &board.line("", &ask)).spawn().unwrap();
    let question = ["mail", "receive", "--type", "question", "--wait", "1m"];
    let mail = board.json("bob", &question).await;
    let id = mail["messages"][0]["id"].as_str().unwrap();
    board
        .by("bob", &["mail", "answer", id, "the old one"])
        .await;
    let answered = said(asking.wait_with_output().await.unwrap());
    assert_eq!(
        (answered.code, answered.out.as_str()),
        (0, "the old one\n"),
        "{}",
        answered.err
    );
    let left = board.json("bob", &["mail", "receive"]).await;
    assert_eq!(left["messages"][0]["text"], "the schema is ready");
    assert_eq!(left["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn plan_is_approved_and_a_member_is_asked_to_leave() {
    let board = Board::with_team(&["--plan-required", "dave"]).await;
    let plan = ["mail", "plan", "first the tests", "--wait", "1m"];
    let first = board.line("dave", &plan);
    let asked = ["mail", "receive", "--type", "plan-approval-request"];
    let asked = [&asked[..], &["--wait", "1m"]].concat();

    let planning = ganger(board.path(), &first).spawn().unwrap();
    let mail = board.json("", &asked).await;
    let id = mail["messages"][0]["id"].as_str().unwrap();
    board.by("", &["mail", "reject", id, "too little"]).await;
    let rejected = said(planning.wait_with_output().await.unwrap());
    assert_eq!(rejected.code, 1, "{}", rejected.err);
    assert!(rejected.out.contains("too little"), "{}", rejected.out);

    let planning = ganger(board.path(), &first).spawn().unwrap();
    let mail = board.json("", &asked).await;
    let id = mail["messages"][0]["id"].as_str().unwrap();
    board.by("", &["mail", "approve", id]).await;
    let approved = said(planning.wait_with_output().await.unwrap());
    assert_eq!(approved.code, 0, "{}", approved.err);

    let shutdown = ["mail", "shutdown", "dave", "--wait", "1m"];
    let leaving = ganger(board.path(), &board.line("", &shutdown))
        .spawn()
        .unwrap();
    let asked = ["mail", "receive", "--type", "shutdown-request"];
    let mail = board
        .json("dave", &[&asked[..], &["--wait", "1m"]].concat())
        .await;
    let id = mail["messages"][0]["id"].as_str().unwrap();
    board.by("dave", &["mail", "approve", id, "bye"]).await;
    let left = said(leaving.wait_with_output().await.unwrap());
    assert_eq!(left.code, 0, "{}", left.err);
    assert!(left.out.contains("yes"), "{}", left.out);
    let roster = board.by("", &["member", "list"]).await.out;
    assert!(!roster.contains("dave"), "{roster}");
    let all = board.by("", &["member", "list", "--all"]).await.out;
    assert!(all.contains("dave") && all.contains("gone"), "{all}");
}

#[tokio::test]
async fn tools_are_listed_and_called_and_their_refusals_fail() {
    let board = Board::with_team(&["--with", "alice"]).await;

    let tools = board.by("", &["tool", "list"]).await.out;
    assert!(tools.contains("TaskCreate"), "{tools}");
    let shown = board.by("", &["tool", "show", "TaskCreate"]).await.out;
    assert!(shown.contains("\"subject\""), "{shown}");
    let object = r#"{"subject": "Write SQL", "description": "the migration"}"#;
    let made = board
        .json("", &["tool", "call", "TaskCreate", object])
        .await;
    assert_eq!(made["result"]["task"]["id"], "1", "{made}");
    let update = ["tool", "call", "TaskUpdate", "taskId=1", "owner=alice"];
    board.by("", &update).await;
    let told = board.json("", &["task", "get", "1"]).await;
    assert_eq!(told["task"]["owner"], "alice");

    let absent = board
        .tried("", &["tool", "call", "TaskGet", "taskId=9"])
        .await;
    assert_eq!((absent.code, absent.out.as_str()), (1, ""));
    assert!(!absent.err.is_empty());
    let unknown = board.tried("", &["tool", "call", "Unheard"]).await;
    assert_ne!(unknown.code, 0);
}

#[tokio::test]
async fn history_of_a_team_is_followed_from_its_first_event() {
    let board = Board::with_team(&["--with", "alice"]).await;
    board.by("alice", &["task", "create", "Analyze"]).await;
    let mut child = ganger(board.path(), &board.line("", &["watch", "--after", "0"]))
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();

    let mut told = Vec::new();
    while !told
        .last()
        .is_some_and(|line: &String| line.contains("Analyze"))
    {
        told.push(lines.next_line().await.unwrap().unwrap());
    }
    board.by("alice", &["task", "claim", "1"]).await;
    let claimed = lines.next_line().await.unwrap().unwrap();
    child.kill().await.unwrap();

    assert!(told[0].contains("team created"), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("member joined alice")),
        "{told:?}"
    );
    assert!(claimed.contains("#1 claimed"), "{claimed}");
    assert!(claimed.ends_with("(alice)"), "{claimed}");
}
