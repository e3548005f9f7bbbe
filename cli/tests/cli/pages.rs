//! Completions and manual pages: what is made from the whole command line.

use crate::run;

#[tokio::test]
async fn completions_and_pages_need_no_coordinator_and_know_the_daemons() {
    let dir = tempfile::tempdir().unwrap();

    let script = run(dir.path(), &["completions", "bash"]).await;
    let page = run(dir.path(), &["man"]).await;
    let pages = run(dir.path(), &["man", "share/man1"]).await;

    assert_eq!((script.code, page.code, pages.code), (0, 0, 0));
    assert!(script.out.contains("--expect-type"), "{}", script.out);
    assert!(page.out.contains(".TH ganger 1"), "{}", page.out);
    let written = std::fs::read_dir(dir.path().join("share/man1")).unwrap();
    let mut files: Vec<String> = written
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        pages.out,
        format!("wrote {} pages to share/man1\n", files.len())
    );
    for file in [
        "ganger.1",
        "ganger-coordinator.1",
        "ganger-task-batch-create.1",
        "ganger-mail-send.1",
    ] {
        assert!(files.contains(&file.to_owned()), "no {file} in {files:?}");
    }
}

#[tokio::test]
async fn pages_that_have_nowhere_to_go_say_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();

    let said = run(dir.path(), &["man", "file"]).await;

    assert_eq!(said.code, 1);
    assert!(said.err.contains("can't write to file"), "{}", said.err);
}
