//! What a person does first: the demo, and what the README says.
//!
//! The tool's own tests prove its verbs one by one; here it is looked at from outside.

use std::{path::Path, process::Output};

use ganger_tests::{patiently, proc, programs};
use tokio::process::Command;

/// Runs the tool in a directory, with that directory's `tmp` for temporary files.
async fn ganger(dir: &Path, args: &[&str]) -> Output {
    std::fs::create_dir_all(dir.join("tmp")).unwrap();
    let mut command = Command::new(programs!().ganger);
    command
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TMPDIR", dir.join("tmp"))
        .kill_on_drop(true);
    let ran = patiently(format!("ganger {args:?}"), command.output()).await;
    ran.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn demo_works_on_a_fixture_repository_and_leaves_nothing_but_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    for (path, content) in [
        ("src/main.rs", "fn main() {\n    unsafe { lib::go() }\n}\n"),
        ("src/lib.rs", "pub unsafe fn go() {}\n"),
        ("tool.py", "print(1)\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"x\"\n[dependencies]\nserde = \"1.0\"\n",
        ),
    ] {
        let path = repo.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let sandbox = std::env::var("GANGER_TEST_SANDBOX").unwrap_or_else(|_| "native".into());

    let args = [
        "demo",
        "--repo",
        "repo",
        "--out",
        "out",
        "--sandbox",
        &sandbox,
    ];
    let ran = ganger(dir.path(), &args).await;

    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{out}\n{err}");
    let report = std::fs::read_to_string(dir.path().join("out/report.md")).unwrap();
    for fact in ["| Rust | 2 |", "| Python | 1 |", "serde", "unsafe"] {
        assert!(report.contains(fact), "no {fact:?} in {report}");
    }
    let verification = std::fs::read_to_string(dir.path().join("out/verification.md")).unwrap();
    assert!(verification.contains(" 0 wrong."), "{verification}");
    // The four analyses come before the report, and that before its verification.
    let at = |what: &str| {
        out.find(what)
            .unwrap_or_else(|| panic!("no {what:?} in {out}"))
    };
    let report_begins = at("#5 unblocked");
    for analysis in [
        "#1 completed",
        "#2 completed",
        "#3 completed",
        "#4 completed",
    ] {
        assert!(at(analysis) < at("#5 completed"), "{out}");
    }
    assert!(
        report_begins < at("#5 completed") && at("#5 completed") < at("#6 completed"),
        "{out}"
    );
    // No process and no file is left.
    assert_eq!(
        proc::showing(dir.path().to_str().unwrap()),
        Vec::<i32>::new()
    );
    let left: Vec<_> = std::fs::read_dir(dir.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!err.contains("panicked"), "{err}");
}

/// The command lines of the README that begin with `ganger`, comments cut off.
fn lines_of_the_readme() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let lines = lines.map(|line| line.split(" #").next().unwrap().trim());
    lines
        .filter_map(|line| {
            let own = line.strip_prefix("ganger ");
            own.or_else(|| line.strip_prefix("cargo run --release -- "))
        })
        .map(|line| line.split_whitespace().map(ToOwned::to_owned).collect())
        .collect()
}

#[tokio::test]
async fn commands_and_flags_of_the_readme_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines_of_the_readme();
    assert!(lines.len() >= 8, "{lines:?}");
    for line in lines {
        let flags: Vec<&String> = line.iter().filter(|word| word.starts_with("--")).collect();
        // The verbs: the words before the first that is a flag, a text, or a value of a flag.
        let mut verbs = Vec::new();
        let mut words = line.iter().peekable();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                // Flags before the verb have a value.
                words.next();
            } else if word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
                verbs.push(word.as_str());
            } else {
                break;
            }
        }
        let args = [&verbs[..], &["--help"]].concat();
        let ran = ganger(dir.path(), &args).await;
        let help = text(&ran.stdout);

        assert!(
            ran.status.success(),
            "ganger {line:?}: {}",
            text(&ran.stderr)
        );
        let last = verbs.last().unwrap();
        assert!(
            help.contains(&format!("ganger {}", verbs.join(" "))),
            "{last}: {help}"
        );
        for flag in flags {
            assert!(
                help.contains(flag.as_str()),
                "{flag} of {line:?} is not in:\n{help}"
            );
        }
    }
}
