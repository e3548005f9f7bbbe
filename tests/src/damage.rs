//! What becomes of a board one of whose files was damaged while nobody looked (P3a).
//!
//! A coordinator is stopped in order. Then one thing is done to one file of its data directory: a
//! bit is turned, the end is cut off, a range is zeroed. The next start may serve the same board,
//! refuse by name, or serve while each damaged read answers INTERNAL or DATA_LOSS at once. It never
//! loses anything in silence, hands out an id or a fence again, hangs, or shows a raw panic.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ganger_proto::v1;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::{Code, Status};

use crate::{
    Chance, Client, Cluster, Daemon, HandWorker, Programs, agent, cluster::addr_of, hello,
    new_task, words,
};

/// Far more than an answer takes, on a busy machine too; a read that hangs takes for ever.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// The team beside the default one.
const TEAM: &str = "crew";

/// A data directory of a coordinator that was stopped in order, and what it told before.
pub struct Specimen {
    programs: Programs,
    dir: TempDir,
    /// The hash of the artifact.
    sha256: String,
    told: Told,
    /// The counters as they were: what comes next must be beyond them.
    next: Next,
}

/// One thing that is done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which file of the data directory.
    pub file: PathBuf,
    /// What.
    pub harm: Harm,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A bit of a byte is turned.
    Flip {
        /// Which byte.
        at: u64,
        /// Which bit.
        bit: u8,
    },
    /// All from here on is gone.
    Cut {
        /// From where on.
        at: u64,
    },
    /// A range is zero.
    Zero {
        /// From where on.
        at: u64,
        /// How many bytes.
        len: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.harm {
            Harm::Flip { at, bit } => write!(f, "{file}: bit {bit} of byte {at} turned"),
            Harm::Cut { at } => write!(f, "{file}: cut at byte {at}"),
            Harm::Zero { at, len } => write!(f, "{file}: {len} bytes from {at} zeroed"),
        }
    }
}

/// What became of a damaged board.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is served as if nothing was.
    Same,
    /// The start was refused by name, with this line of the log.
    Refused {
        /// What it said.
        line: String,
        /// A start with `--accept-loss` served it then.
        is_accepted: bool,
    },
    /// It is served, and reads fail by name.
    Unreadable {
        /// How many.
        reads: usize,
    },
}

/// What was told, by what was asked.
type Told = BTreeMap<String, Result<String, Status>>;

/// What is handed out next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Next {
    epoch: String,
    /// By team: its uid, and the ids of the next task and message, and the revision after these.
    teams: BTreeMap<&'static str, [u64; 4]>,
}

impl Specimen {
    /// Makes a board of some size, by all ways in which something comes to lie in the data
    /// directory, and stops its coordinator.
    pub async fn make(programs: Programs) -> Self {
        let mut cluster = Cluster::start(programs.clone()).await;
        let sha256 = fill(&cluster).await;
        stop(&mut cluster.coordinator).await;
        let dir = tempfile::tempdir().unwrap();
        copy(&cluster.dir().join("coordinator"), dir.path()).unwrap();
        drop(cluster);
        let mut specimen = Self {
            programs,
            dir,
            sha256,
            told: Told::new(),
            next: Next {
                epoch: String::new(),
                teams: BTreeMap::new(),
            },
        };
        // Told by a coordinator that was started again, as those of damaged boards are.
        let copied = specimen.copied();
        let mut daemon = specimen.start(copied.path(), &[]);
        let client = served(&mut daemon).await.expect("a sound board is served");
        specimen.told = tell(&client, &specimen.sha256).await;
        let failed = specimen.told.values().any(Result::is_err);
        assert!(!failed, "a sound board is told: {:?}", specimen.told);
        specimen.next = hand_out(&client).await.expect("a sound board goes on");
        stop(&mut daemon).await;
        specimen
    }

    /// How many questions are asked of each damaged board.
    pub fn questions(&self) -> usize {
        self.told.len()
    }

    /// Some damage to any of the files, mostly to the database's log.
    pub fn some_damage(&self, chance: &mut Chance) -> Damage {
        let files = files(self.dir.path()).unwrap();
        let is_log = |file: &&(PathBuf, u64)| file.0.ends_with("board/board-1/db");
        let files: Vec<_> = match chance.one_in(3) {
            true => files.iter().collect(),
            false => files.iter().filter(is_log).collect(),
        };
        let count = u64::try_from(files.len()).unwrap();
        let (file, len) = files[usize::try_from(chance.below(count)).unwrap()];
        let end = self.end_of_data(file, *len).max(1);
        // Anywhere, or near the end of what is in it: there lies what was written last.
        let near = chance.one_in(2);
        let at = match near {
            true => end - 1 - chance.below(end.min(20_000)),
            false => chance.below(end),
        };
        let harm = match chance.below(3) {
            0 => Harm::Flip {
                at,
                bit: u8::try_from(chance.below(8)).unwrap(),
            },
            1 => Harm::Cut { at },
            _ => {
                let magnitude = chance.below(18);
                let len = 1 + chance.below(1 << magnitude);
                Harm::Zero { at, len }
            }
        };
        let file = file.clone();
        Damage { file, harm }
    }

    /// Where the zeros begin with which a file ends.
    fn end_of_data(&self, file: &Path, len: u64) -> u64 {
        let bytes = fs::read(self.dir.path().join(file)).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0);
        last.map_or(len, |last| u64::try_from(last).unwrap() + 1)
    }

    /// Damages a copy, starts it, and judges what comes of it; what must never be is an error.
    pub async fn judge(&self, damage: &Damage) -> Result<Outcome, String> {
        let copied = self.copied();
        inflict(copied.path(), damage).map_err(|error| error.to_string())?;
        let mut daemon = self.start(copied.path(), &[]);
        let Some(client) = served(&mut daemon).await else {
            let line = refusal(&daemon)?;
            drop(daemon);
            let is_accepted = match line.contains("--accept-loss") {
                true => self.accept(copied.path()).await?,
                false => false,
            };
            return Ok(Outcome::Refused { line, is_accepted });
        };
        let told = tell(&client, &self.sha256).await;
        let mut reads = 0;
        for (question, expected) in &self.told {
            match told.get(question) {
                Some(Err(status)) if is_named(status) => reads += 1,
                Some(Ok(answer)) if Ok(answer) == expected.as_ref().map_err(Status::code) => {}
                other => {
                    return Err(format!("{question}: {other:?} instead of {expected:?}"));
                }
            }
        }
        if let Some(question) = told
            .keys()
            .find(|&question| !self.told.contains_key(question))
        {
            return Err(format!("{question} is new"));
        }
        match hand_out(&client).await {
            Ok(next) if next == self.next => {}
            Err(status) if is_named(&status) => reads += 1,
            // What can't be written ends the process, which says why.
            Err(_) if ended(&mut daemon).await => {
                let line = refusal(&daemon)?;
                let is_accepted = false;
                return Ok(Outcome::Refused { line, is_accepted });
            }
            other => return Err(format!("{other:?} is next instead of {:?}", self.next)),
        }
        if daemon.log().contains("panicked at") {
            return Err(format!("a raw panic:\n{}", daemon.log()));
        }
        daemon.kill().await;
        Ok(match reads {
            0 => Outcome::Same,
            reads => Outcome::Unreadable { reads },
        })
    }

    /// Goes on without what is missing: nothing that was handed out comes again. Says whether that
    /// can be: more may be damaged than what is missing.
    async fn accept(&self, dir: &Path) -> Result<bool, String> {
        let mut daemon = self.start(dir, &["--accept-loss"]);
        let Some(client) = served(&mut daemon).await else {
            return refusal(&daemon).map(|_| false);
        };
        let next = hand_out(&client).await;
        let next = next.map_err(|status| format!("after --accept-loss: {status:?}"))?;
        if next.epoch == self.next.epoch {
            return Err("--accept-loss took no new epoch".to_owned());
        }
        for (team, numbers) in &self.next.teams {
            let raised = next.teams.get(team);
            let is_beyond = |raised: &[u64; 4]| {
                raised[0] != numbers[0] || raised.iter().zip(numbers).all(|(new, old)| new >= old)
            };
            if !raised.is_some_and(is_beyond) {
                return Err(format!(
                    "{team} goes on at {raised:?}, and was at {numbers:?}"
                ));
            }
        }
        tell(&client, &self.sha256).await;
        stop(&mut daemon).await;
        // Once is enough.
        let mut daemon = self.start(dir, &[]);
        let again = served(&mut daemon).await;
        if again.is_none() {
            return Err(format!("not served after --accept-loss:\n{}", daemon.log()));
        }
        daemon.kill().await;
        Ok(true)
    }

    fn copied(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path()).unwrap();
        dir
    }

    fn start(&self, dir: &Path, more: &[&str]) -> Daemon {
        let mut command = Command::new(&self.programs.coordinator);
        command
            .args(["--addr", "127.0.0.1:0", "--disk-floor-bytes", "0"])
            .args(["--disk-floor-percent", "0", "--disk-reserve-bytes", "0"])
            .args(more)
            .arg("--data-dir")
            .arg(dir);
        Daemon::start("coordinator", command)
    }
}

/// Puts something of each kind on a board, and answers the hash of its artifact.
async fn fill(cluster: &Cluster) -> String {
    let client = cluster.client();
    client.create_team(TEAM, ["ann", "bob"].map(agent)).await;
    client.add_member(agent("ann")).await.unwrap();
    for team in ["default", TEAM] {
        let lead = client.clone().in_team(team);
        let mut tasks: Vec<_> = (1..=25).map(|n| new_task(&format!("task {n}"))).collect();
        for (task, n) in tasks.iter_mut().zip(1..) {
            // In pieces, and so that the log has several segments.
            task.description = format!("{n} is long ").repeat(200 * n);
        }
        let ids = lead.plan(tasks).await;
        for id in &ids[..9] {
            lead.claim(*id).await.unwrap();
            lead.update(*id, |update| {
                update.status = v1::TaskStatus::Completed.into();
                update.result = Some(format!("result of {id}"));
            })
            .await;
        }
        lead.update(ids[12], |update| update.add_blocked_by = vec![ids[11]])
            .await;
        lead.try_delete(ids[20]).await.unwrap();
    }
    for n in 1..=8 {
        let lead = client.clone().in_team(TEAM).member("team-lead");
        lead.send(words(["bob"], &format!("word {n} to bob"))).await;
        lead.send(words(["ann", "bob"], &format!("word {n} to both")))
            .await;
    }
    run(cluster, &client).await;
    let artifact = client.upload("notes.txt", &b"noted ".repeat(3_000)).await;
    artifact.sha256
}

/// Lets attempts run, which have transcripts.
async fn run(cluster: &Cluster, client: &Client) {
    let mut worker = HandWorker::connect(&cluster.client(), hello("hand"))
        .await
        .unwrap();
    for n in 1..=6 {
        let task = client
            .start_task(v1::StartTaskRequest {
                prompt: format!("do {n}"),
                agent_type: "by-hand".into(),
                ..v1::StartTaskRequest::default()
            })
            .await;
        let assignment = worker.assignment().await;
        let fence = assignment.fence.clone().unwrap();
        assert_eq!(fence.task_id, task.id);
        worker.started(&fence).await;
        let records = (1..=5).map(|index| v1::TranscriptRecord {
            index,
            text: format!("line {index} of {n}\n"),
            kind: v1::TranscriptKind::Stdout.into(),
            ..v1::TranscriptRecord::default()
        });
        worker
            .progress(v1::Progress {
                fence: Some(fence.clone()),
                records: records.collect(),
                ..v1::Progress::default()
            })
            .await;
        worker.completed(&fence, &format!("done {n}")).await;
    }
}

/// Asks all that a board can tell and that is the same from one start to the next.
async fn tell(client: &Client, sha256: &str) -> Told {
    let mut told = Told::new();
    for team in ["default", TEAM] {
        let of_team = client.clone().in_team(team);
        let mut revision = 0;
        let got = answer(of_team.get_team()).await.map(|got| {
            revision = got.revision;
            format!("{} led by {} at {}", got.uid, got.lead, got.revision)
        });
        told.insert(format!("team {team}"), got);
        let members = v1::ListMembersRequest {
            include_gone: true,
            page_size: 1_000,
            ..v1::ListMembersRequest::default()
        };
        let mut teams = of_team.team();
        let listed = answer(teams.list_members(members)).await.map(|listed| {
            let members = listed.into_inner().members;
            let names = members.iter().map(|member| &member.name[..]);
            names.collect::<Vec<_>>().join(" ")
        });
        told.insert(format!("members of {team}"), listed);
        let listing = v1::ListTasksRequest {
            page_size: 1_000,
            ..v1::ListTasksRequest::default()
        };
        let listed = answer(of_team.try_list(listing)).await;
        let listed = listed.map(|listed| format!("{:?}", crate::ids_of(&listed.tasks)));
        told.insert(format!("tasks of {team}"), listed);
        // What is gone, too: it must not come back.
        for id in 1..=32 {
            let got = match answer(of_team.try_get(id)).await {
                Ok(task) => Ok(said_of(&task)),
                Err(status) if status.code() == Code::NotFound => Ok("none".to_owned()),
                Err(status) => Err(status),
            };
            told.insert(format!("task {id} of {team}"), got);
            let told_of = transcript(&of_team, id).await;
            told.insert(format!("transcript of task {id} of {team}"), told_of);
        }
        told.insert(
            format!("events of {team}"),
            events(&of_team, revision).await,
        );
    }
    for member in ["team-lead", "ann", "bob"] {
        let member_client = client.clone().in_team(TEAM).member(member);
        let mail = answer(member_client.try_receive(crate::everything())).await;
        let mail = mail.map(|mail| {
            let told = mail
                .messages
                .iter()
                .map(|mail| format!("{}: {}", mail.id, mail.text));
            told.collect::<Vec<_>>().join("\n")
        });
        told.insert(format!("mail of {member}"), mail);
    }
    told.insert("the artifact".to_owned(), artifact(client, sha256).await);
    told
}

fn said_of(task: &v1::Task) -> String {
    format!(
        "{} {} {:?} {} {:?} {:?} {} {:?} {:?} {:?} {}",
        task.id,
        task.subject,
        task.description,
        task.status().as_str_name(),
        task.blocks,
        task.blocked_by,
        task.owner,
        task.result,
        task.outputs,
        task.finished_at,
        task.revision,
    )
}

/// Reads events up to a revision.
async fn events(client: &Client, revision: u64) -> Result<String, Status> {
    let read = async {
        let request = v1::WatchTeamRequest {
            after_revision: Some(0),
            ..v1::WatchTeamRequest::default()
        };
        let mut stream = client.team().watch_team(request).await?.into_inner();
        let mut told = String::new();
        while let Some(answer) = stream.message().await? {
            for event in answer.events {
                told += &format!(
                    "{} {} {} {}\n",
                    event.revision,
                    event.r#type().as_str_name(),
                    event.task_id,
                    event.message
                );
                if event.revision >= revision {
                    return Ok(told);
                }
            }
        }
        Ok(told)
    };
    answer(read).await
}

async fn transcript(client: &Client, task_id: u64) -> Result<String, Status> {
    let read = async {
        let request = v1::WatchTranscriptRequest {
            task_id,
            no_follow: true,
            ..v1::WatchTranscriptRequest::default()
        };
        let mut stream = client
            .delegation()
            .watch_transcript(request)
            .await?
            .into_inner();
        let mut told = String::new();
        while let Some(answer) = stream.message().await? {
            for record in answer.records {
                if record.kind() == v1::TranscriptKind::Cut {
                    // The rest of it is told; this says which records are not.
                    return Err(Status::data_loss(record.text));
                }
                told += &format!("{} {}", record.index, record.text);
            }
        }
        Ok(told)
    };
    match answer(read).await {
        // It had none, or there is no such task.
        Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
            Ok("none".to_owned())
        }
        told => told,
    }
}

async fn artifact(client: &Client, sha256: &str) -> Result<String, Status> {
    let read = async {
        let request = v1::DownloadArtifactRequest {
            sha256: sha256.to_owned(),
            ..v1::DownloadArtifactRequest::default()
        };
        let mut chunks = client
            .artifact()
            .download_artifact(request)
            .await?
            .into_inner();
        let mut read = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            read.extend_from_slice(&chunk.chunk);
        }
        Ok(String::from_utf8_lossy(&read).into_owned())
    };
    answer(read).await
}

/// Has ids and revisions handed out.
async fn hand_out(client: &Client) -> Result<Next, Status> {
    let mut fleet = client.fleet();
    let status = answer(fleet.get_status(v1::GetStatusRequest {})).await?;
    let mut teams = BTreeMap::new();
    for team in ["default", TEAM] {
        let of_team = client.clone().in_team(team);
        let create = v1::CreateTaskRequest {
            subject: "new".into(),
            ..v1::CreateTaskRequest::default()
        };
        let made = answer(of_team.task().create_task(create)).await?;
        let made = made.into_inner().task.unwrap_or_default();
        let sent = answer(of_team.try_send(words(["ann"], "new"))).await?;
        let head = answer(of_team.get_team()).await?;
        teams.insert(team, [head.uid, made.id, sent.message_id, head.revision]);
    }
    let epoch = status.into_inner().epoch;
    Ok(Next { epoch, teams })
}

/// An answer; that there is none in time is told as such.
async fn answer<T>(ask: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_MAX, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("it hangs")),
    }
}

/// Whether a read failed as it may.
fn is_named(status: &Status) -> bool {
    matches!(status.code(), Code::Internal | Code::DataLoss)
}

/// Waits until a coordinator serves; none where it ended instead.
async fn served(daemon: &mut Daemon) -> Option<Client> {
    let line = daemon.logged_or_ended("serving: grpcurl").await?;
    Some(Client::of(&format!("http://{}", addr_of(&line))))
}

async fn ended(daemon: &mut Daemon) -> bool {
    tokio::time::timeout(ANSWER_MAX, daemon.end()).await.is_ok()
}

/// The line by which a coordinator that ended says why.
fn refusal(daemon: &Daemon) -> Result<String, String> {
    let log = daemon.log();
    let names = [
        "is damaged: ",
        "is not what it was: ",
        "made by a newer Ganger: ",
    ];
    let is_named = |line: &&str| line.contains("ERROR") && names.iter().any(|n| line.contains(n));
    let line = log.lines().find(is_named);
    match line {
        Some(line) if !log.contains("panicked at") => Ok(line.to_owned()),
        _ => Err(format!("it ended without saying why by name:\n{log}")),
    }
}

async fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::TERM);
    let status = daemon.end().await;
    assert!(status.success(), "{status}");
}

fn inflict(dir: &Path, damage: &Damage) -> io::Result<()> {
    let path = dir.join(&damage.file);
    let mut bytes = fs::read(&path)?;
    let index = |at: u64| usize::try_from(at).unwrap();
    match damage.harm {
        Harm::Flip { at, bit } => bytes[index(at)] ^= 1 << bit,
        Harm::Cut { at } => bytes.truncate(index(at)),
        Harm::Zero { at, len } => {
            let end = bytes.len().min(index(at + len));
            bytes[index(at)..end].fill(0);
        }
    }
    fs::write(path, bytes)
}

/// The files below a directory that hold something, with their lengths.
fn files(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(below) = dirs.pop() {
        for entry in fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let meta = entry.metadata()?;
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.len() > 0 {
                found.push((path, meta.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
