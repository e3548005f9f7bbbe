//! `ganger doctor`: what this machine can hold, what is wrong, and the exact fix.

use std::path::{Path, PathBuf};

use owo_colors::Style;
use serde::Serialize;

use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    output::{paint, safe_line},
};

mod coordinator;
mod machine;
mod sandbox;

/// Where to look.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit 0 when nothing is wrong, else 1. What is only worth knowing doesn't count."
)]
pub struct Args {
    /// Where the data lies or will lie
    #[arg(long, value_name = "DIR", default_value = ".ganger")]
    data_dir: PathBuf,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// In the way.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do, the best first.
    pub fixes: Vec<String>,
}

impl Finding {
    /// As it should be.
    pub fn good(what: &str, seen: impl Into<String>) -> Self {
        Self::new(what, Verdict::Good, seen, &[])
    }

    /// Worth knowing.
    pub fn note(what: &str, seen: impl Into<String>, fixes: &[&str]) -> Self {
        Self::new(what, Verdict::Note, seen, fixes)
    }

    /// In the way.
    pub fn wrong(what: &str, seen: impl Into<String>, fixes: &[&str]) -> Self {
        Self::new(what, Verdict::Wrong, seen, fixes)
    }

    fn new(what: &str, verdict: Verdict, seen: impl Into<String>, fixes: &[&str]) -> Self {
        Self {
            what: what.into(),
            verdict,
            seen: seen.into(),
            fixes: fixes.iter().map(|&fix| fix.into()).collect(),
        }
    }
}

/// Looks at everything.
///
/// # Errors
/// Where stdout is gone.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let mut findings = machine::look(&existing(&args.data_dir));
    findings.extend(sandbox::look().await);
    findings.extend(
        context
            .settings
            .token_file
            .as_deref()
            .map(machine::token_file),
    );
    let client = Client::connect(&context.settings);
    findings.push(coordinator::look(context.within(client).await, context).await);

    let is_well = findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Wrong);
    let told = serde_json::json!({"ok": is_well, "findings": findings});
    context.out.answer(&told, || text(&findings))?;
    Ok(if is_well { Exit::Done } else { Exit::Failed })
}

/// The directory, or the nearest one above that is there.
fn existing(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let there = dir.ancestors().find(|dir| dir.exists());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn text(findings: &[Finding]) -> String {
    let style = Style::new();
    let width = findings
        .iter()
        .map(|finding| finding.what.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => paint("ok   ", style.green()),
            Verdict::Note => paint("note ", style.yellow()),
            Verdict::Wrong => paint("WRONG", style.red().bold()),
        };
        text.push_str(&format!(
            "{mark}  {:width$}  {}\n",
            finding.what,
            safe_line(&finding.seen)
        ));
        for (index, fix) in finding.fixes.iter().enumerate() {
            let lead = if index == 0 { "fix:" } else { "or: " };
            text.push_str(&format!("       {:width$}  {lead} {fix}\n", ""));
        }
    }
    let wrong = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Wrong)
        .count();
    text.push_str(&match wrong {
        0 => paint("nothing is wrong", style.green().bold()),
        1 => paint("1 thing is wrong", style.red().bold()),
        count => paint(&format!("{count} things are wrong"), style.red().bold()),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_their_fixes_and_the_sum() {
        let findings = [
            Finding::good("kernel", "6.1"),
            Finding::wrong("disk", "full", &["make room", "use another"]),
        ];

        assert_eq!(
            console::strip_ansi_codes(&text(&findings)),
            "ok     kernel  6.1\nWRONG  disk    full\n               fix: make room\n               \
             or:  use another\n1 thing is wrong"
        );
    }

    #[test]
    fn data_that_is_not_there_yet_is_looked_for_above() {
        let dir = tempfile::tempdir().unwrap();

        assert_eq!(existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(existing(dir.path()), dir.path());
    }
}
