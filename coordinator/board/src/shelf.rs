//! Things by task id, packed.
//!
//! Ids are counted, so the tasks of a team lie close together: in a plain tree of single tasks
//! nearly half of the room would be empty, since a tree that only grows at its end splits its
//! nodes and never fills the first half again.

use std::{collections::BTreeMap, ops::Index};

use crate::id::TaskId;

/// Ids that lie in one piece.
const PIECE: u64 = 64;

/// Things by task id, in its order.
#[derive(Debug, Clone)]
pub(crate) struct Shelf<T> {
    /// Pieces by their first id; none is empty, and none ends with an empty place.
    pieces: BTreeMap<u64, Vec<Option<T>>>,
    len: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            pieces: BTreeMap::new(),
            len: 0,
        }
    }
}

/// The piece of an id, and its place there.
fn place(id: TaskId) -> (u64, usize) {
    let at = id.0 % PIECE;
    let place = usize::try_from(at).expect("a piece has 64 places");
    (id.0 - at, place)
}

impl<T> Shelf<T> {
    pub(crate) fn get(&self, id: &TaskId) -> Option<&T> {
        let (piece, at) = place(*id);
        self.pieces.get(&piece)?.get(at)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: &TaskId) -> Option<&mut T> {
        let (piece, at) = place(*id);
        self.pieces.get_mut(&piece)?.get_mut(at)?.as_mut()
    }

    pub(crate) fn contains_key(&self, id: &TaskId) -> bool {
        self.get(id).is_some()
    }

    /// Puts a thing in its place. Answers what was there.
    pub(crate) fn insert(&mut self, id: TaskId, thing: T) -> Option<T> {
        let (first, at) = place(id);
        let piece = self.pieces.entry(first).or_default();
        if piece.len() <= at {
            // A piece that was begun will be filled: ids are counted.
            piece.reserve_exact(PIECE as usize - piece.len());
            piece.resize_with(at + 1, || None);
        }
        let before = piece[at].replace(thing);
        self.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, id: &TaskId) -> Option<T> {
        let (first, at) = place(*id);
        let piece = self.pieces.get_mut(&first)?;
        let thing = piece.get_mut(at)?.take()?;
        self.len -= 1;
        while piece.last().is_some_and(Option::is_none) {
            piece.pop();
        }
        if piece.is_empty() {
            self.pieces.remove(&first);
        }
        Some(thing)
    }

    /// Things after an id.
    pub(crate) fn after(&self, after: TaskId) -> impl Iterator<Item = (TaskId, &T)> {
        let (first, _) = place(after);
        let pieces = self.pieces.range(first..);
        let all = pieces.flat_map(|(first, piece)| {
            let ids = *first..;
            ids.zip(piece)
                .filter_map(|(id, thing)| Some((TaskId(id), thing.as_ref()?)))
        });
        all.skip_while(move |(id, _)| *id <= after)
    }

    /// All things; ids begin with 1.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskId, &T)> {
        self.after(TaskId(0))
    }
}

impl<T> Index<&TaskId> for Shelf<T> {
    type Output = T;

    fn index(&self, id: &TaskId) -> &T {
        self.get(id).expect("what is indexed is there")
    }
}

impl<T: PartialEq> PartialEq for Shelf<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Shelf<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(ids: impl IntoIterator<Item = u64>) -> Shelf<u64> {
        let mut shelf = Shelf::default();
        for id in ids {
            assert_eq!(shelf.insert(TaskId(id), id * 10), None);
        }
        shelf
    }

    fn ids(shelf: &Shelf<u64>, after: u64) -> Vec<u64> {
        shelf.after(TaskId(after)).map(|(id, _)| id.0).collect()
    }

    #[test]
    fn things_come_in_the_order_of_their_ids_from_any_id_on() {
        let shelf = shelf([200, 1, 63, 64, 65, 128]);

        assert_eq!(ids(&shelf, 0), [1, 63, 64, 65, 128, 200]);
        assert_eq!(ids(&shelf, 63), [64, 65, 128, 200]);
        assert_eq!(ids(&shelf, 66), [128, 200]);
        assert_eq!(ids(&shelf, u64::MAX), [0; 0]);
        assert_eq!((shelf.len, shelf[&TaskId(65)]), (6, 650));
    }

    #[test]
    fn what_was_removed_leaves_no_trace() {
        let mut left = shelf([1, 2, 70]);
        for id in [2, 70] {
            assert_eq!(left.remove(&TaskId(id)), Some(id * 10));
            assert_eq!(left.remove(&TaskId(id)), None);
        }

        assert_eq!(left, shelf([1]));
        assert_eq!(left.pieces, shelf([1]).pieces);
        assert_eq!(left.insert(TaskId(1), 0), Some(10));
        assert_eq!(left.len, 1);
    }
}
