//! What is kept of an attempt: its result, and the outputs that its task named.

use std::{fs::File, io::Read, path::Path};

use ganger_proto::v1::{Artifact, AttemptEnding, Ended, TranscriptKind};

use super::{Dirs, Ground, Job, Line, Order, running::Ran};
use crate::{
    agent::output::Tail,
    artifacts::{ArtifactError, Content},
    limits::{REASON_LEN_MAX, RESULT_LEN_MAX},
    sandbox::{CollectError, CollectLimits, Collected, CollectedFile, collect},
    text::{self, causes},
};

/// The file of the workspace that is the result.
const RESULT_FILE: &str = "result.md";

/// A longer result is also an artifact, because dependants are shown no more of it than this.
const RESULT_SHOWN_MAX: usize = 16 << 10;

/// Puts result and outputs into the report. A stop ends what takes time: then outputs stay behind.
pub(super) async fn keep(
    ground: &Ground,
    job: &Job,
    dirs: &Dirs,
    ran: Ran,
    line: &mut Line,
    ended: &mut Ended,
) {
    let result = match ran.result {
        Some(said) => Found::Said(said),
        None => read_result(&dirs.workspace)
            .await
            .unwrap_or(Found::Tail(ran.stdout)),
    };
    let (text, whole) = result.shown();
    ended.result = text;
    if line.order() >= Order::Stop {
        return;
    }
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
            Ok(outputs) => ended.outputs = outputs,
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

/// Where a result was found.
enum Found {
    /// In the sub-agent's own words.
    Said(String),
    /// In its file: the beginning, the file, and its size.
    File(String, File, u64),
    /// At the end of the standard output.
    Tail(Tail),
}

impl Found {
    /// The text for the report, and the whole where that should be an artifact too.
    fn shown(self) -> (String, Option<Content>) {
        match self {
            Self::Said(text) => whole_if_long(cut_start(text, 0)),
            Self::File(text, file, size) => {
                let is_long = size > RESULT_SHOWN_MAX as u64;
                let whole = is_long.then(|| Content::File(tokio::fs::File::from_std(file), size));
                (cut_end(text, size), whole)
            }
            Self::Tail(tail) => {
                let (text, cut) = tail.finish();
                whole_if_long(cut_start(text, cut))
            }
        }
    }
}

fn whole_if_long(text: String) -> (String, Option<Content>) {
    let whole = (text.len() > RESULT_SHOWN_MAX).then(|| Content::Text(text.clone().into()));
    (text, whole)
}

/// The beginning of a text of this size, as much as a report holds.
fn cut_end(text: String, size: u64) -> String {
    if size <= RESULT_LEN_MAX as u64 && text.len() <= RESULT_LEN_MAX {
        return text;
    }
    let note = format!("\n[cut: the whole {RESULT_FILE} has {size} bytes and is an artifact]");
    text::keep_head(text, RESULT_LEN_MAX - note.len()) + &note
}

/// The end of a text that lost its beginning, as much as a report holds.
fn cut_start(text: String, cut: u64) -> String {
    if cut == 0 && text.len() <= RESULT_LEN_MAX {
        return text;
    }
    // Room for the note with any number.
    let kept = text::tail(&text, RESULT_LEN_MAX - 64);
    let cut = cut + (text.len() - kept.len()) as u64;
    format!(
        "[cut: {cut} bytes came before]
{kept}"
    )
}

async fn read_result(workspace: &Path) -> Option<Found> {
    let collected = gather(workspace, vec![RESULT_FILE.to_owned()]).await.ok()?;
    let CollectedFile { file, size, .. } = collected.files.into_iter().next()?;
    let reading = move || {
        let mut bytes = Vec::new();
        (&file)
            .take(RESULT_LEN_MAX as u64)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(Found::File(
            String::from_utf8_lossy(&bytes).into_owned(),
            file,
            size,
        ))
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
    let collected = gather(&dirs.workspace, job.assignment.output_globs.clone()).await?;
    for refused in &collected.refused {
        tell(
            line,
            format!("{} is not kept: {}", refused.path.display(), refused.why),
        )
        .await;
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
    for CollectedFile { path, file, size } in collected.files {
        match path.into_os_string().into_string() {
            Ok(path) => contents.push((path, Content::File(tokio::fs::File::from_std(file), size))),
            Err(path) => {
                tell(
                    line,
                    format!("{} is not kept: its name is not UTF-8", path.display()),
                )
                .await
            }
        }
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

async fn gather(workspace: &Path, globs: Vec<String>) -> Result<Collected, String> {
    let workspace = workspace.to_owned();
    let gathering = move || collect(&workspace, &globs, &CollectLimits::default());
    let gathered = tokio::task::spawn_blocking(gathering)
        .await
        .map_err(|error| causes(&error))?;
    gathered.map_err(|error: CollectError| causes(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_does_not_fit_is_cut_and_says_so() {
        let long = "ä".repeat(RESULT_LEN_MAX);

        let head = cut_end(long.clone(), long.len() as u64);
        let tail = cut_start(long.clone(), 10);

        assert!(head.len() <= RESULT_LEN_MAX && head.starts_with('ä'));
        assert!(
            head.ends_with("bytes and is an artifact]"),
            "{}",
            &head[head.len() - 80..]
        );
        assert!(tail.len() <= RESULT_LEN_MAX && tail.ends_with('ä'));
        assert!(tail.starts_with("[cut: "));
    }

    #[test]
    fn a_result_that_fits_is_left_alone() {
        let exact = "x".repeat(RESULT_LEN_MAX);

        assert_eq!(cut_end(exact.clone(), exact.len() as u64), exact);
        assert_eq!(cut_start(exact.clone(), 0), exact);
    }
}
