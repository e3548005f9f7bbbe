//! Laying out what a sub-agent may read: its inputs, its blockers' results, its prompt.
//!
//! Nothing here was written by an agent of this worker, but paths come from others: each is checked
//! to be plain and relative before it is used.

use std::{
    collections::BTreeSet,
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use ganger_proto::v1::{Artifact, Assignment, BlockerResult};
use serde::Serialize;
use tokio::fs;

use crate::{
    agent::{INPUTS, INSTRUCTIONS, MAIL, OWN, PROMPT},
    artifacts::{ArtifactError, Artifacts},
    limits::{INPUT_FILES_MAX, INPUTS_LEN_MAX},
};

/// The list of what lies there.
const INDEX: &str = "index.json";
/// A blocker's result.
const RESULT: &str = "result.md";

/// Why inputs can't be laid out.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayError {
    /// A path that isn't plain and relative.
    #[error("{0:?} is not a plain relative path")]
    Path(String),
    /// Two files at one place.
    #[error("two inputs want to lie at {0}")]
    Taken(PathBuf),
    /// Too many or too large.
    #[error("there are more than {INPUT_FILES_MAX} files or {INPUTS_LEN_MAX} bytes")]
    TooMuch,
    /// An artifact that can't be had.
    #[error("{path}: {source}")]
    Artifact {
        /// Where it was to lie.
        path: PathBuf,
        /// The cause.
        source: ArtifactError,
    },
    /// The worker's own disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// What `index.json` says.
#[derive(Serialize)]
struct Index<'a> {
    tasks: Vec<IndexTask<'a>>,
    inputs: Vec<IndexFile<'a>>,
}

#[derive(Serialize)]
struct IndexTask<'a> {
    id: u64,
    subject: &'a str,
    result: PathBuf,
    outputs: Vec<IndexFile<'a>>,
}

#[derive(Serialize)]
struct IndexFile<'a> {
    path: PathBuf,
    sha256: &'a str,
    size: i64,
}

/// What is to lie where.
struct Plan<'a> {
    texts: Vec<(PathBuf, &'a str)>,
    artifacts: Vec<(PathBuf, &'a Artifact)>,
    index: Index<'a>,
}

/// Lays everything below `task`, readable by everybody, because a sandbox has a user of its own.
pub(super) async fn lay(
    task: &Path,
    assignment: &Assignment,
    artifacts: &Artifacts,
) -> Result<(), LayError> {
    let plan = plan(assignment)?;
    let own = task.join(OWN.trim_start_matches('/'));
    let inputs = task.join(INPUTS.trim_start_matches('/'));
    for dir in [task, &own, &inputs] {
        make_dir(dir).await?;
    }
    write(&own.join(PROMPT), assignment.prompt.as_bytes()).await?;
    if !assignment.instructions.is_empty() {
        write(&own.join(INSTRUCTIONS), assignment.instructions.as_bytes()).await?;
    }
    if !assignment.mail.is_empty() {
        let mail = serde_json::to_vec_pretty(&assignment.mail).map_err(io::Error::other)?;
        write(&own.join(MAIL), &mail).await?;
    }
    for (path, text) in plan.texts {
        make_parents(&inputs, &path).await?;
        write(&inputs.join(path), text.as_bytes()).await?;
    }
    for (path, artifact) in plan.artifacts {
        make_parents(&inputs, &path).await?;
        match artifacts.download(artifact, &inputs.join(&path)).await {
            Ok(()) => {}
            Err(ArtifactError::Disk(error)) => return Err(error.into()),
            Err(source) => return Err(LayError::Artifact { path, source }),
        }
    }
    let index = serde_json::to_vec_pretty(&plan.index).map_err(io::Error::other)?;
    Ok(write(&inputs.join(INDEX), &index).await?)
}

fn plan(assignment: &Assignment) -> Result<Plan<'_>, LayError> {
    let index = Index {
        tasks: Vec::new(),
        inputs: Vec::new(),
    };
    let mut plan = Plan {
        texts: Vec::new(),
        artifacts: Vec::new(),
        index,
    };
    for artifact in &assignment.inputs {
        let path = relative(&artifact.path)?;
        plan.index.inputs.push(IndexFile {
            path: path.clone(),
            sha256: &artifact.sha256,
            size: artifact.size,
        });
        plan.artifacts.push((path, artifact));
    }
    for blocker in &assignment.blockers {
        plan.add_blocker(blocker)?;
    }
    plan.check()?;
    Ok(plan)
}

impl<'a> Plan<'a> {
    fn add_blocker(&mut self, blocker: &'a BlockerResult) -> Result<(), LayError> {
        let dir = PathBuf::from(blocker.task_id.to_string());
        let result = dir.join(RESULT);
        let mut outputs = Vec::with_capacity(blocker.outputs.len());
        for artifact in &blocker.outputs {
            let path = dir.join(relative(&artifact.path)?);
            outputs.push(IndexFile {
                path: path.clone(),
                sha256: &artifact.sha256,
                size: artifact.size,
            });
            self.artifacts.push((path, artifact));
        }
        // Where the result is a file among the outputs, that is the whole of it.
        if outputs.iter().all(|output| output.path != result) {
            self.texts.push((result.clone(), &blocker.result));
        }
        self.index.tasks.push(IndexTask {
            id: blocker.task_id,
            subject: &blocker.subject,
            result,
            outputs,
        });
        Ok(())
    }

    /// No file may lie at, above or beneath another, and all together must fit.
    fn check(&self) -> Result<(), LayError> {
        let texts = self.texts.iter().map(|(path, _)| path);
        let artifacts = self.artifacts.iter().map(|(path, _)| path);
        let index = PathBuf::from(INDEX);
        let mut files = BTreeSet::new();
        for path in texts.chain(artifacts).chain([&index]) {
            if !files.insert(path) {
                return Err(LayError::Taken(path.clone()));
            }
        }
        for path in &files {
            if let Some(above) = path
                .ancestors()
                .skip(1)
                .find(|above| files.contains(&above.to_path_buf()))
            {
                return Err(LayError::Taken(above.to_owned()));
            }
        }
        let sizes = self
            .artifacts
            .iter()
            .map(|(_, artifact)| u64::try_from(artifact.size).unwrap_or(0));
        let total = sizes.fold(0, u64::saturating_add);
        if files.len() > INPUT_FILES_MAX || total > INPUTS_LEN_MAX {
            Err(LayError::TooMuch)
        } else {
            Ok(())
        }
    }
}

fn relative(path: &str) -> Result<PathBuf, LayError> {
    let bad = || LayError::Path(path.to_owned());
    let plain = Path::new(path);
    let is_plain = plain
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || path.contains('\0') || !is_plain {
        Err(bad())
    } else {
        Ok(plain.to_owned())
    }
}

async fn make_parents(root: &Path, path: &Path) -> io::Result<()> {
    let parents: Vec<_> = path
        .ancestors()
        .skip(1)
        .filter(|parent| !parent.as_os_str().is_empty())
        .collect();
    for parent in parents.into_iter().rev() {
        make_dir(&root.join(parent)).await?;
    }
    Ok(())
}

async fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path).await {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).await
}

async fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes).await?;
    fs::set_permissions(path, Permissions::from_mode(0o644)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(path: &str) -> Artifact {
        Artifact {
            sha256: "00".repeat(32),
            path: path.into(),
            size: 1,
        }
    }

    fn with(inputs: &[&str], blockers: &[(u64, &[&str])]) -> Assignment {
        Assignment {
            inputs: inputs.iter().map(|path| artifact(path)).collect(),
            blockers: blockers
                .iter()
                .map(|(task_id, outputs)| BlockerResult {
                    task_id: *task_id,
                    outputs: outputs.iter().map(|path| artifact(path)).collect(),
                    ..BlockerResult::default()
                })
                .collect(),
            ..Assignment::default()
        }
    }

    fn places(assignment: &Assignment) -> Vec<String> {
        let plan = plan(assignment).unwrap();
        let texts = plan.texts.iter().map(|(path, _)| path);
        texts
            .chain(plan.artifacts.iter().map(|(path, _)| path))
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn results_and_outputs_of_blockers_lie_below_their_ids() {
        let plain = with(&["data/a.csv"], &[(3, &["out/b.md"])]);
        let whole = with(&[], &[(3, &["result.md"])]);

        assert_eq!(places(&plain), ["3/result.md", "data/a.csv", "3/out/b.md"]);
        assert_eq!(places(&whole), ["3/result.md"]);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a/./../b", "a\0b"] {
            let refused = plan(&with(&[bad], &[])).err();

            assert!(matches!(refused, Some(LayError::Path(_))), "{bad:?}");
        }
    }

    #[test]
    fn no_input_lies_at_above_or_beneath_another() {
        for taken in [
            with(&["a", "a"], &[]),
            with(&["a", "a/b"], &[]),
            with(&["index.json"], &[]),
            with(&["3/result.md"], &[(3, &[])]),
            with(&["3"], &[(3, &[])]),
        ] {
            assert!(
                matches!(plan(&taken).err(), Some(LayError::Taken(_))),
                "{taken:?}"
            );
        }
    }
}
