//! The board and the workers agree on which output patterns can work, though neither knows the other.

#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

use ganger_worker::sandbox::{CollectLimits, collect};
use proptest::prelude::*;

/// Patterns of the characters that mean something, and a few that don't.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ab.]",
        6 => "[*?{}\\[\\]\\\\,!^/-]",
        1 => Just("**".to_owned()),
        1 => Just("{a,b}".to_owned()),
        1 => Just("[b-a]".to_owned()),
        1 => "[é€𝄞\0]",
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// What the worker's matcher says of it.
fn compiles(pattern: &str) -> bool {
    let workspace = tempfile::tempdir().unwrap();
    collect(
        workspace.path(),
        &[pattern.to_owned()],
        &CollectLimits::default(),
    )
    .is_ok()
}

/// What the board refuses though it compiles: no path of a workspace has it, or it nests too deep.
fn can_match_nothing(pattern: &str) -> bool {
    let path = pattern.strip_prefix("./").unwrap_or(pattern);
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    path.contains('\0') || path.split('/').any(is_odd)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_board_takes_a_pattern_if_and_only_if_the_worker_can_match_it(pattern in pattern()) {
        match board::glob::check(&pattern) {
            Ok(()) => prop_assert!(compiles(&pattern), "taken: {pattern:?}"),
            Err(why) => prop_assert!(
                !compiles(&pattern) || can_match_nothing(&pattern),
                "refused: {pattern:?} {why}"
            ),
        }
    }
}

#[test]
fn the_deepest_pattern_that_the_board_takes_compiles() {
    let nested = |depth| format!("{}a{}", "{".repeat(depth), "}".repeat(depth));
    let depth = board::glob::ALTERNATIVES_DEPTH_MAX;

    assert_eq!(board::glob::check(&nested(depth)), Ok(()));
    assert!(compiles(&nested(depth)));
    assert!(board::glob::check(&nested(depth + 1)).is_err());
}
