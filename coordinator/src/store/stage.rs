//! Gathers what one commit writes: the last word on each key, cut into pieces where it is long,
//! with the counts of what lives.

use std::{collections::BTreeMap, path::Path};

use sled::{Db, IVec};

use super::{
    StoreError,
    database::{self, VALUE_LEN_MAX},
    key,
    tally::Tallies,
};

/// Takes the place of a version in a value that lies in pieces.
const IN_PIECES: u8 = 0;
/// The head of such a value: the marker, how many pieces, how many bytes, the sum of these. What
/// was written before there was a sum has none.
const HEAD_LEN: usize = 11;

/// The last word on each key, in their order, which spares the tree some walking. `None` removes.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Turns writes into one atomic batch.
pub(super) fn batch(writes: Writes) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    batch
}

/// What one commit writes.
pub(super) struct Stage<'a> {
    db: &'a Db,
    at: &'a Path,
    writes: Writes,
    live_bytes: u64,
    tallies: Tallies,
}

impl<'a> Stage<'a> {
    /// Begins one on a database of which `live_bytes` live, and that has these tallies.
    pub(super) fn new(db: &'a Db, at: &'a Path, live_bytes: u64, tallies: Tallies) -> Self {
        Self {
            db,
            at,
            writes: BTreeMap::new(),
            live_bytes,
            tallies,
        }
    }

    /// Bytes of keys and values once this is written.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The tallies once this is written.
    pub(super) fn tallies(&self) -> Tallies {
        self.tallies
    }

    /// What is to be written.
    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }

    /// The value under a key, as it will be.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        whole(self.raw(key)?, key, self.at, |piece| self.raw(piece))
    }

    /// Whether there will be a value under a key.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.raw(key)?.is_some())
    }

    /// Sets a value.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        let old = self.raw(&key)?;
        self.replace(key, old, value)
    }

    /// Sets a value under a key that never had one before this commit: its old value needs no
    /// looking for on the disk. Only for keys that the store itself numbers: if one had a value, the
    /// tallies would be wrong, and the next start refused.
    pub(super) fn put_new(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        let staged = self.writes.get(&key).and_then(Option::as_deref);
        let staged = staged.map(IVec::from);
        self.replace(key, staged, value)
    }

    /// Removes a value, if there is one.
    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        if let Some(old) = self.raw(&key)? {
            self.remove_pieces(&key, &old, 0);
            self.forget(&key, &old);
            self.writes.insert(key, None);
        }
        Ok(())
    }

    fn replace(
        &mut self,
        key: Vec<u8>,
        old: Option<IVec>,
        value: Vec<u8>,
    ) -> Result<(), StoreError> {
        let pieces = if value.len() > VALUE_LEN_MAX {
            value.len().div_ceil(VALUE_LEN_MAX)
        } else {
            0
        };
        let count = u16::try_from(pieces)
            .map_err(|_| database::corrupt(self.at, "a record is too long to be written"))?;
        if let Some(old) = old {
            self.remove_pieces(&key, &old, count);
            self.forget(&key, &old);
        }
        if count == 0 {
            self.set(key, value);
            return Ok(());
        }
        for (index, piece) in (0..count).zip(value.chunks(VALUE_LEN_MAX)) {
            let key = key::piece(&key, index);
            match self.raw(&key)? {
                // Long texts mostly stay as they are while a task goes on, and come first in it.
                Some(old) if old == piece => continue,
                Some(old) => self.forget(&key, &old),
                None => {}
            }
            self.set(key, piece.to_vec());
        }
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.push(IN_PIECES);
        head.extend_from_slice(&count.to_be_bytes());
        let len = u32::try_from(value.len()).expect("65,535 pieces are less than 4 GiB");
        head.extend_from_slice(&len.to_be_bytes());
        head.extend_from_slice(&crc32fast::hash(&value).to_be_bytes());
        self.set(key, head);
        Ok(())
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.live_bytes += (key.len() + value.len()) as u64;
        self.tallies.add(&key, &value);
        self.writes.insert(key, Some(value));
    }

    fn forget(&mut self, key: &[u8], value: &[u8]) {
        let len = (key.len() + value.len()) as u64;
        self.live_bytes = self.live_bytes.saturating_sub(len);
        self.tallies.take(key, value);
    }

    /// Removes the pieces of the value `old` from `from` on.
    fn remove_pieces(&mut self, key: &[u8], old: &[u8], from: u16) {
        let Some(Head { count, len, .. }) = Head::of(old) else {
            return;
        };
        for index in from..count {
            let key = key::piece(key, index);
            let before = usize::from(index) * VALUE_LEN_MAX;
            let piece_len = len.saturating_sub(before).min(VALUE_LEN_MAX);
            let bytes = (key.len() + piece_len) as u64;
            self.live_bytes = self.live_bytes.saturating_sub(bytes);
            self.writes.insert(key, None);
        }
    }

    fn raw(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.writes.get(key) {
            Some(staged) => Ok(staged.as_deref().map(IVec::from)),
            None => database::guard(self.at, "reading", || self.db.get(key)),
        }
    }
}

/// What the head of a value that lies in pieces says.
struct Head {
    count: u16,
    len: usize,
    sum: Option<u32>,
}

impl Head {
    fn of(value: &[u8]) -> Option<Self> {
        let (&marker, numbers) = value.split_first()?;
        let (count, numbers) = numbers.split_first_chunk()?;
        let (len, sum) = numbers.split_first_chunk()?;
        if marker != IN_PIECES {
            return None;
        }
        Some(Self {
            count: u16::from_be_bytes(*count),
            len: usize::try_from(u32::from_be_bytes(*len)).ok()?,
            sum: match sum {
                [] => None,
                sum => Some(u32::from_be_bytes(sum.try_into().ok()?)),
            },
        })
    }
}

/// The value under `key`, put together where it lies in pieces.
pub(super) fn whole(
    value: Option<IVec>,
    key: &[u8],
    at: &Path,
    get: impl Fn(&[u8]) -> Result<Option<IVec>, StoreError>,
) -> Result<Option<IVec>, StoreError> {
    let Some(Head { count, len, sum }) = value.as_deref().and_then(Head::of) else {
        return Ok(value);
    };
    // Not reserved at once: a damaged length must not ask for all memory.
    let mut bytes = Vec::new();
    for index in 0..count {
        let piece = get(&key::piece(key, index))?;
        let piece = piece.ok_or_else(|| database::corrupt(at, "a piece of a record is missing"))?;
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() != len {
        let what = "the pieces of a record don't have its length";
        return Err(database::corrupt(at, what));
    }
    if sum.is_some_and(|sum| sum != crc32fast::hash(&bytes)) {
        let what = "the pieces of a record are not of the same commit";
        return Err(database::corrupt(at, what));
    }
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "a test";

    fn with_db(test: impl FnOnce(&Db)) {
        let dir = tempfile::tempdir().unwrap();
        test(&database::open(dir.path(), 1 << 20).unwrap());
    }

    fn stage(db: &Db) -> Stage<'_> {
        Stage::new(db, Path::new(AT), 0, Tallies::default())
    }

    fn commit(stage: Stage<'_>) {
        let db = stage.db;
        db.apply_batch(batch(stage.into_writes())).unwrap();
    }

    fn long_value(last: u8) -> Vec<u8> {
        let mut value = vec![1; 10 * VALUE_LEN_MAX];
        value.push(last);
        value
    }

    #[test]
    fn a_value_at_the_limit_is_one_record_and_one_past_it_lies_in_pieces() {
        with_db(|db| {
            for (len, records) in [(VALUE_LEN_MAX, 1), (VALUE_LEN_MAX + 1, 3)] {
                let mut stage = stage(db);
                stage.put(b"o".to_vec(), vec![1; len]).unwrap();
                assert_eq!(stage.writes.len(), records);
                assert_eq!(stage.get(b"o").unwrap().unwrap().len(), len);
            }
        });
    }

    #[test]
    fn only_pieces_that_differ_are_written_again() {
        with_db(|db| {
            let mut first = stage(db);
            first.put(b"o".to_vec(), long_value(1)).unwrap();
            commit(first);

            let mut second = stage(db);
            second.put(b"o".to_vec(), long_value(2)).unwrap();

            let keys: Vec<_> = second.writes.keys().cloned().collect();
            assert_eq!(keys, [key::piece(b"o", 10), b"o".to_vec()]);
            assert_eq!(second.get(b"o").unwrap().unwrap(), long_value(2));
        });
    }

    #[test]
    fn a_shorter_value_takes_the_pieces_of_the_longer_one_away() {
        with_db(|db| {
            let mut first = stage(db);
            first.put(b"o".to_vec(), long_value(1)).unwrap();
            commit(first);

            let mut second = stage(db);
            second.put(b"o".to_vec(), vec![1]).unwrap();
            commit(second);

            assert_eq!(db.iter().keys().collect::<Vec<_>>(), [Ok("o".into())]);
        });
    }

    #[test]
    fn a_piece_of_another_commit_is_damage_and_a_value_from_before_sums_is_read() {
        with_db(|db| {
            let mut first = stage(db);
            first.put(b"o".to_vec(), long_value(1)).unwrap();
            commit(first);
            let old = db.get(key::piece(b"o", 10)).unwrap().unwrap();
            let mut second = stage(db);
            second.put(b"o".to_vec(), long_value(2)).unwrap();
            commit(second);
            db.insert(key::piece(b"o", 10), old).unwrap();

            let error = stage(db).get(b"o").unwrap_err();

            assert!(
                error.to_string().contains("not of the same commit"),
                "{error}"
            );
            let head = db.get(b"o").unwrap().unwrap();
            db.insert(b"o", &head[..HEAD_LEN - 4]).unwrap();
            assert_eq!(stage(db).get(b"o").unwrap().unwrap(), long_value(1));
        });
    }

    #[test]
    fn a_missing_piece_is_damage() {
        with_db(|db| {
            let mut first = stage(db);
            first.put(b"o".to_vec(), long_value(1)).unwrap();
            commit(first);
            db.remove(key::piece(b"o", 4)).unwrap();

            let error = stage(db).get(b"o").unwrap_err();

            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        });
    }
}
