//! Changes that nobody can make.

use ganger_proto::v1::{TaskStatus, UpdateTaskRequest};
use ganger_tests::refused;
use tonic::Code::{Aborted, FailedPrecondition, InvalidArgument, NotFound};

use super::{ABSENT, KIB, bad_field, board, metadata, rows, small_board, text, update};

type Change = Box<dyn Fn(&mut UpdateTaskRequest)>;

fn doing(change: impl Fn(&mut UpdateTaskRequest) + 'static) -> Change {
    Box::new(change)
}

#[tokio::test]
async fn bad_changes_are_refused_and_change_nothing() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let (begun, done): (i32, i32) = (TaskStatus::InProgress.into(), TaskStatus::Completed.into());
    let table = rows! {
        "no task", NotFound, "TASK_NOT_FOUND": |u| u.task_id = ABSENT;
        "task 0", InvalidArgument, "VALUE_INVALID": |u| u.task_id = 0;
        "no team", NotFound, "TEAM_NOT_FOUND": |u| u.team = "nobody".into();
        "blank", InvalidArgument, "FIELD_BLANK": |u| u.subject = Some(" ".into());
        "long", InvalidArgument, "FIELD_TOO_LONG": |u| u.description = Some(text(256 * KIB + 1));
        "result", InvalidArgument, "FIELD_TOO_LONG": |u| u.result = Some(text(256 * KIB + 1));
        "metadata", InvalidArgument, "FIELD_TOO_LONG": |u| u.metadata = metadata(64 * KIB + 1);
        "owner", NotFound, "MEMBER_NOT_FOUND": |u| u.owner = Some("nobody".into());
        "status 77", InvalidArgument, "VALUE_INVALID": |u| u.status = 77;
        "itself", InvalidArgument, "EDGE_TO_SELF": |u| u.add_blocked_by = vec![1];
        "circle", InvalidArgument, "EDGE_CYCLE": |u| u.add_blocked_by = vec![2];
        "unknown edge", NotFound, "TASK_NOT_FOUND": |u| u.add_blocked_by = vec![ABSENT];
        "revision", Aborted, "REVISION_MISMATCH": |u| u.expected_revision = 4_711;
        "half good", NotFound, "TASK_NOT_FOUND":
            |u| (u.subject, u.add_blocked_by) = (Some("new".into()), vec![ABSENT]);
        "blocked", FailedPrecondition, "TASK_BLOCKED":
            move |u| (u.task_id, u.status) = (2, begun);
        "blocked end", FailedPrecondition, "TASK_BLOCKED":
            move |u| (u.task_id, u.status) = (2, done);
        "late", Aborted, "TASK_OVER": move |u| (u.task_id, u.status) = (3, done);
    };

    for (what, change, code, reason) in table {
        let mut request = update(1);
        change(&mut request);
        println!("{what}");
        let answer = client.task().update_task(request).await;
        let status = answer.as_ref().err().cloned();
        let info = refused(answer, code, reason);
        match reason {
            "EDGE_TO_SELF" | "EDGE_CYCLE" => {
                assert_eq!(bad_field(&status.unwrap()), "add_blocked_by");
                if reason == "EDGE_CYCLE" {
                    assert_eq!(info.metadata["path"], "1,2,1");
                }
            }
            "TASK_BLOCKED" => assert_eq!(info.metadata["blockers"], "1"),
            "REVISION_MISMATCH" => {
                let details = status.unwrap().details().to_vec();
                let present = b"type.googleapis.com/ganger.v1.Task";
                assert!(details.windows(present.len()).any(|part| part == present));
            }
            _ => {}
        }
    }

    assert_eq!(board(&client).await, before);
}
