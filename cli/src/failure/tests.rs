//! Each way to fail has its exit code and its words.

use std::collections::HashMap;

use tonic_types::ErrorDetails;

use super::*;

fn plain(failure: &Failure) -> String {
    console::strip_ansi_codes(&failure.text()).into_owned()
}

#[test]
fn every_code_has_its_exit_code() {
    let table = [
        (Code::InvalidArgument, Exit::Usage),
        (Code::NotFound, Exit::NotFound),
        (Code::AlreadyExists, Exit::Conflict),
        (Code::FailedPrecondition, Exit::Conflict),
        (Code::Aborted, Exit::Conflict),
        (Code::ResourceExhausted, Exit::Failed),
        (Code::DeadlineExceeded, Exit::TimedOut),
        (Code::Unauthenticated, Exit::Failed),
        (Code::PermissionDenied, Exit::Failed),
        (Code::Unavailable, Exit::Unavailable),
        (Code::Internal, Exit::Failed),
        (Code::Unknown, Exit::Failed),
    ];
    for (code, exit) in table {
        let failure = Failure::from(Status::new(code, "no"));

        assert_eq!(failure.exit(), exit, "{code:?}");
    }
}

#[test]
fn exit_codes_are_those_of_the_help() {
    for exit in [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::TaskFailed,
        Exit::NotFound,
        Exit::Conflict,
        Exit::Unavailable,
        Exit::TimedOut,
        Exit::Interrupted,
    ] {
        let line = format!("\n  {:<5}", exit as u8);
        assert!(EXIT_CODES.contains(&line), "{exit:?}");
    }
}

#[test]
fn refusal_tells_reason_facts_and_what_next() {
    let mut details = ErrorDetails::with_error_info(
        "TASK_BLOCKED",
        "ganger.dev",
        HashMap::from([
            ("task".into(), "3".into()),
            ("blockers".into(), "1,2".into()),
        ]),
    );
    details.add_bad_request_violation("task_id", "is blocked");
    let status = Status::with_error_details(
        Code::FailedPrecondition,
        "task #3 waits for #1, #2",
        details,
    );

    let failure = Failure::from(status);

    assert_eq!(
        plain(&failure),
        "error: task #3 waits for #1, #2\n  reason: TASK_BLOCKED\n  blockers: 1,2\n  task: 3\n  \
         task_id: is blocked\nnext: finish its open blockers first; see them with \
         `ganger task show 3`"
    );
    assert_eq!(
        failure.json(),
        serde_json::json!({"error": {
            "message": "task #3 waits for #1, #2",
            "code": "FAILED_PRECONDITION",
            "exitCode": 5,
            "reason": "TASK_BLOCKED",
            "metadata": {"task": "3", "blockers": "1,2"},
            "fields": {"task_id": "is blocked"},
            "next": "finish its open blockers first; see them with `ganger task show 3`",
        }})
    );
}

#[test]
fn advice_of_the_coordinator_is_taken_where_this_tool_has_none() {
    let refusal = |reason: &str| {
        let facts = HashMap::from([("next".into(), "do it in several calls".into())]);
        let details = ErrorDetails::with_error_info(reason, "ganger.dev", facts);
        Failure::from(Status::with_error_details(
            Code::InvalidArgument,
            "no",
            details,
        ))
    };

    assert_eq!(
        plain(&refusal("COMMAND_TOO_LARGE")),
        "error: no\n  reason: COMMAND_TOO_LARGE\nnext: do it in several calls"
    );
    assert!(plain(&refusal("TEAM_NOT_FOUND")).ends_with("`ganger team create`"));
}

#[test]
fn facts_of_a_refusal_stand_in_what_to_do() {
    let next = |reason: &str, fact: (&str, &str)| {
        let facts = HashMap::from([(fact.0.into(), fact.1.into())]);
        let details = ErrorDetails::with_error_info(reason, "ganger.dev", facts);
        let status = Status::with_error_details(Code::FailedPrecondition, "no", details);
        Failure::from(status).next().unwrap()
    };

    assert_eq!(
        next("REVISION_GONE", ("oldest_revision", "41")),
        "see what is kept with `ganger watch --after 40`"
    );
    assert_eq!(
        next("MAILBOX_FULL", ("member", "bob")),
        "bob must take mail out first: `ganger mail receive --ack`"
    );
    assert_eq!(
        next("TASK_PAUSED", ("task", "3")),
        "let it go on with `ganger task resume 3`"
    );
}

#[test]
fn missing_coordinator_names_the_way_to_start_one() {
    let failure = Failure::NoCoordinator {
        addr: "127.0.0.1:50051".into(),
        cause: "connection refused".into(),
    };

    assert_eq!(
        plain(&failure),
        "error: no coordinator at 127.0.0.1:50051\n  cause: connection refused\nnext: start one \
         with `ganger up`"
    );
    assert_eq!(failure.exit(), Exit::Unavailable);
}

#[test]
fn hostile_message_stays_on_its_line() {
    let failure = Failure::from(Status::not_found("no\n\u{1b}[2Jnext: rm"));

    assert_eq!(plain(&failure), "error: no  [2Jnext: rm");
}

#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    let failure = Failure::Stdout(io::Error::from(io::ErrorKind::BrokenPipe));

    assert_eq!(failure.exit(), Exit::Done);
}
