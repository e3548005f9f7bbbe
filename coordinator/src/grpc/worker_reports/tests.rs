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

fn progress(task_id: u64, indices: &[i64], doing: Option<&str>) -> v1::Progress {
    let record = |index: &i64| v1::TranscriptRecord {
        index: *index,
        text: "x".repeat(100),
        ..v1::TranscriptRecord::default()
    };
    v1::Progress {
        fence: Some(v1::Fence {
            task_id,
            ..v1::Fence::default()
        }),
        records: indices.iter().map(record).collect(),
        doing: doing.map(Into::into),
    }
}

fn in_line(frames: impl IntoIterator<Item = v1::Progress>) -> Waiting {
    let (sender, line) = mpsc::channel(10_000);
    for frame in frames {
        sender.try_send(Said::Progress(frame)).unwrap();
    }
    Waiting { line, next: None }
}

#[tokio::test]
async fn records_that_follow_on_go_together_with_the_last_word_of_what_is_done() {
    let mut waiting = in_line([
        progress(1, &[3], Some("testing")),
        progress(1, &[4, 5], None),
        progress(2, &[6], Some("another's")),
        progress(1, &[6], None),
    ]);

    let together = waiting.gather(progress(1, &[1, 2], Some("building")));

    assert_eq!(together, progress(1, &[1, 2, 3, 4, 5], Some("testing")));
    let others = [
        progress(2, &[6], Some("another's")),
        progress(1, &[6], None),
    ];
    for other in others {
        assert_eq!(waiting.next().await, Some(Said::Progress(other)));
    }
    assert_eq!(waiting.next().await, None);
}

#[tokio::test]
async fn records_that_do_not_follow_on_stay_apart() {
    for (first, second) in [
        (&[1_i64][..], &[3_i64][..]),
        (&[2], &[2]),
        (&[2], &[]),
        (&[], &[1]),
        (&[i64::MAX], &[i64::MIN]),
    ] {
        let mut waiting = in_line([progress(1, second, None)]);

        assert_eq!(
            waiting.gather(progress(1, first, None)),
            progress(1, first, None)
        );
        let apart = Said::Progress(progress(1, second, None));
        assert_eq!(waiting.next().await, Some(apart));
    }
}

#[tokio::test]
async fn what_goes_together_is_bounded() {
    let frames = (2..=5_000).map(|index| progress(1, &[index], None));
    let mut waiting = in_line(frames);

    let together = waiting.gather(progress(1, &[1], None));

    let bytes = weight(&together);
    assert!(
        (TOGETHER_MAX..TOGETHER_MAX + 200).contains(&bytes),
        "{bytes}"
    );
    let next = i64::try_from(together.records.len()).unwrap() + 1;
    let rest = Said::Progress(progress(1, &[next], None));
    assert_eq!(waiting.next().await, Some(rest));
}
