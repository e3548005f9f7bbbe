//! What only the store on the disk must do.

use std::fs;

use super::{database, sled_store::SledStore};

impl SledStore {
    /// Counts what lives, and compares; looks that nothing lies in files that sled never syncs.
    pub(super) fn check_counts(&self) {
        let (db, at, live_bytes) = self.parts();
        let commit = db.get(super::key::commit()).unwrap();
        let commit_len = commit.map_or(0, |value| 1 + value.len() as u64);
        let sum = database::sum(db, at).unwrap();
        assert_eq!(sum.bytes - commit_len, live_bytes);
        // Sled removes the directory when it opens a database without any.
        let blobs = fs::read_dir(at.join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0, "sled doesn't sync these");
    }
}
