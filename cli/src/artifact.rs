//! `ganger artifact`: files of tasks, by their SHA-256.

use std::{
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use clap::Subcommand;
use ganger_proto::v1;
use sha2::{Digest as _, Sha256};
use tokio_stream::StreamExt as _;
use tokio_util::io::ReaderStream;

use crate::{client::Client, context::Context, failure::Failure, follow::Patience, values::sha256};

/// How much goes into one message of an upload.
const CHUNK_LEN: usize = 256 * 1024;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Download a file
    Get {
        /// Its SHA-256, as `ganger task show` tells it
        #[arg(value_parser = sha256)]
        sha256: String,
        /// Where to put it; - for stdout
        #[arg(short = 'O', long, value_name = "FILE", default_value = "-")]
        to: PathBuf,
    },
    /// Upload a file, and print its SHA-256
    Put {
        /// The file
        file: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    match verb {
        Verb::Get { sha256, to } if to == Path::new("-") => {
            let mut stdout = io::stdout().lock();
            download(&client, &sha256, &mut stdout).await?;
            stdout.flush()?;
        }
        Verb::Get { sha256, to } => {
            let size = save(&client, &sha256, &to).await?;
            let artifact = v1::Artifact {
                sha256,
                path: to.display().to_string(),
                size,
            };
            context
                .out
                .answer(&artifact, || format!("{}: {size} bytes", to.display()))?;
        }
        Verb::Put { file } => {
            let answer = v1::UploadArtifactResponse {
                artifact: Some(put(&client, &file, &name_of(&file)).await?),
            };
            context.out.answer(&answer, || {
                answer
                    .artifact
                    .as_ref()
                    .map(|artifact| artifact.sha256.clone())
                    .unwrap_or_default()
            })?;
        }
    }
    Ok(())
}

/// Uploads the files that were named as `FILE` or `FILE=PATH`.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn put_all(
    client: &Client,
    named: &[String],
    context: &Context,
) -> Result<Vec<v1::Artifact>, Failure> {
    let mut artifacts = Vec::with_capacity(named.len());
    for name in named {
        let (file, path) = file_and_path(name);
        artifacts.push(put(client, &file, &path).await?);
        if named.len() > 1 {
            context.out.note(&format!("uploaded {}", file.display()));
        }
    }
    Ok(artifacts)
}

fn file_and_path(named: &str) -> (PathBuf, String) {
    match named.split_once('=') {
        // A file may have a `=` in its name.
        Some((file, path)) if !Path::new(named).exists() => (file.into(), path.into()),
        _ => (named.into(), name_of(Path::new(named))),
    }
}

fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

async fn put(client: &Client, file: &Path, path: &str) -> Result<v1::Artifact, Failure> {
    let unread =
        |error: io::Error| Failure::local(format!("can't read {}: {error}", file.display()));
    // The digest goes first, so that a file that changes or breaks under way is refused.
    let (sha256, size) = digest(file).map_err(unread)?;
    let asked = v1::GetArtifactRequest {
        sha256: sha256.clone(),
    };
    let known = client.artifacts().get_artifact(asked).await.ok();
    // One of another size is damaged: an upload replaces it.
    let known = known.and_then(|answer| answer.into_inner().artifact);
    if known.is_some_and(|artifact| artifact.size == size) {
        return Ok(v1::Artifact {
            sha256,
            path: path.into(),
            size,
        });
    }

    // Blobs are named by content: once more does no harm.
    let mut patience = Patience::default();
    loop {
        let opened = tokio::fs::File::open(file).await.map_err(unread)?;
        let header = v1::upload_artifact_request::Part::Header(v1::UploadHeader {
            path: path.into(),
            sha256: sha256.clone(),
            fence: None,
        });
        let chunks = ReaderStream::with_capacity(opened, CHUNK_LEN)
            .map_while(Result::ok)
            .map(v1::upload_artifact_request::Part::Chunk);
        let parts = tokio_stream::once(header)
            .chain(chunks)
            .map(|part| v1::UploadArtifactRequest { part: Some(part) });
        match client.artifacts().upload_artifact(parts).await {
            Ok(answer) => return Ok(answer.into_inner().artifact.unwrap_or_default()),
            Err(status) => patience.pause(client, Some(status)).await?,
        }
    }
}

fn digest(file: &Path) -> io::Result<(String, i64)> {
    let mut hasher = Sha256::new();
    let size = io::copy(&mut std::fs::File::open(file)?, &mut hasher)?;
    Ok((
        hex(&hasher.finalize()),
        i64::try_from(size).unwrap_or(i64::MAX),
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Downloads a blob into a file, which appears when it is whole and right.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn save(client: &Client, sha256: &str, to: &Path) -> Result<i64, Failure> {
    let unwritten =
        |error: io::Error| Failure::local(format!("can't write {}: {error}", to.display()));
    let dir = match to.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut part = tempfile::Builder::new()
        .prefix(".ganger-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(unwritten)?;
    let size = download(client, sha256, part.as_file_mut()).await?;
    part.persist(to).map_err(|error| unwritten(error.error))?;
    Ok(size)
}

/// Downloads an artifact to its own path below a directory, and answers where that is.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn save_below(
    client: &Client,
    artifact: &v1::Artifact,
    dir: &Path,
) -> Result<PathBuf, Failure> {
    let path = Path::new(&artifact.path);
    // The contract says so; a path that leads out of the directory is never followed.
    if !path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Err(Failure::local(format!(
            "{path:?} doesn't stay below a directory"
        )));
    }
    let to = dir.join(path);
    let parent = to.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent)
        .map_err(|error| Failure::local(format!("can't make {}: {error}", parent.display())))?;
    save(client, &artifact.sha256, &to).await?;
    Ok(to)
}

/// Writes a blob, and checks that it is the one that was asked for. A break of the wire is
/// bridged.
async fn download(client: &Client, sha256: &str, to: &mut impl Write) -> Result<i64, Failure> {
    let mut hasher = Sha256::new();
    let mut offset = 0_i64;
    let mut patience = Patience::default();
    loop {
        let request = v1::DownloadArtifactRequest {
            sha256: sha256.into(),
            offset,
            limit: 0,
        };
        let broken = match client.artifacts().download_artifact(request).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            patience.renew();
                            hasher.update(&answer.chunk);
                            offset += i64::try_from(answer.chunk.len()).unwrap_or(i64::MAX);
                            to.write_all(&answer.chunk)?;
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                }
            }
            Err(status) => Some(status),
        };
        match broken {
            Some(status) => patience.pause(client, Some(status)).await?,
            None if hex(&hasher.finalize()) == sha256 => return Ok(offset),
            None => {
                return Err(Failure::local(format!(
                    "what came is not {sha256}: the content has another digest"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_a_file_and_where_to_put_it() {
        assert_eq!(
            file_and_path("dir/a.txt"),
            ("dir/a.txt".into(), "a.txt".into())
        );
        assert_eq!(
            file_and_path("dir/a.txt=in/b.txt"),
            ("dir/a.txt".into(), "in/b.txt".into())
        );
    }

    #[test]
    fn file_with_an_equals_sign_is_taken_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a=b");
        std::fs::write(&file, "x").unwrap();

        let (found, path) = file_and_path(file.to_str().unwrap());

        assert_eq!((found, path), (file, "a=b".into()));
    }

    #[test]
    fn digest_is_the_sha256_in_hex() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hello.txt");
        std::fs::write(&file, "hello\n").unwrap();

        let (sha256, size) = digest(&file).unwrap();

        assert_eq!(
            sha256,
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        assert_eq!(size, 6);
    }
}
