//! What the tool writes, letter by letter.

use ganger_proto::v1;

use super::*;

fn plain(text: &str) -> String {
    console::strip_ansi_codes(text).into_owned()
}

#[test]
fn table_aligns_columns_and_cuts_to_the_width() {
    let mut table = Table::new(&["ID", "STATUS", "SUBJECT"]);
    table.row(vec![
        "1".into(),
        paint("completed", Style::new().green()),
        "Größe prüfen".into(),
    ]);
    table.row(vec!["1000".into(), "pending".into(), String::new()]);

    assert_eq!(
        plain(&table.text(None)),
        "ID    STATUS     SUBJECT\n\
         1     completed  Größe prüfen\n\
         1000  pending\n"
    );
    assert_eq!(
        plain(&table.text(Some(22))),
        "ID    STATUS     SUBJ…\n\
         1     completed  Größ…\n\
         1000  pending\n"
    );
}

#[test]
fn facts_align_and_leave_out_the_empty() {
    let mut facts = Facts::new();
    facts
        .add("status", "pending")
        .add("owner", "")
        .add("description", "first\nsecond\n");

    assert_eq!(
        plain(&facts.text()),
        "status       pending\ndescription\n  first\n  second\n"
    );
}

#[test]
fn json_of_an_answer_is_one_object_in_one_line() {
    let answer = v1::CancelTaskResponse {
        task: Some(v1::Task {
            id: 7,
            status: v1::TaskStatus::InProgress.into(),
            open_blockers: vec![3],
            ..v1::Task::default()
        }),
    };

    let text = Output::new(Format::Json).answer_text(&answer, || "for people".into());

    assert_eq!(
        text.unwrap(),
        "{\"task\":{\"id\":\"7\",\"status\":\"TASK_STATUS_IN_PROGRESS\",\"openBlockers\":[\"3\"]}}\n"
    );
}

#[test]
fn people_get_the_words_and_a_line_break() {
    let text = Output::new(Format::Table).answer_text(&1, || "for people".into());

    assert_eq!(text.unwrap(), "for people\n");
}

#[test]
fn text_of_others_cannot_steer_the_terminal() {
    assert_eq!(safe_line("a\nb\u{1b}[2Jc\td\u{202e}e"), "a b [2Jc d e");
    assert_eq!(
        safe_block("ok\r\n\u{1b}[1;31mred\u{1b}[0m\tx\u{1b}[2J\u{1b}]0;title\u{7}"),
        "ok\n\u{1b}[1;31mred\u{1b}[0m\tx\u{fffd}[2J\u{fffd}]0;title\u{fffd}"
    );
    assert_eq!(safe_block("10%\r20%\u{1b}["), "10%\n20%\u{fffd}[");
}
