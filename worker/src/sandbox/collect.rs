//! Taking declared outputs from a workspace whose sandbox is dead.
//!
//! Whatever lies there was written by an agent: only regular files strictly beneath the workspace, with one
//! name and the workspace's own owner, are handed out, as open files. Nothing is ever followed, run or
//! waited for; what matched but was not taken is told.

use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet};
use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// Bounds on a collection.
#[derive(Clone, Debug)]
pub struct CollectLimits {
    /// Files handed out; each holds a descriptor.
    pub files: usize,
    /// Bytes of one file.
    pub file_size: u64,
    /// Bytes of all files together.
    pub total_size: u64,
    /// Directory entries looked at.
    pub entries: usize,
    /// Directories beneath each other.
    pub depth: usize,
    /// Paths that are named among those not taken; the others are counted.
    pub refused: usize,
}

impl Default for CollectLimits {
    fn default() -> Self {
        Self {
            files: 256,
            file_size: 256 << 20,
            total_size: 1 << 30,
            entries: 200_000,
            depth: 32,
            refused: 10,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The files, by path.
    pub files: Vec<CollectedFile>,
    /// What was asked for and not taken, the first [`CollectLimits::refused`] of it.
    pub refused: Vec<Refused>,
    /// How many more were not taken.
    pub refused_more: usize,
    /// Whether the walk stopped at [`CollectLimits::entries`] or [`CollectLimits::depth`].
    pub is_cut: bool,
}

/// A file of the workspace, open for reading.
#[derive(Debug)]
pub struct CollectedFile {
    /// Its path beneath the workspace.
    pub path: PathBuf,
    /// The file itself.
    pub file: File,
    /// Its size in bytes; readers stop there.
    pub size: u64,
}

/// A path that matched and was not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its path beneath the workspace.
    pub path: PathBuf,
    /// Why.
    pub why: Refusal,
}

/// Why a path was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It leads through a link, or out of the workspace.
    Link,
    /// It is not a regular file.
    NotAFile,
    /// It has a second name, perhaps elsewhere.
    SecondName,
    /// It belongs to somebody else.
    ForeignOwner,
    /// It is larger than a file may be.
    TooLarge,
    /// There are too many files, or too many bytes in all.
    TooMuch,
    /// It can't be opened.
    Unreadable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "it is reached through a link",
            Self::NotAFile => "it is not a regular file",
            Self::SecondName => "it has a second name (hard link)",
            Self::ForeignOwner => "it belongs to another user",
            Self::TooLarge => "it is too large",
            Self::TooMuch => "the outputs are too many or too large together",
            Self::Unreadable => "it cannot be read",
        })
    }
}

/// Why nothing could be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A pattern that is no glob beneath the workspace.
    #[error("output pattern {0:?} is not a relative glob")]
    Pattern(String),
    /// The workspace itself could not be read.
    #[error("cannot read the workspace")]
    Workspace(#[source] io::Error),
}

/// Opens the files beneath `workspace` that match any of `globs` (`*` stays within a directory, `**` does
/// not), in the order of their paths.
pub fn collect(
    workspace: &Path,
    globs: &[String],
    limits: &CollectLimits,
) -> Result<Collected, CollectError> {
    let (literals, patterns) = parse(globs)?;
    let root = open_root(workspace).map_err(|errno| CollectError::Workspace(errno.into()))?;
    let stat = rustix::fs::fstat(&root).map_err(|errno| CollectError::Workspace(errno.into()))?;
    let mut search = Search {
        root,
        owner: stat.st_uid,
        limits,
        total: 0,
        found: Collected::default(),
    };
    for path in literals {
        search.take(path);
    }
    if !patterns.is_empty() {
        search
            .walk(&patterns)
            .map_err(|errno| CollectError::Workspace(errno.into()))?;
    }
    let mut found = search.found;
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Plain paths need no walk through what may be a large tree. Each pattern is compiled by itself: all of a
/// task's together might be too large for one automaton.
fn parse(globs: &[String]) -> Result<(Vec<PathBuf>, Vec<GlobSet>), CollectError> {
    let mut literals = Vec::new();
    let mut patterns = Vec::new();
    for glob in globs {
        let bad = || CollectError::Pattern(glob.clone());
        let path = Path::new(glob.strip_prefix("./").unwrap_or(glob));
        if path.as_os_str().is_empty()
            || !path
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(bad());
        }
        if glob.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            let text = path.to_str().ok_or_else(bad)?;
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            let set = glob.and_then(|glob| GlobSet::new([glob]));
            patterns.push(set.map_err(|_| bad())?);
        } else if !literals.iter().any(|known| known == path) {
            literals.push(path.to_owned());
        }
    }
    Ok((literals, patterns))
}

struct Search<'a> {
    root: OwnedFd,
    owner: u32,
    limits: &'a CollectLimits,
    total: u64,
    found: Collected,
}

impl Search<'_> {
    fn walk(&mut self, patterns: &[GlobSet]) -> rustix::io::Result<()> {
        let mut waiting = vec![PathBuf::new()];
        let mut seen = 0;
        while let Some(dir) = waiting.pop() {
            // A directory that its owner closed, or that is no longer there, hides only its own files.
            let Ok(fd) = self.open_dir(&dir) else {
                continue;
            };
            for entry in Dir::read_from(&fd)? {
                let entry = entry?;
                if entry.file_name() == c"." || entry.file_name() == c".." {
                    continue;
                }
                seen += 1;
                if seen > self.limits.entries {
                    self.found.is_cut = true;
                    return Ok(());
                }
                let path = dir.join(OsStr::from_bytes(entry.file_name().to_bytes()));
                if self.is_dir(&fd, &entry) {
                    if path.components().count() > self.limits.depth {
                        self.found.is_cut = true;
                    } else {
                        waiting.push(path);
                    }
                } else if patterns.iter().any(|set| set.is_match(&path))
                    && !self.found.files.iter().any(|file| file.path == path)
                {
                    self.take(path);
                }
            }
        }
        Ok(())
    }

    fn is_dir(&self, dir: &OwnedFd, entry: &rustix::fs::DirEntry) -> bool {
        match entry.file_type() {
            FileType::Unknown => rustix::fs::statat(
                dir,
                entry.file_name(),
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            known => known == FileType::Directory,
        }
    }

    /// Opens one file if it is what it should be; a path that doesn't exist is passed over.
    fn take(&mut self, path: PathBuf) {
        let why = match self.open_file(&path) {
            Ok((file, size)) if self.has_room(size) => {
                self.total += size;
                self.found.files.push(CollectedFile { path, file, size });
                return;
            }
            Ok(_) => Refusal::TooMuch,
            Err(None) => return,
            Err(Some(why)) => why,
        };
        if self.found.refused.len() < self.limits.refused {
            self.found.refused.push(Refused { path, why });
        } else {
            self.found.refused_more += 1;
        }
    }

    fn has_room(&self, size: u64) -> bool {
        self.found.files.len() < self.limits.files
            && self.total.saturating_add(size) <= self.limits.total_size
    }

    fn open_file(&self, path: &Path) -> Result<(File, u64), Option<Refusal>> {
        // Not waiting for a pipe's other side, not becoming anybody's terminal.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open(path, flags).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => None,
            Errno::LOOP | Errno::XDEV => Some(Refusal::Link),
            Errno::NXIO => Some(Refusal::NotAFile),
            _ => Some(Refusal::Unreadable),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|_| Some(Refusal::Unreadable))?;
        self.judge(&stat)?;
        Ok((File::from(fd), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    fn judge(&self, stat: &Stat) -> Result<(), Refusal> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Err(Refusal::NotAFile)
        } else if stat.st_nlink != 1 {
            Err(Refusal::SecondName)
        } else if stat.st_uid != self.owner {
            Err(Refusal::ForeignOwner)
        } else if u64::try_from(stat.st_size).is_ok_and(|size| size > self.limits.file_size) {
            Err(Refusal::TooLarge)
        } else {
            Ok(())
        }
    }

    fn open_dir(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let strictly_beneath = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(
            &self.root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            strictly_beneath,
        )
    }
}

fn open_root(workspace: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, workspace, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink, os::unix::net::UnixListener};

    use super::*;

    fn globs(patterns: &[&str]) -> Vec<String> {
        patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect()
    }

    fn paths(found: &Collected) -> Vec<&str> {
        found
            .files
            .iter()
            .map(|file| file.path.to_str().unwrap())
            .collect()
    }

    #[test]
    fn only_plain_files_beneath_the_workspace_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("w");
        fs::create_dir_all(workspace.join("out/deep")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(workspace.join("out/good"), "good").unwrap();
        fs::write(workspace.join("out/deep/good"), "deep").unwrap();
        symlink(dir.path().join("secret"), workspace.join("out/link")).unwrap();
        symlink(dir.path(), workspace.join("out/dirlink")).unwrap();
        fs::hard_link(dir.path().join("secret"), workspace.join("out/hard")).unwrap();
        rustix::fs::mknodat(
            CWD,
            workspace.join("out/pipe"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let _socket = UnixListener::bind(workspace.join("out/socket")).unwrap();
        File::create(workspace.join("out/sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();

        let found = collect(
            &workspace,
            &globs(&["out/**", "out/dirlink/secret"]),
            &CollectLimits::default(),
        )
        .unwrap();

        let mut refused: Vec<_> = found
            .refused
            .iter()
            .map(|refused| (refused.path.to_str().unwrap(), refused.why))
            .collect();
        refused.sort_by_key(|(path, _)| *path);
        assert_eq!(paths(&found), ["out/deep/good", "out/good"]);
        assert_eq!(
            refused,
            [
                ("out/dirlink", Refusal::Link),
                ("out/dirlink/secret", Refusal::Link),
                ("out/hard", Refusal::SecondName),
                ("out/link", Refusal::Link),
                ("out/pipe", Refusal::NotAFile),
                ("out/socket", Refusal::NotAFile),
                ("out/sparse", Refusal::TooLarge),
            ]
        );
        let mut text = String::new();
        found
            .files
            .into_iter()
            .next()
            .unwrap()
            .file
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "deep");
    }

    #[test]
    fn bounds_cut_and_say_so() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), "1234").unwrap();
        }

        let few = CollectLimits {
            files: 2,
            ..CollectLimits::default()
        };
        let small = CollectLimits {
            total_size: 7,
            ..CollectLimits::default()
        };
        let short = CollectLimits {
            entries: 1,
            ..CollectLimits::default()
        };

        let found = collect(dir.path(), &globs(&["*"]), &few).unwrap();
        assert_eq!(
            (found.files.len(), found.refused[0].why),
            (2, Refusal::TooMuch)
        );
        let found = collect(dir.path(), &globs(&["a", "b"]), &small).unwrap();
        assert_eq!(
            (paths(&found), found.refused[0].why),
            (vec!["a"], Refusal::TooMuch)
        );
        assert!(collect(dir.path(), &globs(&["*"]), &short).unwrap().is_cut);
    }

    #[test]
    fn what_is_not_taken_is_named_up_to_a_bound_and_counted_beyond() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..30 {
            symlink("nowhere", dir.path().join(format!("link-{number}"))).unwrap();
        }
        let limits = CollectLimits::default();

        let found = collect(dir.path(), &globs(&["*"]), &limits).unwrap();

        assert_eq!(found.refused.len(), limits.refused);
        assert_eq!(found.refused_more, 30 - limits.refused);
    }

    #[test]
    fn as_many_large_patterns_as_a_task_may_have_compile() {
        let dir = tempfile::tempdir().unwrap();
        // Each is as long as it may be, and of what compiles to most.
        let patterns = ["[!ä]", "**/", "{?,*}", "ö"].map(|piece| {
            let mut pattern = piece.repeat(1_024 / piece.len() - 1);
            pattern.push('x');
            pattern
        });
        let patterns: Vec<String> = patterns.into_iter().cycle().take(64).collect();

        let found = collect(dir.path(), &patterns, &CollectLimits::default()).unwrap();

        assert!(found.files.is_empty());
    }

    #[test]
    fn patterns_stay_beneath_and_stars_within_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("a.md"), "").unwrap();
        fs::write(dir.path().join("d/b.md"), "").unwrap();

        for bad in ["", "/etc/passwd", "../x", "a/../b", "a[", "../*"] {
            let refused = collect(dir.path(), &globs(&[bad]), &CollectLimits::default());
            assert!(matches!(refused, Err(CollectError::Pattern(_))), "{bad:?}");
        }
        let found = collect(
            dir.path(),
            &globs(&["*.md", "missing", "./a.md"]),
            &CollectLimits::default(),
        )
        .unwrap();
        assert_eq!(paths(&found), ["a.md"]);
        assert_eq!(found.refused, []);
    }
}
