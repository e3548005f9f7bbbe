//! Every bound of the board, in one place. Lengths of texts are in bytes unless said otherwise.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::id::AgentTypeName;

/// How many tasks workers run at once at the most, over all teams, as the coordinator was set up.
/// Of what is bounded to 0 nothing runs until it is set up otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunningLimits {
    /// Of an agent type.
    pub agent_types: BTreeMap<AgentTypeName, u32>,
    /// With a label: of a task that has several of them, each is a bound.
    pub labels: BTreeMap<Arc<str>, u32>,
}

const KIB: usize = 1024;

/// Characters of a name of a team, a member, a worker or an agent type.
pub const NAME_LEN_MAX: usize = 64;
/// Characters of a task's subject.
pub const SUBJECT_CHARS_MAX: usize = 500;
/// A task's description.
pub const DESCRIPTION_LEN_MAX: usize = 256 * KIB;
/// A task's active form.
pub const ACTIVE_FORM_LEN_MAX: usize = 500;
/// A task's prompt.
pub const PROMPT_LEN_MAX: usize = 256 * KIB;
/// A task's result or error. Longer results are artifacts.
pub const RESULT_LEN_MAX: usize = 256 * KIB;
/// A task's metadata, keys and values together.
pub const METADATA_LEN_MAX: usize = 64 * KIB;
/// Labels of a task.
pub const LABELS_MAX: usize = 64;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 100;
/// Edges that one task has in one direction.
pub const EDGES_MAX: usize = 1_000;
/// Inputs, and outputs, of a task.
pub const ARTIFACTS_MAX: usize = 256;
/// The path of an artifact.
pub const ARTIFACT_PATH_LEN_MAX: usize = 1_024;
/// Output globs of a task.
pub const OUTPUT_GLOBS_MAX: usize = 64;
/// Characters of the id that a task's maker gave it.
pub const CLIENT_TASK_ID_CHARS_MAX: usize = 200;
/// Items of a batch.
pub const BATCH_MAX: usize = 1_000;
/// Open tasks of a team.
pub const TASKS_PER_TEAM_MAX: usize = 1_000_000;
/// Members of a team, workers not counted.
pub const MEMBERS_PER_TEAM_MAX: usize = 1_000;
/// Teams on a board.
pub const TEAMS_MAX: usize = 100_000;
/// Agent types that are offered, were of late, or are expected.
pub const OFFERED_TYPES_MAX: usize = 10_000;

/// How long an agent type is known that nobody offers any more: fleets scale to zero, and come back.
pub const OFFERED_TYPES_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A team's or a member's description, a role, a reason.
pub const NOTE_LEN_MAX: usize = 4 * KIB;
/// A hosted member's instructions.
pub const INSTRUCTIONS_LEN_MAX: usize = 64 * KIB;
/// Slots of a worker.
pub const SLOTS_MAX: u32 = 1_000;
/// Workers of a fleet.
pub const WORKERS_MAX: usize = 10_000;
/// Ended attempts that a task remembers one by one.
pub const ATTEMPTS_KEPT: usize = 16;

/// Labels that one wish for a task may name.
pub const WANTED_LABELS_MAX: usize = 64;
/// How deep tasks may lie below each other.
pub const DEPTH_MAX: usize = 32;
/// The text that a list is searched for, characters.
pub const SEARCH_CHARS_MAX: usize = 200;

/// A message's text.
pub const MESSAGE_TEXT_LEN_MAX: usize = 64 * KIB;
/// A message's payload.
pub const MESSAGE_PAYLOAD_LEN_MAX: usize = 64 * KIB;
/// A message's summary, characters.
pub const MESSAGE_SUMMARY_CHARS_MAX: usize = 200;
/// What ties an answer to its question.
pub const CORRELATION_LEN_MAX: usize = 200;
/// Tasks that one attempt makes, unless its type says otherwise.
pub const ATTEMPT_TASKS: u32 = 1_000;
/// The most that a type can say.
pub const ATTEMPT_TASKS_MAX: u32 = 1_000_000;
/// Members to whom one message goes by name.
pub const RECIPIENTS_MAX: usize = MEMBERS_PER_TEAM_MAX;
/// Messages in a mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 1_000;
/// Bytes of messages in a mailbox.
pub const MAILBOX_BYTES_MAX: usize = 16 * KIB * KIB;
/// Messages of one sender in a mailbox: whatever one member does, others still reach its owner.
pub const MAILBOX_SHARE_MESSAGES_MAX: usize = MAILBOX_MESSAGES_MAX / 2;
/// Their bytes.
pub const MAILBOX_SHARE_BYTES_MAX: usize = MAILBOX_BYTES_MAX / 2;
/// Notices of the coordinator that find room in a mailbox beyond that.
pub const MAILBOX_RESERVE: usize = 100;
/// Their bytes.
pub const MAILBOX_RESERVE_LEN: usize = KIB * KIB;
/// What a notice of the coordinator says of a task's description or result. The whole is in the
/// task.
pub const NOTICE_TEXT_LEN_MAX: usize = 4 * KIB;
/// Bytes of notices that one command brings about before the rest of them say a line each, so that
/// the ending of a thousand tasks stays one commit.
pub const NOTICES_LEN_MAX: usize = KIB * KIB;
/// What such a notice says.
pub const NOTICE_LINE_LEN_MAX: usize = 200;
/// Mail that goes with a hosted member's assignment, bytes. The rest goes with the next one.
pub const ASSIGNMENT_MAIL_LEN_MAX: usize = 128 * KIB;
/// Questions of a member that wait to be answered.
pub const QUESTIONS_OPEN_MAX: usize = 16;
/// Messages that one call acknowledges by name.
pub const ACKS_MAX: usize = 1_000;

/// How long a claim lasts after its holder was heard of.
pub const CLAIM_LEASE: Duration = Duration::from_secs(30 * 60);
/// The shortest lease of a claim.
pub const CLAIM_LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const CLAIM_LEASE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a member may take to answer that it will stop.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the lead may take to approve a plan.
pub const PLAN_TIMEOUT: Duration = Duration::from_secs(3_600);
/// How long either may be given at the most.
pub const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Attempts that a task's retry policy may allow.
pub const ATTEMPTS_MAX: u32 = 100;
/// The longest wait before a second attempt, unless the task says otherwise.
pub const RETRY_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait between attempts, unless the task says otherwise.
pub const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
/// What a task may say at the most.
pub const RETRY_BACKOFF_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// Records that one command may write.
pub const RECORDS_PER_COMMAND_MAX: usize = 4_096;
/// Bytes of texts that one command may write.
pub const BYTES_PER_COMMAND_MAX: usize = 4 * KIB * KIB;
/// Tasks that one step of a cascade, or one tick, changes. The rest waits for the next.
pub const STEP_MAX: usize = 1_000;
/// Finished tasks that one step lets leave the board, so that no commit waits long for it.
pub const EXPIRED_PER_STEP: usize = 128;
/// Tasks that one list examines before it answers a page token.
pub const LIST_EXAMINED_MAX: usize = 10_000;

/// Attempts that may be lost with their workers, unless the task says otherwise.
pub const CRASH_LIMIT: u32 = 3;
/// What a task may say at the most.
pub const CRASH_LIMIT_MAX: u32 = 100;

/// From dispatch to the worker's report that the sub-agent began; then the attempt is lost.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How much later than the worker the coordinator enforces the run limit.
pub const RUN_LIMIT_BACKSTOP: Duration = Duration::from_secs(10);
/// From a request to stop to the worker's confirmation; then the attempt is taken as lost.
pub const STOP_CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a sub-agent that was asked to stop may take before it is killed.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// The first wait after a worker refused an assignment; it doubles up to the last.
pub const REFUSAL_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a worker refused an assignment.
pub const REFUSAL_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How long a task that a worker lost or refused is kept from it, while another could take it.
pub const AVOIDANCE: Duration = Duration::from_secs(60);
/// The longest run limit.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A question of a running sub-agent.
pub const QUESTION_LEN_MAX: usize = 16 * KIB;
/// Questions of one attempt. A worker's agent type allows fewer.
pub const QUESTIONS_PER_ATTEMPT_MAX: u32 = 100;
/// How long a sub-agent waits for an answer, unless it says otherwise.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long it may wait at the most.
pub const QUESTION_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// What a running sub-agent is told at once.
pub const WORD_LEN_MAX: usize = 64 * KIB;
/// Words to a sub-agent that wait to be heeded.
pub const WORDS_MAX: usize = 16;
/// How deep a sub-agent may have others hired below its own task.
pub const HIRING_DEPTH_MAX: u32 = 3;
/// Labels that a task may want of a worker.
pub const WORKER_LABELS_MAX: usize = 16;
/// A team's share of the fleet.
pub const WEIGHT_MAX: u32 = 1_000;
/// How many tasks a team, or the children of a task, may be bounded to at once.
pub const RUNNING_MAX: u32 = 1_000_000;

/// Tasks closed since the last verification from which on a nudge is given.
pub const VERIFICATION_THRESHOLD: u32 = 3;
/// What a team may say at the most: as many as it may have tasks.
pub const VERIFICATION_THRESHOLD_MAX: u32 = 1_000_000;
