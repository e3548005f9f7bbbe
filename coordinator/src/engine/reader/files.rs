//! What those want to know who remove files that no task needs.

use std::collections::BTreeSet;

use board::id::{Digest, TaskKey};

use super::Reader;
use crate::store::{StoreError, TaskPlace};

/// Artifacts that tasks name, and where the rest of the tasks begins.
type Named = (Vec<Digest>, Option<TaskPlace>);

impl Reader<'_> {
    /// Those of some tasks that are on the board.
    pub fn those_there(&self, tasks: Vec<TaskKey>) -> BTreeSet<TaskKey> {
        let board = &self.engine.board;
        let is_there = |key: &TaskKey| board.card_of(*key).is_some();
        tasks.into_iter().filter(is_there).collect()
    }

    /// Begins to note the artifacts that tasks name which are written from now on.
    pub fn note_artifacts(&mut self) {
        self.engine.artifacts_noted = Some(BTreeSet::new());
    }

    /// Those that were noted. Ends the noting.
    pub fn noted_artifacts(&mut self) -> BTreeSet<Digest> {
        self.engine.artifacts_noted.take().unwrap_or_default()
    }

    /// The artifacts that so many tasks of the store name, from a place on.
    pub fn artifacts_named(&self, from: TaskPlace, limit: usize) -> Result<Named, StoreError> {
        let mut named = Vec::new();
        let store = &self.engine.store;
        let next = store.artifacts_named(from, limit, &mut |digest| named.push(digest))?;
        Ok((named, next))
    }
}
