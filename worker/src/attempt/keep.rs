//! What is kept of an attempt: its result, and the outputs that its task named.

use std::{io::Read, path::Path};

use ganger_proto::v1::{Artifact, AttemptEnding, Ended, TranscriptKind};

use super::{Dirs, Ground, Job, Line, Order, running::Ran, whole::Output};
use crate::{
    artifacts::{ArtifactError, Content},
    limits::{REASON_LEN_MAX, RESULT_LEN_MAX},
    sandbox::{CollectError, CollectLimits, Collected, CollectedFile, collect},
    text::{self, causes},
};

/// The file of the workspace that is the result.
const RESULT_FILE: &str = "result.md";

/// A longer result is also an artifact, because dependants are shown no more of it than this.
const RESULT_SHOWN_MAX: u64 = 16 << 10;

/// Puts result and outputs into the report. A stop ends what takes time: then outputs stay behind.
pub(super) async fn keep(
    ground: &Ground,
    job: &Job,
    dirs: &Dirs,
    ran: Ran,
    line: &mut Line,
    ended: &mut Ended,
) {
    let found = match ran.result {
        Some(said) => Found::said(said),
        None => match read_result(&dirs.workspace).await {
            Some(file) => file,
            None => {
                let output = ran.stdout.finish().await;
                if let Err(error) = &output.whole {
                    let error = causes(error);
                    tell(line, format!("the whole output can't be kept: {error}")).await;
                }
                Found::output(output)
            }
        },
    };
    ended.result = found.shown(false);
    if line.order() >= Order::Stop {
        return;
    }
    let whole_is_kept = found.shown(true);
    let whole = found.whole.filter(|_| found.bytes > RESULT_SHOWN_MAX);
    let uploading = upload_all(ground, job, dirs, whole, line);
    let mut listening = Line {
        fence: line.fence.clone(),
        orders: line.orders.clone(),
        notices: line.notices.clone(),
    };
    tokio::select! {
        biased;
        _ = listening.ordered(Order::Stop) => {}
        uploaded = uploading => match uploaded {
            Ok(outputs) => {
                if outputs.iter().any(|output| output.path == RESULT_FILE) {
                    ended.result = whole_is_kept;
                }
                ended.outputs = outputs;
            }
            Err(error) => fail(ended, error),
        },
    }
}

/// A completed attempt without the outputs that were asked of it is not completed.
fn fail(ended: &mut Ended, error: String) {
    if ended.ending() == AttemptEnding::Completed {
        ended.set_ending(AttemptEnding::Failed);
        ended.error = error;
    } else {
        ended.error = format!("{}\n{error}", ended.error);
    }
}

/// A result that was found.
struct Found {
    /// As much of it as a report may hold, and maybe more.
    text: String,
    missing: Missing,
    /// How large the whole of it is.
    bytes: u64,
    /// All of it.
    whole: Option<Content>,
}

/// Which part of a result is not in its text, if any.
enum Missing {
    /// So many bytes before.
    Start(u64),
    /// The rest.
    End,
}

impl Found {
    /// In the sub-agent's own words.
    fn said(text: String) -> Self {
        Self {
            missing: Missing::Start(0),
            bytes: text.len() as u64,
            whole: Some(Content::Text(text.clone().into())),
            text,
        }
    }

    /// On the standard output.
    fn output(output: Output) -> Self {
        Self {
            text: output.text,
            missing: Missing::Start(output.cut),
            bytes: output.bytes,
            whole: output.whole.ok(),
        }
    }

    /// What a report tells: all of it where that fits, else a part that says so. It names the
    /// artifact where the whole `is_kept` as one.
    fn shown(&self, is_kept: bool) -> String {
        if self.bytes <= RESULT_LEN_MAX as u64 && self.text.len() <= RESULT_LEN_MAX {
            return self.text.clone();
        }
        let bytes = self.bytes;
        let whole = if is_kept {
            format!("the whole result has {bytes} bytes and is the artifact {RESULT_FILE}")
        } else {
            format!("the whole result had {bytes} bytes and was not kept")
        };
        match self.missing {
            Missing::End => {
                let note = format!("\n[cut: {whole}]");
                text::keep_head(self.text.clone(), RESULT_LEN_MAX - note.len()) + &note
            }
            Missing::Start(cut) => {
                // Room for the note with any number.
                let room = RESULT_LEN_MAX - whole.len() - 64;
                let kept = text::tail(&self.text, room);
                let cut = cut + (self.text.len() - kept.len()) as u64;
                format!("[cut: {cut} bytes came before; {whole}]\n{kept}")
            }
        }
    }
}

async fn read_result(workspace: &Path) -> Option<Found> {
    let globs = vec![RESULT_FILE.to_owned()];
    let collected = gather(workspace, globs, CollectLimits::default())
        .await
        .ok()?;
    let CollectedFile { file, size, .. } = collected.files.into_iter().next()?;
    let reading = move || {
        let mut bytes = Vec::new();
        (&file)
            .take(RESULT_LEN_MAX as u64)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(Found {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            missing: Missing::End,
            bytes: size,
            whole: Some(Content::File(tokio::fs::File::from_std(file), size)),
        })
    };
    tokio::task::spawn_blocking(reading).await.ok()?
}

async fn upload_all(
    ground: &Ground,
    job: &Job,
    dirs: &Dirs,
    result: Option<Content>,
    line: &Line,
) -> Result<Vec<Artifact>, String> {
    let globs = job.assignment.output_globs.clone();
    // Held until all are uploaded. It is never closed.
    let _turn = match globs.is_empty() {
        true => None,
        false => ground.collections.acquire().await.ok(),
    };
    let collected = gather(&dirs.workspace, globs, ground.collect_limits.clone()).await?;
    for refused in &collected.refused {
        tell(
            line,
            format!("{} is not kept: {}", refused.path.display(), refused.why),
        )
        .await;
    }
    if collected.refused_more > 0 {
        // One record for all of them: an agent may leave any number.
        let more = collected.refused_more;
        tell(line, format!("and {more} more are not kept")).await;
    }
    if collected.is_cut {
        tell(
            line,
            "the workspace is too large to be searched for outputs in full".to_owned(),
        )
        .await;
    }
    if collected.files.is_empty() && !job.assignment.output_globs.is_empty() {
        let globs = job.assignment.output_globs.join(", ");
        tell(line, format!("no output is kept: no file matches {globs}")).await;
    }
    let mut contents: Vec<(String, Content)> = Vec::new();
    let mut unnamed = Vec::new();
    for CollectedFile { path, file, size } in collected.files {
        match path.into_os_string().into_string() {
            Ok(path) => contents.push((path, Content::File(tokio::fs::File::from_std(file), size))),
            Err(path) => unnamed.push(path),
        }
    }
    if let Some(first) = unnamed.first() {
        let more = match unnamed.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let text = format!(
            "{} is not kept: its name is not UTF-8{more}",
            first.display()
        );
        tell(line, text).await;
    }
    if let Some(result) = result.filter(|_| contents.iter().all(|(path, _)| path != RESULT_FILE)) {
        contents.push((RESULT_FILE.to_owned(), result));
    }
    let mut outputs = Vec::with_capacity(contents.len());
    for (path, content) in contents {
        let uploaded = ground.artifacts.upload(&job.fence, &path, content).await;
        outputs
            .push(uploaded.map_err(|error: ArtifactError| format!("cannot keep {path}: {error}"))?);
    }
    Ok(outputs)
}

async fn tell(line: &Line, text: String) {
    let text = text::keep_head(text, REASON_LEN_MAX);
    line.say(TranscriptKind::Worker, text).await;
}

async fn gather(
    workspace: &Path,
    globs: Vec<String>,
    limits: CollectLimits,
) -> Result<Collected, String> {
    let workspace = workspace.to_owned();
    let gathering = move || collect(&workspace, &globs, &limits);
    let gathered = tokio::task::spawn_blocking(gathering)
        .await
        .map_err(|error| causes(&error))?;
    gathered.map_err(|error: CollectError| causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: String, missing: Missing, bytes: u64) -> Found {
        Found {
            text,
            missing,
            bytes,
            whole: None,
        }
    }

    #[test]
    fn a_result_that_does_not_fit_is_cut_and_says_so() {
        let long = "ä".repeat(RESULT_LEN_MAX);

        let head = found(long.clone(), Missing::End, long.len() as u64);
        let tail = found(long.clone(), Missing::Start(10), long.len() as u64 + 10);

        let whole = "bytes and is the artifact result.md]";
        let (head, lone) = (head.shown(true), head.shown(false));
        assert!(head.len() <= RESULT_LEN_MAX && head.starts_with('ä'));
        assert!(head.ends_with(whole), "{}", &head[head.len() - 80..]);
        assert!(lone.ends_with("and was not kept]"));
        let tail = tail.shown(true);
        let (note, rest) = tail.split_once('\n').unwrap();
        assert!(tail.len() <= RESULT_LEN_MAX);
        let cut = long.len() + 10 - rest.len();
        assert_eq!(
            note,
            format!(
                "[cut: {cut} bytes came before; the whole result has {} {whole}",
                long.len() + 10
            )
        );
    }

    #[test]
    fn a_result_that_fits_is_left_alone() {
        let exact = "x".repeat(RESULT_LEN_MAX);

        for missing in [Missing::End, Missing::Start(0)] {
            let bytes = exact.len() as u64;
            assert_eq!(found(exact.clone(), missing, bytes).shown(true), exact);
        }
    }
}
