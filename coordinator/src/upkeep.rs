//! What is done with a board that nobody serves: making one of a backup, and making one smaller.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use board::id::Epoch;

use crate::{
    run::make_dir,
    store::{self, SledStore, StoreError},
};

/// Where the board lies in a data directory.
pub const BOARD_DIR: &str = "board";

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The commit at which the backup is consistent.
    pub commit: u64,
    /// When that was made.
    pub at: SystemTime,
    /// How many teams there are.
    pub teams: u64,
    /// How many tasks they have.
    pub tasks: u64,
}

/// Bytes of a board's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// Why it can't be done.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// A backup is only restored where nothing is.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The data directory.
        dir: PathBuf,
    },
    /// The backup can't be opened.
    #[error("can't open {}", path.display())]
    Backup {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory can't be used.
    #[error("can't use {}", dir.display())]
    DataDir {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a data directory, with a new epoch, of a backup. Killed half way it leaves no board, and
/// can be tried again.
pub fn restore(backup: &Path, data_dir: &Path) -> Result<Restored, UpkeepError> {
    let file = File::open(backup).map_err(|source| UpkeepError::Backup {
        path: backup.to_owned(),
        source,
    })?;
    let unusable = |source| UpkeepError::DataDir {
        dir: data_dir.to_owned(),
        source,
    };
    make_dir(data_dir).map_err(unusable)?;
    for entry in fs::read_dir(data_dir).map_err(unusable)? {
        // An earlier try may have begun a board. Whether that is one the store finds out.
        if entry.map_err(unusable)?.file_name() != BOARD_DIR {
            let dir = data_dir.to_owned();
            return Err(UpkeepError::NotEmpty { dir });
        }
    }
    let epoch = Epoch(uuid::Uuid::new_v4().as_u128());
    let restored = store::restore(&data_dir.join(BOARD_DIR), file, epoch)?;
    let since_1970 = Duration::from_millis(u64::try_from(restored.at.0).unwrap_or(0));
    Ok(Restored {
        commit: restored.commit,
        at: SystemTime::UNIX_EPOCH + since_1970,
        teams: restored.teams,
        tasks: restored.tasks,
    })
}

/// Makes the board's files as small as they can be, whether or not a start would. The generation
/// before is kept beside the new one until the next time.
pub fn compact(data_dir: &Path) -> Result<Compacted, UpkeepError> {
    let board = data_dir.join(BOARD_DIR);
    fs::metadata(&board).map_err(|source| UpkeepError::DataDir {
        dir: data_dir.to_owned(),
        source,
    })?;
    let (before, after) = SledStore::compact(&board)?;
    Ok(Compacted { before, after })
}
