//! Which of the directories `board-N` is the board.
//!
//! The highest number is: a generation gets its name, by a rename, only once it is complete, and
//! what is being made is called `board-N.new`. So a crash at any point leaves either the old
//! generation or the new one in force, whole. The one before it is kept for a person in need; it
//! lacks what was committed since.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{StoreError, database, durable};

/// The directory of a generation.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("board-{number}"))
}

fn unfinished_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("board-{number}.new"))
}

/// The generation in force, once what is not needed any more is removed.
pub(super) fn current(dir: &Path) -> Result<Option<u64>, StoreError> {
    let failed = |source| StoreError::io("looking through", dir, source);
    let mut numbers = Vec::new();
    let mut unneeded = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.strip_prefix("board-")) else {
            continue;
        };
        match number.strip_suffix(".new") {
            Some(unfinished) if unfinished.parse::<u64>().is_ok() => unneeded.push(entry.path()),
            Some(_) => {}
            None => numbers.extend(number.parse::<u64>()),
        }
    }
    numbers.sort_unstable();
    let current = numbers.pop();
    numbers.pop();
    unneeded.extend(numbers.into_iter().map(|number| path(dir, number)));
    for path in unneeded {
        fs::remove_dir_all(&path).map_err(|source| StoreError::io("removing", &path, source))?;
    }
    Ok(current)
}

/// Makes a generation: `fill` makes its database in the directory that it is given, and closes
/// and syncs it. Then it is put in force.
pub(super) fn make(
    dir: &Path,
    number: u64,
    fill: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unfinished = unfinished_path(dir, number);
    fill(&unfinished)?;
    durable::sync(dir)?;
    let path = path(dir, number);
    fs::rename(&unfinished, &path)
        .map_err(|source| StoreError::io("putting in force", &path, source))?;
    durable::sync(dir)
}

/// Removes what [`make`] left behind when it failed.
pub(super) fn remove_unfinished(dir: &Path, number: u64) -> io::Result<()> {
    match fs::remove_dir_all(unfinished_path(dir, number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes the first generation, empty.
pub(super) fn make_first(dir: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    make(dir, 1, |at| {
        let db = database::open(at, cache_bytes)?;
        database::settle(&db, at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_highest_generation_is_in_force_and_one_older_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "board-2",
            "board-9",
            "board-10",
            "board-11.new",
            "board-x",
            "board-x.new",
            "artifacts",
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }

        assert_eq!(current(dir.path()).unwrap(), Some(10));

        let kept = ["artifacts", "board-10", "board-9", "board-x", "board-x.new"];
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn a_generation_that_could_not_be_made_is_not_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), 1, |at| {
            fs::create_dir(at).unwrap();
            Err(database::corrupt(at, "a test"))
        });

        assert!(made.is_err());
        assert_eq!(names(dir.path()), ["board-1.new"]);
        assert_eq!(current(dir.path()).unwrap(), None);
        assert!(names(dir.path()).is_empty());
    }
}
