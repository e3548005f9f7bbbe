//! What becomes of reports that can't be taken as they are.

use board::task::Usage;

use super::*;

fn completed_with(paths: &[&str]) -> EndReport {
    let output = |path: &&str| Artifact {
        digest: board::id::Digest([1; 32]),
        path: (*path).into(),
        size: 1,
    };
    EndReport {
        ending: AttemptEnding::Completed,
        result: "done".into(),
        error: "".into(),
        stop_reason: None,
        outputs: paths.iter().map(output).collect(),
        usage: Usage::default(),
    }
}

#[test]
fn outputs_that_stay_below_their_directory_are_kept() {
    let longest = "x".repeat(limits::ARTIFACT_PATH_LEN_MAX);
    let sound = completed_with(&["out.txt", "deep/..er/.out", &longest]);
    let mut report = sound.clone();

    check_paths(&mut report);

    assert_eq!(report, sound);
}

#[test]
fn attempt_with_an_output_that_leads_elsewhere_failed() {
    let too_long = "x".repeat(limits::ARTIFACT_PATH_LEN_MAX + 1);
    let single = [
        "",
        "/etc/passwd",
        "../out",
        "a/../b",
        "a//b",
        "a/.",
        "a\0",
        &too_long,
    ];
    let cases = single.map(|path| vec![path]).into_iter();
    for paths in cases.chain([vec!["out.txt", "out.txt"]]) {
        let mut report = completed_with(&paths);

        check_paths(&mut report);

        assert_eq!(report.ending, AttemptEnding::Failed, "{paths:?}");
        assert!(report.outputs.is_empty());
        assert!(report.error.starts_with("output "), "{}", report.error);
        assert_eq!(&*report.result, "done");
    }
}

#[test]
fn only_a_stale_question_ends_its_attempt() {
    let fence = Fence {
        epoch: board::id::Epoch(7),
        team: board::id::TeamUid(1),
        task: board::id::TaskId(1),
        attempt: board::id::AttemptNumber(1),
    };
    let answered = |kind, taken: Result<(), &Refusal>| match ack(&fence, kind, taken) {
        Told::ReportAck(ack) => (ack.accepted, ack.reason),
        other => panic!("{other:?}"),
    };
    let stale = Refusal::Stale {
        why: board::refusal::Staleness::Attempt,
    };
    let full = Refusal::Full {
        what: "questions of an attempt",
        max: 100,
    };
    let why = |refusal: &Refusal| refusal.to_string();

    use v1::ReportKind::{Asked, Ended};
    assert_eq!(answered(Asked, Ok(())), (true, String::new()));
    assert_eq!(answered(Asked, Err(&full)), (true, why(&full)));
    assert_eq!(answered(Asked, Err(&stale)), (false, why(&stale)));
    assert_eq!(answered(Ended, Err(&full)), (false, why(&full)));
}
