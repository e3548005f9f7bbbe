//! The mark: what was durable, told apart from the database (P3a).
//!
//! A database whose end is damaged looks like one that was cut off by a crash: sled recovers what
//! is before the damage and says nothing. So what was committed is noted beside it, too: in two
//! files of constant size, the older of which is overwritten, so that one is always whole.
//!
//! It is written by a thread of its own, after the flush that it names, at most once a second, and
//! at a clean stop. So commits don't wait for it, and what it doesn't cover is the last second
//! before an unclean stop.
//!
//! ```text
//! "GANGERMK" version:u8 is_clean:u8 turn:u64 commit:u64 at:i64 epoch:u128 ids:u64 revisions:u64
//! crc:u32
//! ```
//!
//! Numbers are big-endian; the sum is over all that is before it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use board::{id::Epoch, time::Time};

use super::{StoreError, durable, handed::Handed};

const NAMES: [&str; 2] = ["mark-1", "mark-2"];
const MAGIC: &[u8; 8] = b"GANGERMK";
const VERSION: u8 = 1;
const LEN: usize = 70;

/// It is not written more often than this, but at a stop.
const EVERY: Duration = Duration::from_secs(1);

/// What was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the last commit, and its time.
    pub(super) commit: u64,
    pub(super) at: Time,
    /// The board's epoch; 0 before the first commit.
    pub(super) epoch: Epoch,
    /// What was handed out in all.
    pub(super) handed: Handed,
    /// Nothing was committed after it.
    pub(super) is_clean: bool,
}

impl Mark {
    /// Of a board without any commit.
    pub(super) fn of_nothing() -> Self {
        Self {
            commit: 0,
            at: Time(0),
            epoch: Epoch(0),
            handed: Handed::default(),
            is_clean: true,
        }
    }

    /// The same, of a clean stop.
    pub(super) fn clean(self) -> Self {
        Self {
            is_clean: true,
            ..self
        }
    }

    fn encode(&self, turn: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, u8::from(self.is_clean)]);
        bytes.extend_from_slice(&turn.to_be_bytes());
        bytes.extend_from_slice(&self.commit.to_be_bytes());
        bytes.extend_from_slice(&self.at.0.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&self.handed.ids.to_be_bytes());
        bytes.extend_from_slice(&self.handed.revisions.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// The mark and its turn; none where these bytes are not a whole one.
    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (body, sum) = bytes.get(..LEN)?.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
            return None;
        }
        let body = body.strip_prefix(MAGIC)?;
        let (&[version, is_clean], mut body) = body.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let mut number = || {
            let (number, rest) = body.split_first_chunk()?;
            body = rest;
            Some(u64::from_be_bytes(*number))
        };
        let (turn, commit, at) = (number()?, number()?, number()?);
        let (high, low) = (number()?, number()?);
        let mark = Self {
            commit,
            at: Time(at.cast_signed()),
            epoch: Epoch(u128::from(high) << 64 | u128::from(low)),
            handed: Handed {
                ids: number()?,
                revisions: number()?,
            },
            is_clean: is_clean != 0,
        };
        Some((turn, mark))
    }
}

/// What the files say.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    /// The newest that can be read.
    pub(super) newest: Option<Mark>,
    turn: u64,
    /// Files that are there and hold none.
    pub(super) unreadable: Vec<PathBuf>,
}

impl Marks {
    /// Reads what is there.
    pub(super) fn read(dir: &Path) -> Self {
        let mut marks = Self::default();
        for name in NAMES {
            let path = dir.join(name);
            let read = fs::read(&path);
            if read
                .as_ref()
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            {
                continue;
            }
            match read.ok().as_deref().and_then(Mark::decode) {
                Some((turn, mark)) if marks.newest.is_none() || turn > marks.turn => {
                    (marks.newest, marks.turn) = (Some(mark), turn);
                }
                Some(_) => {}
                None => marks.unreadable.push(path),
            }
        }
        marks
    }

    /// Says what a board lacks that is as `found`. `is_marked` says that it must have a mark.
    pub(super) fn lacks(&self, found: &Mark, is_marked: bool) -> Option<String> {
        let Some(mark) = &self.newest else {
            let must_be = is_marked || !self.unreadable.is_empty();
            return must_be.then(|| {
                format!(
                    "its mark ({} and {}) can't be read, so that nothing tells whether all of it \
                     is there; commit {} of {} is the last one that is",
                    NAMES[0],
                    NAMES[1],
                    found.commit,
                    moment(found.at)
                )
            });
        };
        if found.commit < mark.commit {
            let Handed { ids, revisions } = found.handed.behind(mark.handed);
            return Some(format!(
                "commits {} to {} of {} are missing, which handed out {ids} ids and {revisions} \
                 revisions",
                found.commit + 1,
                mark.commit,
                moment(mark.at)
            ));
        }
        let is_same = Self::of(found) == Self::of(mark);
        let behind = found.handed.behind(mark.handed);
        let is_behind = behind != Handed::default();
        (is_behind || (found.commit == mark.commit && !is_same)).then(|| {
            format!(
                "its mark is of another board, of epoch {:032x} with {} ids and {} revisions",
                mark.epoch.0, mark.handed.ids, mark.handed.revisions
            )
        })
    }

    fn of(mark: &Mark) -> (u64, Time, Epoch, Handed) {
        (mark.commit, mark.at, mark.epoch, mark.handed)
    }
}

fn moment(at: Time) -> String {
    let since_1970 = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    let moment = SystemTime::UNIX_EPOCH.checked_add(since_1970);
    moment.map_or_else(
        || at.0.to_string(),
        |moment| humantime::format_rfc3339_seconds(moment).to_string(),
    )
}

/// Writes a mark in both files.
pub(super) fn write_both(dir: &Path, mark: &Mark) -> Result<(), StoreError> {
    let mut writer = Writer {
        dir: dir.to_owned(),
        turn: Marks::read(dir).turn,
    };
    writer.write(mark)?;
    writer.write(mark)?;
    durable::sync(dir)
}

/// Writes marks, into one file after the other.
#[derive(Debug)]
struct Writer {
    dir: PathBuf,
    turn: u64,
}

impl Writer {
    fn write(&mut self, mark: &Mark) -> Result<(), StoreError> {
        self.turn += 1;
        let path = self
            .dir
            .join(NAMES[usize::from(self.turn.is_multiple_of(2))]);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(&mark.encode(self.turn))?;
            file.sync_data()
        });
        written.map_err(|source| StoreError::io("writing", path, source))
    }
}

/// Keeps the mark up with the commits, from a thread of its own.
#[derive(Debug)]
pub(super) struct Marker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Writer>>,
    /// What was durable last; none while that isn't known.
    last: Option<Mark>,
    /// It is in both files already.
    is_written: bool,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    news: Condvar,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    mark: Option<Mark>,
    is_stopping: bool,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Nothing that holds this lock can panic half way through a change.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is wanted, with a pause after each, until it is to stop.
    fn run(&self, mut writer: Writer) -> Writer {
        loop {
            let wanted = self.news.wait_while(self.wanted(), |wanted| {
                wanted.mark.is_none() && !wanted.is_stopping
            });
            let mut wanted = wanted.unwrap_or_else(PoisonError::into_inner);
            if wanted.is_stopping {
                return writer;
            }
            let mark = wanted.mark.take();
            drop(wanted);
            if let Some(Err(error)) = mark.map(|mark| writer.write(&mark)) {
                // An older mark is no lie: the next one is tried again.
                tracing::warn!(%error, "the mark of what is durable can't be written");
            }
            let pause = self
                .stop
                .wait_timeout_while(self.wanted(), EVERY, |wanted| !wanted.is_stopping);
            drop(pause);
        }
    }
}

impl Marker {
    /// Begins after `found`, which is in the files of `dir` already if `is_written`.
    pub(super) fn start(dir: &Path, found: Mark, is_written: bool) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            dir: dir.to_owned(),
            turn: Marks::read(dir).turn,
        };
        let thread = thread::Builder::new()
            .name("store-mark".to_owned())
            .spawn({
                let shared = shared.clone();
                move || shared.run(writer)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
            last: Some(found),
            is_written,
        })
    }

    /// A commit is under way: until it is told by [`Marker::note`], nobody knows what is durable.
    pub(super) fn doubt(&mut self) {
        self.last = None;
    }

    /// Notes what is durable now.
    pub(super) fn note(&mut self, mark: Mark) {
        (self.last, self.is_written) = (Some(mark), false);
        let before = self.shared.wanted().mark.replace(mark);
        if before.is_none() {
            self.shared.news.notify_one();
        }
    }
}

impl Drop for Marker {
    /// The clean stop: the database is closed, and what it has is noted in both files.
    fn drop(&mut self) {
        self.shared.wanted().is_stopping = true;
        self.shared.news.notify_one();
        self.shared.stop.notify_one();
        let writer = self.thread.take().map(JoinHandle::join);
        let (Some(Ok(mut writer)), Some(mark)) = (writer, self.last) else {
            return;
        };
        if self.is_written {
            return;
        }
        let mark = mark.clean();
        let written = writer.write(&mark).and_then(|()| writer.write(&mark));
        if let Err(error) = written {
            tracing::warn!(%error, "the mark of a clean stop can't be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn mark(commit: u64) -> Mark {
        Mark {
            commit,
            at: Time(1_700_000_000_000),
            epoch: Epoch(1 << 90 | 7),
            handed: Handed {
                ids: 3 * commit,
                revisions: 5 * commit,
            },
            is_clean: false,
        }
    }

    fn lacks(dir: &Path, found: &Mark) -> Option<String> {
        Marks::read(dir).lacks(found, true)
    }

    #[test]
    fn the_newest_of_both_files_counts_and_one_that_is_damaged_leaves_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer {
            dir: dir.path().to_owned(),
            turn: 0,
        };
        for commit in [4, 5, 6] {
            writer.write(&mark(commit)).unwrap();
        }

        assert_eq!(Marks::read(dir.path()).newest, Some(mark(6)));
        let newest = dir.path().join(NAMES[0]);
        let whole = fs::read(&newest).unwrap();
        for index in 0..LEN {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x10;
            fs::write(&newest, bytes).unwrap();
            let marks = Marks::read(dir.path());
            assert_eq!(marks.newest, Some(mark(5)), "byte {index}");
            assert_eq!(marks.unreadable, [newest.as_path()]);
        }
        fs::write(&newest, &whole[..LEN - 1]).unwrap();
        assert_eq!(Marks::read(dir.path()).newest, Some(mark(5)));
    }

    #[test]
    fn what_is_behind_the_mark_is_said_and_what_is_after_it_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        write_both(dir.path(), &mark(9)).unwrap();

        let missing = lacks(dir.path(), &mark(7)).unwrap();

        let expected = "commits 8 to 9 of 2023-11-14T22:13:20Z are missing, which handed out 6 ids \
                        and 10 revisions";
        assert_eq!(missing, expected);
        assert_eq!(lacks(dir.path(), &mark(9)), None);
        assert_eq!(lacks(dir.path(), &mark(10)), None);
        let other = Mark {
            epoch: Epoch(1),
            ..mark(9)
        };
        assert!(
            lacks(dir.path(), &other)
                .unwrap()
                .contains("of another board")
        );
    }

    #[test]
    fn without_a_mark_a_board_is_refused_that_had_one_and_taken_that_is_from_before() {
        let dir = tempfile::tempdir().unwrap();

        let missing = lacks(dir.path(), &mark(7)).unwrap();

        assert!(missing.starts_with("its mark (mark-1 and mark-2) can't be read"));
        let marks = Marks::read(dir.path());
        assert_eq!(marks.lacks(&mark(7), false), None);
        fs::write(dir.path().join(NAMES[1]), "").unwrap();
        assert!(Marks::read(dir.path()).lacks(&mark(0), false).is_some());
    }

    #[test]
    fn many_commits_of_a_second_are_one_mark_and_a_stop_is_a_clean_one() {
        let dir = tempfile::tempdir().unwrap();
        write_both(dir.path(), &mark(1)).unwrap();
        let began = Instant::now();
        let mut marker = Marker::start(dir.path(), mark(1), true).unwrap();
        for commit in 2..=500 {
            marker.doubt();
            marker.note(mark(commit));
        }
        drop(marker);

        let marks = Marks::read(dir.path());
        let newest = marks.newest.unwrap();
        assert_eq!((newest.commit, newest.is_clean), (500, true));
        // Two at the beginning, two at the stop, and one in each second between.
        let marks_max = 2 + 2 + 1 + began.elapsed().as_secs();
        assert!(marks.turn <= marks_max, "{} marks", marks.turn);
    }

    #[test]
    fn nothing_is_written_when_idle_and_none_is_clean_after_a_commit_that_failed() {
        let dir = tempfile::tempdir().unwrap();
        write_both(dir.path(), &mark(1)).unwrap();
        drop(Marker::start(dir.path(), mark(1), true).unwrap());
        assert_eq!(Marks::read(dir.path()).turn, 2);

        let mut marker = Marker::start(dir.path(), mark(1), true).unwrap();
        marker.doubt();
        drop(marker);

        assert_eq!(Marks::read(dir.path()).turn, 2);
    }
}
