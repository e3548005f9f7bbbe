//! What a program gets: its command, its input, its view, its results.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use ganger_worker::sandbox::{
    CollectLimits, Command, Exit, Mount, Refusal, SandboxError, Stdin, collect,
};
use tokio::io::AsyncReadExt;

use crate::support::{Bench, run, sh};

claims!(
    output_and_exit_come_back,
    input_reaches_the_program,
    a_program_that_does_not_exist_is_told,
    the_environment_is_what_was_given,
    common_tools_work,
    mounts_are_readable_and_nothing_more,
    a_mount_that_does_not_exist_is_told_with_its_path,
    several_programs_share_a_sandbox,
    files_of_the_workspace_can_be_collected,
);

async fn output_and_exit_come_back() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;

    assert_eq!(
        run(&*sandbox, "echo out; echo err >&2; exit 3").await,
        (Exit::Code(3), "out\nerr\n".into())
    );
    assert_eq!(
        run(&*sandbox, "kill -SEGV $$").await.0,
        Exit::Signal(libc::SIGSEGV)
    );
    assert_eq!(
        run(&*sandbox, "pwd; hostname; id -un").await.1,
        "/workspace\nsandbox\nagent\n"
    );
    assert_eq!(sandbox.id().as_str(), "a");
    sandbox.destroy().await.unwrap();
}

async fn input_reaches_the_program() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let bytes = vec![b'x'; 3 << 20];

    let mut process = sandbox
        .exec(Command {
            stdin: Stdin::Bytes(bytes),
            ..sh("wc -c")
        })
        .await
        .unwrap();
    let mut text = String::new();
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();

    assert_eq!(text, format!("{}\n", 3 << 20));
    assert_eq!(run(&*sandbox, "wc -c").await.1, "0\n");
}

async fn a_program_that_does_not_exist_is_told() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;

    for program in ["no-such-program", "/no/such/program"] {
        let result = sandbox
            .exec(Command::new([program]))
            .await
            .unwrap()
            .wait()
            .await;

        assert!(
            matches!(&result, Err(SandboxError::Program { program: named, source })
                if named == program && source.kind() == std::io::ErrorKind::NotFound),
            "{result:?}"
        );
    }
    assert_eq!(run(&*sandbox, "echo well").await.1, "well\n");
}

async fn the_environment_is_what_was_given() {
    let bench = Bench::new();
    let mut spec = bench.spec("a");
    spec.env.insert("GANGER_TASK".into(), "7 ä\n".into());
    let sandbox = bench.driver.create(spec).await.unwrap();

    let mut process = sandbox.exec(Command::new(["env", "-0"])).await.unwrap();
    let mut text = String::new();
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();

    assert_eq!(text, "GANGER_TASK=7 ä\n\0");
}

async fn common_tools_work() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;

    let script = "awk 'BEGIN { print 6 * 7 }'; ps -e -o comm= | head -1; nproc > /dev/null
        mktemp > /dev/null && sort < /dev/null && git init -q . && git status --short && echo git";
    let (exit, text) = run(&*sandbox, script).await;

    assert_eq!(
        (exit, text.as_str()),
        (Exit::Code(0), "42\nganger-sandbox\ngit\n")
    );
}

async fn mounts_are_readable_and_nothing_more() {
    let bench = Bench::new();
    let source = bench.dir.path().join("code");
    fs::create_dir_all(source.join("src")).unwrap();
    fs::write(source.join("src/file"), "text").unwrap();
    fs::set_permissions(&source, PermissionsExt::from_mode(0o755)).unwrap();
    let init = std::process::Command::new("git")
        .args(["init", "--quiet"])
        .arg(&source)
        .status();
    assert!(init.unwrap().success());
    let mut spec = bench.spec("a");
    // A git of another prefix looks for it elsewhere.
    spec.env
        .insert("GIT_CONFIG_SYSTEM".into(), "/etc/gitconfig".into());
    spec.read_only = vec![
        Mount {
            source: source.clone(),
            target: "/repo".into(),
        },
        Mount {
            source: source.join("src/file"),
            target: "/inputs/3/file".into(),
        },
    ];
    let sandbox = bench.driver.create(spec).await.unwrap();

    let (_, text) = run(
        &*sandbox,
        "cat /repo/src/file /inputs/3/file; echo; ls /; touch /repo/x /inputs/x 2>/dev/null || echo refused
         rm -f /repo/src/file; chmod 777 /repo; mount -o remount,rw /repo; true",
    )
    .await;

    // A repository of somebody else can be read by git.
    let (exit, git) = run(&*sandbox, "git -C /repo rev-parse --is-inside-work-tree").await;

    assert_eq!((exit, git.as_str()), (Exit::Code(0), "true\n"));
    assert!(text.starts_with("texttext\n"), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert_eq!(fs::read_to_string(source.join("src/file")).unwrap(), "text");
    assert_eq!(
        fs::metadata(&source).unwrap().permissions().mode() & 0o777,
        0o755
    );
    assert_eq!(fs::read_dir(&source).unwrap().count(), 2);
}

async fn a_mount_that_does_not_exist_is_told_with_its_path() {
    let bench = Bench::new();
    let mut spec = bench.spec("a");
    spec.read_only.push(Mount {
        source: "/no/such/code".into(),
        target: "/repo".into(),
    });

    let error = bench.driver.create(spec).await.err().unwrap().to_string();

    assert!(
        error.contains("/no/such/code") && error.contains("does not exist"),
        "{error}"
    );
}

async fn several_programs_share_a_sandbox() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;

    assert_eq!(
        run(&*sandbox, "echo one > file; echo two > /tmp/file")
            .await
            .0,
        Exit::Code(0)
    );
    assert_eq!(run(&*sandbox, "cat file /tmp/file").await.1, "one\ntwo\n");
    let (left, right) = tokio::join!(
        run(&*sandbox, "echo left"),
        run(&*sandbox, "echo right; exit 4")
    );

    assert_eq!(left, (Exit::Code(0), "left\n".into()));
    assert_eq!(right, (Exit::Code(4), "right\n".into()));
    sandbox.kill().await.unwrap();
    let late = sandbox.exec(sh("true")).await;
    assert!(
        matches!(late, Err(SandboxError::Dead)),
        "a dead sandbox runs nothing"
    );
}

async fn files_of_the_workspace_can_be_collected() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    run(
        &*sandbox,
        "mkdir out; echo hello > out/result.md; ln -s /etc/passwd out/link; mkfifo out/pipe",
    )
    .await;
    sandbox.kill().await.unwrap();

    let found = collect(
        &bench.workspace("a"),
        &["out/*".into()],
        &CollectLimits::default(),
    )
    .unwrap();

    let mut refused: Vec<_> = found.refused.iter().map(|refused| refused.why).collect();
    refused.sort_by_key(|why| *why as u8);
    assert_eq!(refused, [Refusal::Link, Refusal::NotAFile]);
    assert_eq!(found.files.len(), 1);
    assert_eq!(
        (found.files[0].path.to_str(), found.files[0].size),
        (Some("out/result.md"), 6)
    );
    let owner = fs::metadata(bench.workspace("a")).unwrap().uid();
    assert_ne!(owner, 0);
}
