//! Which output patterns can work.
//!
//! A worker matches them against paths beneath the workspace, after its sub-agent has run. So what it would
//! refuse then, or could never match, is refused when the task is made. The syntax is that of the worker's
//! matcher: `*`, `?` and `**`, classes `[a-z]` and `[!a]`, alternatives `{a,b}`, and `\` before a character
//! that means itself.

use std::iter::Peekable;

/// How deep alternatives may nest: the worker's matcher has a bound too, and a deeper one.
pub const ALTERNATIVES_DEPTH_MAX: usize = 16;

/// Checks one pattern.
///
/// # Errors
/// Why it can't work, as what follows the pattern in a sentence.
pub fn check(pattern: &str) -> Result<(), &'static str> {
    if pattern.starts_with('/') {
        return Err("is absolute; name it relative to the workspace, such as out/report.md");
    }
    if pattern.contains('\0') {
        return Err("has a NUL character, which no path has");
    }
    let path = pattern.strip_prefix("./").unwrap_or(pattern);
    for segment in path.split('/') {
        match segment {
            ".." => return Err("leads out of the workspace; leave out the .. segment"),
            "." => return Err("has a . segment, which no path in the workspace has"),
            "" if path.ends_with('/') => {
                return Err("ends with /; end it with /** for all files of a directory");
            }
            "" => return Err("has an empty segment, which no path in the workspace has"),
            _ => {}
        }
    }
    syntax(path)
}

/// Walks over the pattern as the worker's matcher parses it.
fn syntax(pattern: &str) -> Result<(), &'static str> {
    let mut depth = 0;
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next().is_none() => return Err("ends with a \\ that escapes nothing"),
            '[' => class(&mut chars)?,
            '{' if depth == ALTERNATIVES_DEPTH_MAX => return Err("nests {} too deep"),
            '{' => depth += 1,
            '}' if depth == 0 => return Err("has a } without a {"),
            '}' => depth -= 1,
            _ => {}
        }
    }
    if depth > 0 {
        return Err("has a { without a }");
    }
    Ok(())
}

/// A character class, after its `[`. A `]` that comes first is one of its characters, and a `-` makes a
/// range unless it comes first or last; `\` means itself.
fn class(chars: &mut Peekable<impl Iterator<Item = char>>) -> Result<(), &'static str> {
    const UNCLOSED: &str = "has a [ without a ]";
    chars.next_if(|char| matches!(char, '!' | '^'));
    let first = chars.next().ok_or(UNCLOSED)?;
    let mut last = first;
    let mut is_range = false;
    loop {
        match chars.next().ok_or(UNCLOSED)? {
            ']' => return Ok(()),
            '-' if !is_range => is_range = true,
            char if is_range => {
                if char < last {
                    return Err("has a range in [] whose end comes before its start");
                }
                // A - that follows at once goes on from the start of this range.
                is_range = false;
            }
            char => last = char,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_paths_beneath_the_workspace_are_taken() {
        for good in [
            "report.md",
            "./report.md",
            "out/**",
            "**",
            "**/*.{md,txt}",
            "a?[!b-d]e",
            "[]]",
            "[!]a-]",
            "a]",
            "\\{x",
            "a..b",
            "...",
            "{a,{b,c}}",
            "..{a,b}",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn patterns_that_can_not_work_are_refused_with_the_reason() {
        for (bad, why) in [
            ("/workspace/x", "is absolute"),
            ("/", "is absolute"),
            ("{x", "has a { without a }"),
            ("x}", "has a } without a {"),
            ("a[", "has a [ without a ]"),
            ("[]", "has a [ without a ]"),
            ("[z-a]", "has a range"),
            ("a\\", "ends with a \\"),
            ("../**", "leads out"),
            ("a/../b", "leads out"),
            ("a/..", "leads out"),
            ("a//b", "has an empty segment"),
            ("a/./b", "has a . segment"),
            (".", "has a . segment"),
            ("", "has an empty segment"),
            ("./", "has an empty segment"),
            ("out/", "ends with /"),
            ("a\0b", "has a NUL"),
            (&"{".repeat(99), "nests {} too deep"),
        ] {
            let refused = check(bad).expect_err(bad);
            assert!(refused.starts_with(why), "{bad:?}: {refused}");
        }
    }
}
