//! Rules that no compiler keeps: who may know whom, which names may be said where.
//!
//! Each rule looks at the code alone: comments and texts are blanked out before, and for production
//! code the unit tests, too. An exception is a line here, with its reason.

#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

mod circles;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use source::{File, production, root, rust};

/// The lines of code that say one of these.
fn sayings(files: &[File], words: &[&str]) -> Vec<String> {
    let says = |line: &str| words.iter().any(|word| source::has_word(line, word));
    files
        .iter()
        .flat_map(|file| {
            let lines = file.code.lines().enumerate();
            lines
                .filter(|(_, line)| says(line))
                .map(|(at, line)| format!("{}:{}: {}", file.path, at + 1, line.trim()))
        })
        .collect()
}

/// What is said outside the files whose paths begin so.
fn said_outside(files: Vec<File>, allowed: &[&str], words: &[&str]) -> Vec<String> {
    let outside = files
        .into_iter()
        .filter(|file| !allowed.iter().any(|path| file.path.starts_with(path)));
    sayings(&outside.collect::<Vec<_>>(), words)
}

#[track_caller]
fn nobody(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path).join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap()
}

/// The packages that one depends on, those of its tests left out.
fn dependencies(path: &str) -> Vec<String> {
    let manifest = manifest(path);
    let names = manifest
        .get("dependencies")
        .and_then(|table| table.as_table());
    names
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn board_knows_nobody() {
    assert_eq!(dependencies("coordinator/board"), ["thiserror"]);
}

#[test]
fn packages_know_only_whom_they_may() {
    let own = |path| {
        let is_own = |name: &String| *name == "board" || name.starts_with("ganger-");
        dependencies(path)
            .into_iter()
            .filter(is_own)
            .collect::<Vec<_>>()
    };
    assert_eq!(own("proto"), Vec::<String>::new());
    assert_eq!(own("coordinator"), ["board", "ganger-proto"]);
    assert_eq!(own("worker"), ["ganger-proto"]);
    assert_eq!(
        own("cli"),
        ["ganger-coordinator", "ganger-proto", "ganger-worker"]
    );
}

#[test]
fn sled_is_named_in_the_store_alone() {
    let found = said_outside(
        production("coordinator/src"),
        &["coordinator/src/store"],
        &["sled"],
    );
    nobody(&found, "sled is named in coordinator/src/store alone");
    for path in ["worker", "cli", "proto", "coordinator/board"] {
        assert!(
            !dependencies(path).contains(&"sled".to_owned()),
            "{path} depends on sled"
        );
    }
}

#[test]
fn status_of_the_coordinator_is_made_in_one_place() {
    const MAKERS: &[&str] = &[
        "new",
        "with_details",
        "with_metadata",
        "with_details_and_metadata",
        "with_error_details",
        "from_error",
        "ok",
        "cancelled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    let makers: Vec<String> = MAKERS
        .iter()
        .map(|maker| format!("Status::{maker}"))
        .collect();
    let makers: Vec<&str> = makers.iter().map(String::as_str).collect();

    let files = production("coordinator/src");
    let found = said_outside(files, &["coordinator/src/grpc/status"], &makers);

    nobody(
        &found,
        "a Status is made in coordinator/src/grpc/status alone",
    );
}

#[test]
fn grpc_and_store_never_meet_and_wire_and_board_keep_apart() {
    let grpc = [
        production("coordinator/src/grpc"),
        production("coordinator/src/grpc.rs"),
    ]
    .concat();
    nobody(
        &sayings(&grpc, &["crate::store", "sled"]),
        "grpc never names the store",
    );
    let names_store = |file: &&File| file.code.contains("store::");
    let found: Vec<String> = grpc
        .iter()
        .filter(names_store)
        .map(|file| file.path.clone())
        .collect();
    nobody(&found, "grpc never names the store");

    let wire = ["ganger_proto", "tonic", "pbjson_types", "crate::grpc"];
    let inner = [
        "store",
        "store.rs",
        "engine",
        "engine.rs",
        "fleet",
        "fleet.rs",
        "driver.rs",
        "hub.rs",
    ];
    for path in inner {
        let files = production(&format!("coordinator/src/{path}"));
        assert!(!files.is_empty(), "{path} is there");
        nobody(&sayings(&files, &wire), "wire types end at grpc");
    }
    nobody(
        &sayings(&rust("proto"), &["board"]),
        "board types are not on the wire",
    );
}

#[test]
fn rules_of_the_board_and_verbs_of_the_tool_name_each_other_in_no_circle() {
    for (directory, prefix) in [
        ("coordinator/board/src/decide", "super::"),
        ("cli/src", "crate::"),
    ] {
        nobody(&circles::circle(directory, prefix), "a circle");
    }
}

#[test]
fn time_is_read_in_clocks_alone() {
    let coordinator = [
        "coordinator/src/clock.rs",
        // How long the driver itself waits and works is its own business.
        "coordinator/src/driver.rs",
        // How long the start took, which GetStatus tells.
        "coordinator/src/run.rs",
    ];
    let worker = [
        "worker/src/clock.rs",
        // Bounds on how long a killed process may take to die, and what sandboxes cost.
        "worker/src/sandbox/",
    ];
    let words = ["SystemTime::now", "Instant::now"];

    let found = [
        said_outside(production("coordinator/src"), &coordinator, &words),
        said_outside(production("worker/src"), &worker, &words),
        said_outside(
            production("coordinator/board/src"),
            &[],
            &["SystemTime", "Instant"],
        ),
    ];

    nobody(&found.concat(), "time is read in clock.rs alone");
}

#[test]
fn environment_is_read_in_configs_alone() {
    let allowed = [
        "coordinator/src/config",
        "worker/src/config",
        "cli/src/config",
        // The filter of log lines, which is set before anything can be said.
        "coordinator/src/telemetry.rs",
        // How a process knows that it is a launcher, and not a worker.
        "worker/src/sandbox/",
        // By which name the one binary was called.
        "cli/src/lib.rs",
    ];
    let words = [
        "env::var",
        "env::var_os",
        "env::vars",
        "env::vars_os",
        "env::args",
        "env::args_os",
        "try_from_env",
        "from_default_env",
    ];
    let files = [
        "coordinator/src",
        "coordinator/board/src",
        "worker/src",
        "cli/src",
    ]
    .map(production)
    .concat();

    nobody(
        &said_outside(files, &allowed, &words),
        "the environment is read in config.rs alone",
    );
}

#[test]
fn signals_are_heard_in_few_places() {
    let allowed = [
        "coordinator/src/shutdown.rs",
        "worker/src/shutdown.rs",
        "cli/src/signals.rs",
    ];
    let files = ["coordinator/src", "worker/src", "cli/src"]
        .map(production)
        .concat();

    let found = said_outside(files, &allowed, &["SignalKind", "ctrl_c"]);

    nobody(&found, "signals are heard in shutdown.rs alone");
}

#[test]
fn nothing_is_left_undone() {
    let all = ["coordinator", "worker", "cli", "proto", "tests"]
        .map(rust)
        .concat();
    nobody(
        &sayings(&all, &["todo!", "unimplemented!", "dbg!"]),
        "nothing is left undone",
    );
    nobody(&sayings(&all, &["#[ignore"]), "no test is left out");

    let written = |file: &File| {
        let text = fs::read_to_string(root().join(&file.path)).unwrap();
        // Written apart, so that this line is none of them.
        let marks = [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("XX", "X"),
        ];
        let says = |line: &str| marks.iter().any(|mark| source::has_word(line, mark));
        let lines = text.lines().enumerate();
        let found = lines.filter(|(_, line)| says(line));
        found
            .map(|(at, line)| format!("{}:{}: {line}", file.path, at + 1))
            .collect::<Vec<_>>()
    };
    // This one has the words that others may not, and the demo counts them in other people's code.
    let own = ["tests/tests/tidy", "cli/src/demo"];
    let is_own = |file: &&File| own.iter().any(|path| file.path.starts_with(path));
    let others = all.iter().filter(|file| !is_own(file));
    let marked: Vec<String> = others.flat_map(written).collect();
    nobody(&marked, "what is to be done stands in an issue");
}

#[test]
fn tests_never_sleep() {
    let tests = rust("tests/tests").into_iter().chain(rust("tests/src"));
    let units = ["coordinator", "worker", "cli"].map(rust).concat();
    let units = units.into_iter().map(File::tests_only);
    let files: Vec<File> = tests.chain(units).collect();

    // A test whose clock is tokio's own, and paused, doesn't wait: it moves the clock.
    let found = sayings(&files, &["sleep", "thread::sleep"]);
    let found: Vec<String> = found
        .into_iter()
        .filter(|line| !line.contains("sleep_until"))
        .collect();

    nobody(&found, "a test waits for an event, or moves a clock");
}

/// The words in capitals that stand in quotes.
fn reasons(text: &str) -> BTreeSet<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let is_reason = |word: &&str| {
        word.len() > 3
            && word
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    quoted.filter(is_reason).map(ToOwned::to_owned).collect()
}

#[test]
fn every_reason_of_an_error_is_documented_and_no_other() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let dir = "coordinator/src/grpc/status";
    let used = reasons(&(read(&format!("{dir}.rs")) + &read(&format!("{dir}/refusals.rs"))));
    let types = read("proto/ganger/v1/types.proto");
    let (_, told) = types.split_once("The reasons:").unwrap();
    let (told, _) = told.split_once("package ganger.v1;").unwrap();
    let words = told.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let mut told: BTreeSet<String> = words
        .filter(|word| word.len() > 3)
        .map(ToOwned::to_owned)
        .collect();
    // The codes that head the lines.
    for code in [
        "INVALID_ARGUMENT",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "ABORTED",
        "DATA_LOSS",
        "RESOURCE_EXHAUSTED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNAVAILABLE",
        "UNIMPLEMENTED",
    ] {
        assert!(told.remove(code), "{code}");
    }

    assert_eq!(used, told);
}

/// The names of all refusals of the board.
fn refusals() -> Vec<String> {
    let text = fs::read_to_string(root().join("coordinator/board/src/refusal.rs")).unwrap();
    let refusals = source::blank(&text);
    let (_, refusals) = refusals.split_once("pub enum Refusal {").unwrap();
    let (refusals, _) = refusals.split_once("\n}").unwrap();
    let names = refusals.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let name = line.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        name.starts_with(|c: char| c.is_ascii_uppercase())
            .then_some(name)
    });
    let names: Vec<String> = names.map(ToOwned::to_owned).collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

const TABLES: &str = "coordinator/src/grpc/status/refusals.rs";

#[test]
fn every_refusal_of_the_board_has_a_code_of_its_own() {
    let tables = source::blank(&fs::read_to_string(root().join(TABLES)).unwrap());

    let missing = refusals()
        .into_iter()
        .filter(|name| !source::has_word(&tables, &format!("Refusal::{name}")));
    nobody(&missing.collect::<Vec<_>>(), "these refusals have no code");
}

/// The reason that each refusal has on the wire, where it is no other's as well.
fn own_reasons() -> BTreeMap<String, String> {
    let tables = fs::read_to_string(root().join(TABLES)).unwrap();
    let reason = |name: &str| {
        let (_, row) = tables.split_once(&format!("Refusal::{name}"))?;
        let (row, _) = row.split_once("Refusal::").unwrap_or((row, ""));
        reasons(row).into_iter().next()
    };
    let found: Vec<_> = refusals()
        .into_iter()
        .map(|name| {
            (
                reason(&name).unwrap_or_else(|| panic!("{name} has no reason")),
                name,
            )
        })
        .collect();
    let is_own = |reason: &String| found.iter().filter(|(other, _)| other == reason).count() == 1;
    let own = found.iter().filter(|(reason, _)| is_own(reason));
    own.map(|(reason, name)| (name.clone(), reason.clone()))
        .collect()
}

#[test]
fn every_refusal_of_the_board_comes_about_in_a_test() {
    // That one makes one of each by hand, to look at their codes.
    let is_table = |file: &File| file.path == "coordinator/src/grpc/status/tests.rs";
    let rules = rust("coordinator").into_iter().map(File::tests_only);
    let rules: Vec<File> = rules.filter(|file| !is_table(file)).collect();
    let outside = ["tests/tests/e2e", "cli/tests"].map(rust).concat();
    let outside: Vec<String> = outside
        .iter()
        .map(|file| fs::read_to_string(root().join(&file.path)).unwrap())
        .collect();
    let reasons = own_reasons();
    let comes_about = |name: &String| {
        let is_named = |file: &File| source::has_word(&file.code, &format!("Refusal::{name}"));
        let is_told = |reason: &String| {
            let quoted = format!("\"{reason}\"");
            outside.iter().any(|text| text.contains(&quoted))
        };
        rules.iter().any(is_named) || reasons.get(name).is_some_and(is_told)
    };

    let never: Vec<String> = refusals().into_iter().filter(|n| !comes_about(n)).collect();

    nobody(&never, "no test brings these refusals about");
}

#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let lost: Vec<String> = links
        .filter(|link| !link.starts_with("http") && !link.starts_with('#'))
        .filter(|link| !Path::new(&root().join(link)).exists())
        .map(ToOwned::to_owned)
        .collect();
    nobody(&lost, "these links of README.md lead nowhere");
}
