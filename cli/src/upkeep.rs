//! `ganger coordinator backup`, `restore` and `compact`: the board as a file, and as a smaller one.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use ganger_coordinator::{
    config::DEFAULT_DATA_DIR,
    upkeep::{self, UpkeepError},
    writeback::PacedFile,
};
use ganger_proto::v1;
use serde::Serialize;

use crate::{context::Context, failure::Failure};

/// What to do with a board.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Back up the board of a coordinator that runs; it goes on meanwhile
    #[command(after_help = "\
The backup is the board as it was at one commit. Transcripts and artifacts are files beside the
board in the coordinator's data directory, and not in it.

Example:
  ganger coordinator backup --to ganger.backup")]
    Backup {
        /// The file to make; one that is there is replaced when the backup is whole
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Make a data directory of a backup
    #[command(after_help = "\
The board gets a new epoch: workers let go of what they still run for the one that was backed up.

Example:
  ganger coordinator restore ganger.backup --data-dir /var/lib/ganger")]
    Restore {
        /// The backup
        file: PathBuf,
        /// The data directory to make: one that is not there yet, or empty
        #[arg(long, value_name = "DIR", env = "GANGER_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
        data_dir: PathBuf,
    },
    /// Make the database of a stopped coordinator as small as it can be
    #[command(after_help = "\
A start does it by itself where it is worth while.

Example:
  ganger coordinator compact --data-dir /var/lib/ganger")]
    Compact {
        /// The data directory
        #[arg(long, value_name = "DIR", env = "GANGER_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
        data_dir: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// What the coordinator refused, or what the disk did.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Backup { to } => back_up(&to, context).await,
        Verb::Restore { file, data_dir } => restore(&file, &data_dir, context),
        Verb::Compact { data_dir } => compact(&data_dir, context),
    }
}

#[derive(Serialize)]
struct BackedUp<'a> {
    file: &'a Path,
    commit: u64,
    bytes: u64,
}

async fn back_up(to: &Path, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut stream = client
        .ask(v1::BackUpBoardRequest {}, |client, request| async move {
            client.fleet().back_up_board(request).await
        })
        .await?;
    let mut file = Part::begin(to).map_err(|error| unwritten(to, error))?;
    let mut commit = 0;
    while let Some(answer) = stream.message().await.map_err(Failure::from)? {
        file.add(&answer.chunk)
            .map_err(|error| unwritten(to, error))?;
        commit = answer.commit;
    }
    if commit == 0 {
        return Err(Failure::local("the backup was cut off; try again"));
    }
    let bytes = file.finish(to).map_err(|error| unwritten(to, error))?;
    let answer = BackedUp {
        file: to,
        commit,
        bytes,
    };
    let to = to.display();
    context.out.answer(&answer, || {
        format!("{to}: the board at commit {commit}, {bytes} bytes")
    })?;
    Ok(())
}

fn unwritten(to: &Path, error: io::Error) -> Failure {
    Failure::local(format!("can't write {}: {error}", to.display()))
}

/// A file that gets its name when it is whole and on the disk. What it holds is its owner's alone.
struct Part {
    path: PathBuf,
    /// Paced: it may lie on the disk that the coordinator's commits wait for.
    file: PacedFile,
    is_named: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_named {
            // That it stays is no harm: the next one replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Part {
    fn begin(to: &Path) -> io::Result<Self> {
        let mut path = to.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file: PacedFile::new(file),
            is_named: false,
        })
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(bytes)
    }

    fn finish(mut self, to: &Path) -> io::Result<u64> {
        self.file.sync()?;
        fs::rename(&self.path, to)?;
        self.is_named = true;
        let dir = to.parent().filter(|dir| *dir != Path::new(""));
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(self.file.len())
    }
}

#[derive(Serialize)]
struct Restored<'a> {
    data_dir: &'a Path,
    commit: u64,
    at: String,
    teams: u64,
    tasks: u64,
}

fn restore(file: &Path, data_dir: &Path, context: &Context) -> Result<(), Failure> {
    let restored = upkeep::restore(file, data_dir).map_err(of_upkeep)?;
    let answer = Restored {
        data_dir,
        commit: restored.commit,
        at: humantime::format_rfc3339_seconds(restored.at).to_string(),
        teams: restored.teams,
        tasks: restored.tasks,
    };
    context.out.answer(&answer, || {
        format!(
            "{dir}: the board at commit {commit} of {at}; teams: {teams}, tasks: {tasks}\n\
             start it: ganger coordinator --data-dir {dir}",
            dir = data_dir.display(),
            commit = answer.commit,
            at = answer.at,
            teams = answer.teams,
            tasks = answer.tasks,
        )
    })?;
    Ok(())
}

#[derive(Serialize)]
struct Compacted {
    bytes_before: u64,
    bytes_after: u64,
}

fn compact(data_dir: &Path, context: &Context) -> Result<(), Failure> {
    let compacted = upkeep::compact(data_dir).map_err(of_upkeep)?;
    let answer = Compacted {
        bytes_before: compacted.before,
        bytes_after: compacted.after,
    };
    context.out.answer(&answer, || {
        format!(
            "{}: {} bytes became {}",
            data_dir.display(),
            compacted.before,
            compacted.after
        )
    })?;
    Ok(())
}

/// All causes in one line.
fn of_upkeep(error: UpkeepError) -> Failure {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    Failure::local(texts.join(": "))
}
