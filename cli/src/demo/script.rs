//! What the demo's tasks run: shell scripts that look at a code base, and one that checks them.

/// What all scripts share; it goes before each.
const PRELUDE: &str = include_str!("prelude.sh");

/// The environment variable that tells a script where the code base is.
pub const REPO_VARIABLE: &str = "REPO";

/// One task of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// The task's subject.
    pub subject: &'static str,
    /// What the board shows while it runs.
    pub active_form: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    body: &'static str,
}

impl Script {
    /// What the sub-agent runs.
    pub fn prompt(&self) -> String {
        format!("{PRELUDE}\n{}", self.body)
    }
}

/// The analyses that run side by side.
pub const ANALYSES: [Script; 4] = [
    Script {
        subject: "Count files and lines by language",
        active_form: "Counting",
        description: "Counts the files of the code base, and the lines of those in a known language.",
        body: include_str!("languages.sh"),
    },
    Script {
        subject: "Find the largest and longest files",
        active_form: "Measuring",
        description: "Finds the ten largest files, and the ten with the most lines.",
        body: include_str!("sizes.sh"),
    },
    Script {
        subject: "List dependencies and their versions",
        active_form: "Reading manifests",
        description: "Reads the manifests of Cargo, npm, Go and pip, and Cargo's lock files.",
        body: include_str!("dependencies.sh"),
    },
    Script {
        subject: "Search for markers and unsafe code",
        active_form: "Searching",
        description: "Counts the lines that somebody meant to come back to, or that need care.",
        body: include_str!("markers.sh"),
    },
];

/// Puts the analyses' results together.
pub const REPORT: Script = Script {
    subject: "Write the report",
    active_form: "Writing",
    description: "Puts the results of the analyses together as report.md.",
    body: include_str!("report.sh"),
};

/// Checks the report against the code base.
pub const VERIFICATION: Script = Script {
    subject: "Verify the report",
    active_form: "Counting again",
    description: "Counts again by other means, and compares with what the report says.",
    body: include_str!("verify.sh"),
};

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        fs,
        os::unix::ffi::OsStrExt as _,
        path::{Path, PathBuf},
        process::{Command, Output},
    };

    use super::*;

    /// A code base, and a place for the scripts to work in.
    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new(files: &[(&[u8], &[u8])]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let fixture = Self { dir };
            fs::create_dir(fixture.repo()).unwrap();
            for (path, content) in files {
                let path = fixture.repo().join(OsStr::from_bytes(path));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            fixture
        }

        fn repo(&self) -> PathBuf {
            self.dir.path().join("repo")
        }

        fn run(&self, script: &Script, inputs: &str, work: &str) -> Output {
            let work = self.dir.path().join(work);
            fs::create_dir_all(&work).unwrap();
            let prompt = self.dir.path().join("prompt");
            fs::write(&prompt, script.prompt()).unwrap();
            Command::new("/bin/sh")
                .arg(prompt)
                .current_dir(work)
                .env(REPO_VARIABLE, self.repo())
                .env("GANGER_INPUTS", self.dir.path().join(inputs))
                .output()
                .unwrap()
        }

        /// Runs analyses and report; answers the report.
        fn report(&self) -> String {
            for (index, script) in ANALYSES.iter().enumerate() {
                // Two digits, so that an order by letters shows.
                let output = self.run(script, "none", &format!("analyses/{}", index + 8));
                assert!(output.status.success(), "{}: {output:?}", script.subject);
                assert_eq!(output.stderr, b"", "{}: {output:?}", script.subject);
            }
            let output = self.run(&REPORT, "analyses", "reports/12");
            assert!(output.status.success(), "{output:?}");
            // A name that isn't UTF-8 stands in it as it is; on its way over the wire it won't.
            let report = fs::read(self.dir.path().join("reports/12/report.md")).unwrap();
            String::from_utf8_lossy(&report).into_owned()
        }

        fn verify(&self) -> Output {
            self.run(&VERIFICATION, "reports", "verification")
        }

        fn result(&self) -> String {
            fs::read_to_string(self.dir.path().join("verification/result.md")).unwrap()
        }
    }

    fn assert_right(output: &Output) {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("checks are right"), "{said}");
    }

    fn ordinary() -> Fixture {
        Fixture::new(&[
            (b"src/main.rs", b"fn main() {\n    // TODO: all\n}\n"),
            (b"src/lib.rs", b"unsafe fn x() {}\nno end of line"),
            (b"script.py", b"print(1)\n"),
            (b"LICENSE", b"free\n"),
            (
                b"Cargo.toml",
                b"[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1.0\"\n\
                  tokio = { version = \"1.40\", features = [] }\nlocal = { path = \"../y\" }\n\n\
                  [dependencies.toml]\nversion = \"0.8\"\n",
            ),
            (
                b"Cargo.lock",
                b"[[package]]\nname = \"serde\"\n\n[[package]]\nname = \"x\"\n",
            ),
            (
                b"web/package.json",
                b"{\n  \"dependencies\": {\n    \"left-pad\": \"^1.3.0\"\n  }\n}\n",
            ),
            (
                b"go.mod",
                b"module x\n\nrequire (\n\texample.org/y v1.2.3\n)\n",
            ),
            (b"requirements.txt", b"requests==2.31 # why\n# none\n"),
            (b"target/debug/built.rs", b"// TODO: must not count\n"),
            (b"web/node_modules/y/index.js", b"TODO\n"),
            (b".git/config", b"TODO\n"),
        ])
    }

    #[test]
    fn report_tells_what_is_there() {
        let report = ordinary().report();

        for row in [
            "| Rust | 2 | 5 |",
            "| Python | 1 | 1 |",
            "| all | 9 | ",
            "| 3 | src/main.rs |",
            "| manifests | 4 |",
            "| direct dependencies | 6 |",
            "| packages locked by cargo | 2 |",
            "| cargo | serde | 1.0 |",
            "| cargo | tokio | 1.40 |",
            "| cargo | toml | 0.8 |",
            "| npm | left-pad | ^1.3.0 |",
            "| go | example.org/y | v1.2.3 |",
            "| pip | requests | ==2.31 |",
            "| TODO | 1 | 1 | src/main.rs (1) |",
            "| unsafe | 1 | 1 | src/lib.rs (1) |",
        ] {
            assert!(report.contains(row), "no {row} in:\n{report}");
        }
    }

    #[test]
    fn sections_stand_in_the_order_of_the_tasks() {
        let report = ordinary().report();

        let heads: Vec<&str> = report
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(
            heads,
            [
                "## Files and lines by language",
                "## Largest files",
                "## Longest files",
                "## Dependencies",
                "## Markers"
            ]
        );
    }

    #[test]
    fn verification_passes_a_true_report() {
        let fixture = ordinary();
        fixture.report();

        assert_right(&fixture.verify());
        assert!(
            fixture.result().contains(" 0 wrong."),
            "{}",
            fixture.result()
        );
    }

    #[test]
    fn verification_finds_what_is_wrong() {
        for (true_row, false_row) in [
            ("| all | 9 |", "| all | 10 |"),
            ("| Rust | 2 | 5 |", "| Rust | 2 | 6 |"),
            ("| Python | 1 | 1 |\n", ""),
            (
                "| packages locked by cargo | 2 |",
                "| packages locked by cargo | 3 |",
            ),
            ("| TODO | 1 |", "| TODO | 0 |"),
        ] {
            let fixture = ordinary();
            let report = fixture.report();
            let path = fixture.dir.path().join("reports/12/report.md");
            fs::write(path, report.replace(true_row, false_row)).unwrap();

            let output = fixture.verify();

            assert!(!output.status.success(), "{false_row} passes");
            assert!(fixture.result().contains("WRONG"), "{}", fixture.result());
        }
    }

    #[test]
    fn verification_finds_that_the_code_base_changed() {
        let fixture = ordinary();
        fixture.report();
        fs::write(fixture.repo().join("late.rs"), "fn late() {}\n").unwrap();

        assert!(!fixture.verify().status.success());
    }

    #[test]
    fn names_may_hold_anything() {
        let fixture = Fixture::new(&[
            (b"with space/a b.rs", b"// TODO\n"),
            (b"new\nline.rs", b"TODO\nTODO\n"),
            (b"new\ndir/x.py", b"TODO\n"),
            (b"\n", b""),
            (b"a=b.rs", b"x\n"),
            (b"-n.rs", b"x"),
            (b"--", b"x\n"),
            (b"pipe|`name`.md", b"a|b"),
            (b"$(touch pwned).rs", b"x\n"),
            (b"quote'\".rs", b"x\n"),
            (b"esc\x1b[2J.rs", b"x\n"),
            (b"not-utf8-\xff.rs", b"x\n"),
            (b"*.rs", b"x\n"),
            (b".rs", b"x\n"),
            (b"total", b"1\n"),
            (b"empty.py", b""),
            (b"crlf.js", b"a\r\nTODO\r\n"),
            (b"zero.c", b"x\0y\nTODO\0\n"),
        ]);
        std::os::unix::fs::symlink("/etc/passwd", fixture.repo().join("link.rs")).unwrap();
        std::os::unix::fs::symlink(fixture.repo(), fixture.repo().join("loop")).unwrap();

        let report = fixture.report();

        assert!(report.contains("| all | 18 |"), "{report}");
        assert!(report.contains("| pipe\\|`name`.md |"), "{report}");
        assert!(
            report.contains("Left out: 3 files with a line break"),
            "{report}"
        );
        assert!(!report.contains('\u{1b}'), "{report}");
        assert_right(&fixture.verify());
        assert!(!fixture.repo().join("pwned").exists());
    }

    #[test]
    fn empty_tree_has_a_report_that_verifies() {
        let fixture = Fixture::new(&[]);

        let report = fixture.report();

        assert!(report.contains("| all | 0 | 0 |"), "{report}");
        assert_right(&fixture.verify());
    }

    #[test]
    fn many_files_take_several_runs_and_still_add_up() {
        // Longer together than one command line may be.
        let long = "x".repeat(200);
        let names: Vec<String> = (0..1_500)
            .map(|n| format!("{long}/{long}/{long}/{long}{n}.rs"))
            .collect();
        let files: Vec<(&[u8], &[u8])> = names
            .iter()
            .map(|name| (name.as_bytes(), &b"// TODO\n"[..]))
            .collect();
        let fixture = Fixture::new(&files);

        let report = fixture.report();

        assert!(report.contains("| Rust | 1500 | 1500 |"), "{report}");
        assert!(report.contains("| TODO | 1500 | 1500 |"), "{report}");
        assert_right(&fixture.verify());
    }

    #[test]
    fn missing_inputs_are_said_and_fail() {
        let fixture = Fixture::new(&[]);
        fs::create_dir(fixture.dir.path().join("none")).unwrap();

        for script in [&REPORT, &VERIFICATION] {
            let output = fixture.run(script, "none", "work");

            assert!(!output.status.success());
            assert!(String::from_utf8_lossy(&output.stderr).starts_with("there is no "));
        }
    }

    #[test]
    fn scripts_name_only_the_tools_they_promise() {
        // What a slim image has; sed, head, cut, xargs and git are not promised.
        for script in ANALYSES.iter().chain([&REPORT, &VERIFICATION]) {
            let prompt = script.prompt();
            for tool in [
                "sed ", "head ", "cut ", "xargs ", "git ", "tr ", "perl ", "python3 ",
            ] {
                let starts = [
                    format!("| {tool}"),
                    format!("\n{tool}"),
                    format!("$({tool}"),
                ];
                assert!(
                    !starts.iter().any(|start| prompt.contains(start.as_str())),
                    "{tool}in {}",
                    script.subject
                );
            }
        }
        assert!(Path::new("/bin/sh").exists());
    }
}
