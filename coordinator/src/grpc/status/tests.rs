//! The table of errors: each has the code of its situation, a stable reason and all its facts.

use std::collections::BTreeSet;

use board::{
    event::Actor,
    id::{AgentTypeName, AttemptNumber, Epoch, MemberName, NameError, Revision, TaskId, TeamName},
    refusal::{KnownType, Offering, Staleness},
    task::Status as TaskStatus,
    time::Time,
};

use super::*;
use crate::artifacts::Digest;

/// The numbers and the names with a `zz` in them are facts; a message must have no others.
const TASK: TaskId = TaskId(4711);
const OTHER: TaskId = TaskId(4712);

fn member(name: &str) -> MemberName {
    MemberName::parse(name).unwrap()
}

fn team() -> TeamName {
    TeamName::parse("zz-team").unwrap()
}

fn agent_type(name: &str) -> AgentTypeName {
    AgentTypeName::parse(name).unwrap()
}

fn known_type(name: &str, offering: Offering) -> KnownType {
    KnownType {
        name: agent_type(name),
        offering,
    }
}

/// One of each kind.
fn refusals() -> Vec<Refusal> {
    let from_fields = [
        Refusal::Blank { field: "zz" },
        Refusal::TooLong {
            field: "zz",
            len: 4713,
            max: 4714,
            unit: "zz-bytes",
        },
        Refusal::TooMany {
            field: "zz",
            count: 4713,
            max: 4714,
        },
        Refusal::BadName {
            field: "zz",
            text: "zz-text".into(),
            why: NameError::TooLong { len: 4713 },
        },
        Refusal::BadValue {
            field: "zz",
            why: "zz-why".into(),
        },
        Refusal::CommandTooLarge {
            size: 4713,
            max: 4714,
            unit: "zz-bytes",
        },
    ];
    let from_edges = [
        Refusal::SelfEdge {
            field: "zz",
            task: TASK,
        },
        Refusal::Cycle {
            field: "zz",
            path: vec![TASK, OTHER, TASK],
        },
        Refusal::ReferenceUnknown {
            field: "zz",
            task: TASK,
            team: team(),
        },
    ];
    let all = from_fields.into_iter().chain(from_edges);
    all.chain(roster_refusals())
        .chain(task_refusals())
        .chain(team_refusals())
        .collect()
}

fn roster_refusals() -> Vec<Refusal> {
    vec![
        Refusal::TeamUnknown {
            team: "zz-team".into(),
        },
        Refusal::MemberUnknown {
            member: member("zz-a"),
            team: team(),
        },
        Refusal::IncarnationStale {
            member: member("zz-a"),
            wanted: 4713,
            present: 4714,
        },
        Refusal::TaskUnknown {
            task: TASK,
            team: team(),
            was_deleted: true,
        },
        Refusal::TaskExpired {
            task: TASK,
            team: team(),
        },
        Refusal::ReferenceExpired {
            field: "parent_task_id",
            task: TASK,
            team: team(),
        },
        Refusal::AgentTypeUnknown {
            agent_type: agent_type("zz-a"),
            known: vec![
                known_type("zz-b", Offering::Now),
                known_type("zz-c", Offering::Expected),
            ],
            now: Time(4715),
        },
        Refusal::PromptMissing {
            agent_type: agent_type("zz-a"),
        },
        Refusal::AgentTypeMissing {
            owner: member("zz-a"),
        },
        Refusal::TeamExists { team: team() },
        Refusal::MemberExists {
            member: member("zz-a"),
        },
        Refusal::RequestIdReused,
        Refusal::LeadOnly {
            action: "zz-act",
            member: Actor::Member(member("zz-a")),
        },
        Refusal::NotOwner {
            task: TASK,
            owner: Some(member("zz-a")),
            member: Actor::Member(member("zz-b")),
        },
    ]
}

fn task_refusals() -> Vec<Refusal> {
    vec![
        Refusal::TaskBlocked {
            task: TASK,
            blockers: vec![OTHER],
        },
        Refusal::TaskHeld {
            task: TASK,
            holder: "zz-a".into(),
        },
        Refusal::TaskRunning {
            task: TASK,
            worker: "zz-w".into(),
            attempt: AttemptNumber(4713),
        },
        Refusal::TaskOver {
            task: TASK,
            status: TaskStatus::Failed,
        },
        Refusal::LateEnding {
            task: TASK,
            status: TaskStatus::Failed,
        },
        Refusal::StatusBackward {
            task: TASK,
            from: TaskStatus::Completed,
            to: TaskStatus::Pending,
        },
        Refusal::RevisionMismatch {
            task: TASK,
            expected: Revision(4713),
            actual: Revision(4714),
        },
        Refusal::Stale {
            why: Staleness::Attempt,
        },
        Refusal::Full {
            what: "zz-things",
            max: 4713,
        },
        Refusal::TaskNotHeld { task: TASK },
        Refusal::TaskOpen {
            task: TASK,
            status: TaskStatus::Pending,
        },
        Refusal::TaskPaused {
            task: TASK,
            reason: "zz-reason".into(),
        },
        Refusal::TaskNotPaused { task: TASK },
        Refusal::TaskHasChildren {
            task: TASK,
            children: vec![OTHER],
        },
        Refusal::AttemptOver {
            task: TASK,
            expected: AttemptNumber(4713),
            actual: AttemptNumber(4714),
        },
    ]
}

fn team_refusals() -> Vec<Refusal> {
    vec![
        Refusal::TeamOver { team: team() },
        Refusal::TeamActive {
            team: team(),
            tasks: vec![TASK, OTHER],
        },
        Refusal::TeamPermanent { team: team() },
        Refusal::MemberActive {
            member: member("zz-a"),
            tasks: vec![TASK],
        },
        Refusal::MemberLeads {
            member: member("zz-a"),
        },
        Refusal::PlanNotApproved {
            member: member("zz-a"),
        },
        Refusal::MailboxFull {
            member: member("zz-a"),
            count: 4713,
            bytes: 4714,
        },
        Refusal::SelfRecipient {
            member: member("zz-a"),
        },
        Refusal::NotAsked {
            member: member("zz-a"),
        },
        Refusal::DiskLow,
        Refusal::NotRunning {
            task: TASK,
            stands: "zz-stands",
        },
        Refusal::NotInteractive {
            agent_type: agent_type("zz-t"),
        },
        Refusal::NoQuestion {
            task: TASK,
            present: Some(4713),
        },
        Refusal::TaskOrphaned {
            task: TASK,
            parent: TaskId(4713),
        },
        Refusal::WouldDeadlock {
            task: TASK,
            why: "zz-why".into(),
        },
        Refusal::MailboxShareFull {
            member: member("zz-m"),
            sender: "zz-s".into(),
            count: 4713,
            bytes: 4714,
        },
        Refusal::AttemptTasksFull {
            task: TASK,
            attempt: AttemptNumber(4715),
            agent_type: agent_type("zz-t"),
            made: 4713,
            count: 4714,
            max: 4716,
        },
        Refusal::TeamCreationRefused {
            agent_type: agent_type("zz-t"),
        },
        Refusal::HiringRefused {
            agent_type: agent_type("zz-t"),
            depth: 4713,
            allowed: 4714,
        },
        Refusal::ReadFailed {
            reference: "zz-47".into(),
        },
        Refusal::RevisionGone {
            after: Revision(4713),
            oldest: Revision(4714),
        },
    ]
}

/// The code of a refusal's situation. A new kind of refusal has to be put in here, and one of it
/// into the lists above.
fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Blank { .. }
        | Refusal::TooLong { .. }
        | Refusal::TooMany { .. }
        | Refusal::BadName { .. }
        | Refusal::BadValue { .. }
        | Refusal::CommandTooLarge { .. }
        | Refusal::SelfEdge { .. }
        | Refusal::Cycle { .. }
        | Refusal::PromptMissing { .. }
        | Refusal::AgentTypeMissing { .. }
        | Refusal::SelfRecipient { .. } => Code::InvalidArgument,
        Refusal::TeamUnknown { .. }
        | Refusal::MemberUnknown { .. }
        | Refusal::TaskUnknown { .. }
        | Refusal::TaskExpired { .. }
        | Refusal::ReferenceExpired { .. }
        | Refusal::ReferenceUnknown { .. } => Code::NotFound,
        Refusal::TeamExists { .. } | Refusal::MemberExists { .. } | Refusal::RequestIdReused => {
            Code::AlreadyExists
        }
        Refusal::LeadOnly { .. }
        | Refusal::NotOwner { .. }
        | Refusal::HiringRefused { .. }
        | Refusal::TeamCreationRefused { .. } => Code::PermissionDenied,
        Refusal::AgentTypeUnknown { .. }
        | Refusal::TaskBlocked { .. }
        | Refusal::TaskHeld { .. }
        | Refusal::TaskOrphaned { .. }
        | Refusal::TaskRunning { .. }
        | Refusal::TaskOver { .. }
        | Refusal::StatusBackward { .. }
        | Refusal::TaskNotHeld { .. }
        | Refusal::TaskOpen { .. }
        | Refusal::TaskPaused { .. }
        | Refusal::TaskNotPaused { .. }
        | Refusal::TaskHasChildren { .. }
        | Refusal::TeamOver { .. }
        | Refusal::TeamActive { .. }
        | Refusal::TeamPermanent { .. }
        | Refusal::MemberActive { .. }
        | Refusal::MemberLeads { .. }
        | Refusal::PlanNotApproved { .. }
        | Refusal::NotAsked { .. }
        | Refusal::NotRunning { .. }
        | Refusal::NotInteractive { .. }
        | Refusal::NoQuestion { .. }
        | Refusal::WouldDeadlock { .. }
        | Refusal::RevisionGone { .. } => Code::FailedPrecondition,
        Refusal::IncarnationStale { .. }
        | Refusal::LateEnding { .. }
        | Refusal::RevisionMismatch { .. }
        | Refusal::AttemptOver { .. }
        | Refusal::Stale { .. } => Code::Aborted,
        Refusal::ReadFailed { .. } => Code::Internal,
        Refusal::Full { .. }
        | Refusal::MailboxFull { .. }
        | Refusal::MailboxShareFull { .. }
        | Refusal::AttemptTasksFull { .. }
        | Refusal::DiskLow => Code::ResourceExhausted,
    }
}

/// The kinds of refusals that the match above knows.
const KINDS: usize = 59;

fn fence() -> Fence {
    Fence {
        epoch: Epoch(1),
        team: TeamUid(4713),
        task: TaskId(4714),
        attempt: AttemptNumber(4715),
    }
}

/// Checks what every error promises, and answers its reason.
fn assert_says_all(status: &Status) -> String {
    let details = pb::Status::decode(status.details()).unwrap();
    let is_info = |any: &&prost_types::Any| any.type_url.ends_with("/google.rpc.ErrorInfo");
    assert_eq!(
        details.details.iter().filter(is_info).count(),
        1,
        "{status:?}"
    );
    assert_eq!(details.code, status.code() as i32);
    assert_eq!(details.message, status.message());

    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "ganger.dev");
    let mut signs = info.reason.chars();
    assert!(signs.next().is_some_and(|c| c.is_ascii_uppercase()));
    assert!(signs.next().is_some(), "{}", info.reason);
    assert!(signs.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    assert_ne!(info.reason, "REFUSED");
    assert!(!info.metadata["next"].is_empty());

    let facts: Vec<&String> = info
        .metadata
        .iter()
        .filter(|(name, _)| *name != "next")
        .map(|(_, value)| value)
        .collect();
    let words = status
        .message()
        .split(|c: char| !c.is_alphanumeric() && c != '-');
    for word in words.filter(|word| word.contains("zz") || word.contains("47")) {
        let is_told = facts.iter().any(|fact| fact.contains(word));
        assert!(
            is_told,
            "{word} of {:?} is not in {facts:?}",
            status.message()
        );
    }
    info.reason
}

#[test]
fn every_refusal_has_the_code_of_its_situation_a_reason_and_its_facts() {
    let mut kinds = Vec::new();
    for refused in refusals() {
        let status = refusal(&refused);

        assert_eq!(status.code(), code_of(&refused), "{refused:?}");
        assert_eq!(status.message(), refused.to_string());
        assert_says_all(&status);
        let kind = std::mem::discriminant(&refused);
        assert!(!kinds.contains(&kind), "{refused:?} is there twice");
        kinds.push(kind);
    }
    assert_eq!(kinds.len(), KINDS);
}

#[test]
fn statuses_are_told_as_facts_by_their_words() {
    let status = refusal(&Refusal::StatusBackward {
        task: TASK,
        from: TaskStatus::Completed,
        to: TaskStatus::InProgress,
    });

    let facts = status.get_details_error_info().unwrap().metadata;
    assert_eq!(facts["task"], "4711");
    assert_eq!(facts["from"], "completed");
    assert_eq!(facts["to"], "in_progress");
}

#[test]
fn errors_carry_the_standard_details_of_their_code() {
    for refused in refusals() {
        let status = refusal(&refused);
        let details = status.get_error_details();
        let code = status.code();

        let is = |wanted| code == wanted;
        assert_eq!(details.bad_request().is_some(), is(Code::InvalidArgument));
        assert_eq!(
            details.precondition_failure().is_some(),
            is(Code::FailedPrecondition)
        );
        assert_eq!(
            details.quota_failure().is_some(),
            is(Code::ResourceExhausted)
        );
        assert_eq!(details.retry_info().is_some(), is(Code::ResourceExhausted));
    }
}

#[test]
fn bad_request_names_the_field() {
    let status = invalid("zz", "is odd");

    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations.len(), 1);
    assert_eq!(details.field_violations[0].field, "zz");
    assert_eq!(status.message(), "zz is odd");
}

#[test]
fn who_can_not_be_served_now_is_told_when_to_come_again() {
    let cases = [
        (
            Unavailable::NotTaken(NotTaken::Full),
            Code::ResourceExhausted,
            "QUEUE_FULL",
        ),
        (
            Unavailable::NotTaken(NotTaken::Closed),
            Code::Unavailable,
            "SHUTTING_DOWN",
        ),
        (
            Unavailable::Unanswered,
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
        ),
    ];
    for (why, code, reason) in cases {
        let status = unavailable(why);
        assert_eq!(status.code(), code);
        assert_eq!(assert_says_all(&status), reason);
        assert!(status.get_details_retry_info().is_some());
    }
}

#[test]
fn hello_is_refused_with_its_code() {
    let name = WorkerName::parse("zz-w").unwrap();
    let taken = hello_refused(&HelloRefused::NameTaken { name: name.clone() });
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert_eq!(assert_says_all(&taken), "WORKER_NAME_TAKEN");

    let in_team = hello_refused(&HelloRefused::NameInTeam {
        name: name.clone(),
        team: team(),
        kind: "agent",
    });
    assert_eq!(in_team.code(), Code::AlreadyExists);
    assert_eq!(assert_says_all(&in_team), "WORKER_NAME_IN_TEAM");
    let facts = in_team.get_details_error_info().unwrap().metadata;
    assert_eq!(
        (&facts["team"][..], &facts["kind"][..]),
        (team().as_str(), "agent")
    );

    let version = hello_refused(&HelloRefused::Version {
        newest: 4714,
        oldest: 4713,
    });
    assert_eq!(version.code(), Code::FailedPrecondition);
    assert_eq!(assert_says_all(&version), "WORKER_VERSION_UNSUPPORTED");
    assert!(version.get_details_precondition_failure().is_some());

    let reserved = hello_refused(&HelloRefused::NameReserved { name: name.clone() });
    assert_eq!(reserved.code(), Code::InvalidArgument);
    assert_eq!(assert_says_all(&reserved), "NAME_INVALID");

    let overtaken = hello_refused(&HelloRefused::Overtaken { name });
    assert_eq!(overtaken.code(), Code::Aborted);
    assert_eq!(assert_says_all(&overtaken), "HELLO_OVERTAKEN");

    let full = hello_refused(&HelloRefused::Full);
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert_eq!(assert_says_all(&full), "FLEET_FULL");
    let no_room = hello_refused(&HelloRefused::DiskFull);
    assert_eq!(assert_says_all(&no_room), "DISK_LOW");
    let facts = full.get_details_error_info().unwrap().metadata;
    assert_eq!(facts["max"], board::limits::WORKERS_MAX.to_string());
    assert!(full.get_details_retry_info().is_some());
}

#[test]
fn worker_that_is_not_there_is_not_found() {
    let name = WorkerName::parse("zz-w").unwrap();
    let unknown = worker_unknown(&name);
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(assert_says_all(&unknown), "WORKER_NOT_FOUND");
}

#[test]
fn artifact_is_refused_with_its_code_and_facts() {
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let unknown = ArtifactRefusal::Unknown { digest: one };
    let too_large = ArtifactRefusal::TooLarge { bytes_max: 4713 };
    let mismatch = ArtifactRefusal::DigestMismatch {
        expected: one,
        actual: other,
    };
    let beyond = ArtifactRefusal::OffsetBeyondEnd {
        digest: one,
        offset: 4713,
        bytes: 4714,
    };
    let facts_of = |refused: ArtifactRefusal| {
        // A new kind has to be put in here, and into the test.
        let code = match &refused {
            ArtifactRefusal::Unknown { .. } => Code::NotFound,
            ArtifactRefusal::TooLarge { .. }
            | ArtifactRefusal::DigestMismatch { .. }
            | ArtifactRefusal::OffsetBeyondEnd { .. } => Code::InvalidArgument,
            ArtifactRefusal::UploadBroken => Code::FailedPrecondition,
        };
        let status = artifact(&ArtifactError::Refused(refused));
        assert_eq!(status.code(), code);
        assert_says_all(&status);
        status.get_details_error_info().unwrap().metadata
    };

    assert_eq!(facts_of(unknown)["digest"], one.to_string());
    assert_eq!(facts_of(too_large)["max"], "4713");
    let facts = facts_of(mismatch);
    assert_eq!(facts["expected"], one.to_string());
    assert_eq!(facts["actual"], other.to_string());
    let facts = facts_of(beyond);
    assert_eq!((&*facts["offset"], &*facts["length"]), ("4713", "4714"));
    facts_of(ArtifactRefusal::UploadBroken);
}

#[test]
fn other_errors_have_their_codes() {
    let cases = [
        (unauthenticated("no token"), Code::Unauthenticated),
        (deadline_exceeded(), Code::DeadlineExceeded),
        (protocol("zz-why"), Code::InvalidArgument),
        (attempt_secret_missing(&fence()), Code::Unauthenticated),
        (attempt_secret_wrong(&fence()), Code::PermissionDenied),
        (team_replaced("zz-team", 4713), Code::FailedPrecondition),
        (
            watcher_slow(TeamUid(4713), Revision(4714)),
            Code::ResourceExhausted,
        ),
        (refusal(&Refusal::RequestIdReused), Code::AlreadyExists),
        (request_stalled(), Code::DeadlineExceeded),
        (
            upload_stalled(4713, Duration::from_secs(4714)),
            Code::DeadlineExceeded,
        ),
        (
            download_stalled(4713, Duration::from_secs(4714)),
            Code::DeadlineExceeded,
        ),
        (waits_full(4713), Code::ResourceExhausted),
        (
            transfers_full("upload", 4713, "zz-whose"),
            Code::ResourceExhausted,
        ),
        (
            transfers_full("download", 4713, "zz-whose"),
            Code::ResourceExhausted,
        ),
        (unread_answers(), Code::ResourceExhausted),
        (headers_too_large(4713, 4714), Code::ResourceExhausted),
    ];
    let mut reasons = BTreeSet::new();
    for (status, code) in cases {
        assert_eq!(status.code(), code);
        assert!(reasons.insert(assert_says_all(&status)));
    }
}

#[test]
fn internal_error_tells_a_reference_and_not_the_cause() {
    let failure = std::io::Error::other("zz-secret");

    let status = internal(&failure);

    assert_eq!(status.code(), Code::Internal);
    assert_eq!(assert_says_all(&status), "INTERNAL");
    let reference = &status.get_details_error_info().unwrap().metadata["reference"];
    assert!(status.message().contains(reference.as_str()));
    assert!(!format!("{status:?}").contains("secret"));
    assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
}

#[test]
fn damaged_data_is_data_loss_with_a_reason_of_its_own_and_no_path() {
    let digest = Digest::of(b"47");
    let transcript = transcript(&TranscriptError::Damaged {
        path: "/zz-secret".into(),
        offset: 7,
    });
    let artifact = artifact(&ArtifactError::Damaged { digest });

    for (status, reason) in [
        (&transcript, "TRANSCRIPT_DAMAGED"),
        (&artifact, "ARTIFACT_DAMAGED"),
    ] {
        assert_eq!(status.code(), Code::DataLoss);
        assert_eq!(assert_says_all(status), reason);
        assert!(!format!("{status:?}").contains("zz-secret"));
    }
    let facts = artifact.get_details_error_info().unwrap().metadata;
    assert_eq!(facts["digest"], digest.to_string());
}
