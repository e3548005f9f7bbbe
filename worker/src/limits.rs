//! Every bound of the worker in one place, with its unit and where it comes from.
//!
//! Bounds that the wire fixes are DESIGN's; the others are this worker's own and can't be raised by
//! an assignment.

use std::time::Duration;

/// Slots that a worker may offer.
pub(crate) const SLOTS_MAX: usize = 1_000;

/// Bytes of output text in one transcript record: with its envelope, it fits a Progress frame.
pub(crate) const RECORD_TEXT_LEN_MAX: usize = 32 << 10;
/// Bytes of records in one Progress frame.
pub(crate) const PROGRESS_LEN_MAX: usize = 64 << 10;
/// Bytes of transcript that an attempt may have on the way unacknowledged.
pub(crate) const PROGRESS_CREDIT: usize = 256 << 10;
/// What of the credit is kept back for the end of the output, so that the last lines always get
/// through within it.
pub(crate) const PROGRESS_TAIL: usize = 64 << 10;

/// Bytes of an attempt's result on the wire; more becomes the artifact `result.md`.
pub(crate) const RESULT_LEN_MAX: usize = 256 << 10;
/// Bytes of standard error that an error message ends with.
pub(crate) const ERROR_TAIL_LEN_MAX: usize = 4 << 10;
/// Lines of standard error that an error message ends with.
pub(crate) const ERROR_TAIL_LINES_MAX: usize = 20;
/// Bytes of reasons and errors that others wrote, where they are passed on.
pub(crate) const REASON_LEN_MAX: usize = 4 << 10;

/// The newest version of the stream that this worker speaks.
pub(crate) const PROTOCOL: i32 = 3;
/// The oldest version of the stream that this worker speaks. An older coordinator asks for no
/// attempts' secrets, so that a fleet is upgraded workers first.
pub(crate) const PROTOCOL_MIN: i32 = 1;
/// The first version of the stream with questions and words.
pub(crate) const PROTOCOL_WITH_WORDS: i32 = 2;

/// Bytes of a line that a sub-agent may say something in; longer ones are text.
pub(crate) const LINE_LEN_MAX: usize = 256 << 10;
/// Bytes of a question: the wire's bound.
pub(crate) const QUESTION_LEN_MAX: usize = 16 << 10;
/// The longest wait for an answer: the wire's bound.
pub(crate) const QUESTION_SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Questions of one attempt that an agent type may allow: the board's bound.
pub(crate) const QUESTIONS_MAX: u32 = 100;
/// Bytes of what a sub-agent says that it is doing: the wire's bound.
pub(crate) const DOING_LEN_MAX: usize = 500;
/// How deep an agent type may allow hiring: the wire's bound.
pub(crate) const HIRING_DEPTH_MAX: u32 = 3;
/// Tasks that an attempt may make, unless its type says otherwise: the wire's default.
pub(crate) const TASKS: u32 = 1_000;
/// The most that an agent type may allow: the wire's bound.
pub(crate) const TASKS_MAX: u32 = 1_000_000;
/// The coordinator's tools that make teams.
pub(crate) const TEAM_TOOLS: [&str; 2] = ["TeamCreate", "spawn_team"];
/// Tools that an agent type may allow.
pub(crate) const TOOLS_MAX: usize = 100;
/// Calls of tools that an attempt may have under way.
pub(crate) const TOOL_CALLS_MAX: usize = 8;
/// Bytes of the name that a sub-agent gives to a call.
pub(crate) const CALL_ID_LEN_MAX: usize = 256;
/// Bytes that wait for a sub-agent to read them before answers to it are dropped: more than any one
/// answer has.
pub(crate) const OUTBOX_LEN_MAX: usize = 8 << 20;
/// Words that wait to be told to a sub-agent; a coordinator has far fewer on the way.
pub(crate) const WORDS_MAX: usize = 64;
/// Words on their way to an attempt's own task.
pub(crate) const WORDS_LANE_LEN: usize = 8;

/// Bytes of all inputs of an attempt: artifacts are up to 1 GiB each.
pub(crate) const INPUTS_LEN_MAX: u64 = 4 << 30;
/// Files of all inputs of an attempt.
pub(crate) const INPUT_FILES_MAX: usize = 10_000;
/// Bytes of an upload's chunk: well under the 4 MiB of a message.
pub(crate) const CHUNK_LEN: usize = 64 << 10;

/// Bytes of a frame that the coordinator may send: a full assignment with its blockers' results.
pub(crate) const FRAME_LEN_MAX: usize = 4 << 20;
/// Frames taken from the stream before what they ask for is done.
pub(crate) const FRAME_BATCH_MAX: usize = 256;
/// Control frames that wait for the wire.
pub(crate) const CONTROL_LANE_LEN: usize = 1_024;
/// Progress frames that wait for the wire; few, because each may be 64 KiB.
pub(crate) const PROGRESS_LANE_LEN: usize = 16;
/// Heartbeats that wait for the wire: more than one means that it doesn't move.
pub(crate) const HEARTBEAT_LANE_LEN: usize = 2;
/// Heartbeats whose acknowledgement is still expected.
pub(crate) const BEATS_MAX: usize = 64;
/// What attempts say to the engine before they have to wait.
pub(crate) const NOTICES_LEN: usize = 256;

/// From dialling to Welcome.
pub const HANDSHAKE_SPAN: Duration = Duration::from_secs(10);
/// The first wait before dialling again; jittered, and doubled each time.
pub(crate) const REDIAL_MIN: Duration = Duration::from_millis(100);
/// How much later, at the most, a worker dials whose stream was up: a fleet spreads over that.
pub(crate) const REDIAL_SPREAD_MAX: Duration = Duration::from_secs(1);
/// The longest wait before dialling again.
pub(crate) const REDIAL_MAX: Duration = Duration::from_secs(5);
/// The lease, where a coordinator doesn't say.
pub(crate) const LEASE_SPAN: Duration = Duration::from_secs(15);
/// Between heartbeats, where a coordinator doesn't say.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Between heartbeats, whatever a coordinator says.
pub(crate) const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// HTTP/2 pings on an idle connection.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a ping's answer may take.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a sub-agent gets between being asked to stop and being killed, where nobody said.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// The longest grace that a Stop may give.
pub(crate) const STOP_GRACE_MAX: Duration = Duration::from_secs(60);
/// The same at the end of a drain: orchestrators kill 30 s after their SIGTERM.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// How long a drained worker waits for the acknowledgement of its last reports.
pub(crate) const DRAIN_FAREWELL: Duration = Duration::from_secs(2);
/// The longest drain that a coordinator may order: the wire's bound.
pub(crate) const DRAIN_SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long after the end of its lease an attempt is kept without a verdict.
pub(crate) const ORPHAN_SPAN: Duration = Duration::from_secs(90);
/// How long what is killed may take to be gone when the worker ends at once.
pub(crate) const ABORT_SPAN: Duration = Duration::from_secs(2);

/// How long complete lines of output wait for more before they become a record.
pub(crate) const LINES_DELAY: Duration = Duration::from_millis(50);
/// How long the beginning of a line waits for its end.
pub(crate) const PARTIAL_LINE_DELAY: Duration = Duration::from_secs(1);
/// How long pipes may still hold output after everything in the sandbox is dead.
pub(crate) const PIPE_DRAIN_SPAN: Duration = Duration::from_secs(2);

/// Artifacts that are carried at once: fewer than the coordinator lets one connection upload.
pub(crate) const ARTIFACTS_AT_ONCE: usize = 12;
/// How long one artifact call may be silent.
pub(crate) const ARTIFACT_SILENCE_MAX: Duration = Duration::from_secs(30);
