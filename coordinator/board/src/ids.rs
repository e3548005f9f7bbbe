//! Sets of task ids, packed: ids are counted, so they lie close together, and a bit says enough.

use std::collections::BTreeMap;

use crate::id::TaskId;

/// A set of task ids, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdSet {
    /// Words of 64 ids by their first id; none is empty.
    words: BTreeMap<u64, u64>,
    len: usize,
}

/// The word of an id, and its bit there.
fn place(id: TaskId) -> (u64, u64) {
    let at = id.0 % 64;
    (id.0 - at, 1 << at)
}

impl IdSet {
    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether an id is in it.
    pub fn contains(&self, id: &TaskId) -> bool {
        let (word, bit) = place(*id);
        self.words.get(&word).is_some_and(|bits| bits & bit != 0)
    }

    pub(crate) fn insert(&mut self, id: TaskId) {
        let (word, bit) = place(id);
        let bits = self.words.entry(word).or_default();
        self.len += usize::from(*bits & bit == 0);
        *bits |= bit;
    }

    pub(crate) fn remove(&mut self, id: &TaskId) {
        let (word, bit) = place(*id);
        if let Some(bits) = self.words.get_mut(&word) {
            self.len -= usize::from(*bits & bit != 0);
            *bits &= !bit;
            if *bits == 0 {
                self.words.remove(&word);
            }
        }
    }

    /// Those after an id.
    pub fn after(&self, after: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let next = after.0.checked_add(1);
        let (first, bit) = place(TaskId(next.unwrap_or(u64::MAX)));
        let words = self.words.range(first..).filter(move |_| next.is_some());
        words.flat_map(move |(word, bits)| {
            // What comes before in the first word is passed over.
            let rest = match *word == first {
                true => bits & !(bit - 1),
                false => *bits,
            };
            bits_of(rest).map(move |at| TaskId(word + at))
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        let words = self.words.iter();
        words.flat_map(|(word, bits)| bits_of(*bits).map(move |at| TaskId(word + at)))
    }

    /// All of them, the last first.
    pub(crate) fn descending(&self) -> impl Iterator<Item = TaskId> + '_ {
        let words = self.words.iter().rev();
        words.flat_map(|(word, bits)| {
            let set = (0..64_u64).rev().filter(move |at| bits >> at & 1 == 1);
            set.map(move |at| TaskId(word + at))
        })
    }
}

/// The places of the bits that are set, from the least.
fn bits_of(mut bits: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let at = u64::from(bits.trailing_zeros());
        if bits == 0 {
            return None;
        }
        bits &= bits - 1;
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_tree_of_ids_would_be(
            changes in prop::collection::vec((0..200_u64, any::<bool>()), 0..100),
            after in prop_oneof![0..210_u64, Just(u64::MAX)],
        ) {
            let (mut packed, mut plain) = (IdSet::default(), BTreeSet::new());
            for (id, is_there) in changes {
                if is_there {
                    packed.insert(TaskId(id));
                    plain.insert(TaskId(id));
                } else {
                    packed.remove(&TaskId(id));
                    plain.remove(&TaskId(id));
                }
                prop_assert_eq!(packed.contains(&TaskId(id)), is_there);
            }
            prop_assert_eq!(packed.len(), plain.len());
            prop_assert_eq!(packed.is_empty(), plain.is_empty());
            prop_assert!(packed.iter().eq(plain.iter().copied()));
            prop_assert!(packed.descending().eq(plain.iter().rev().copied()));
            let rest = plain.into_iter().filter(|id| id.0 > after);
            prop_assert!(packed.after(TaskId(after)).eq(rest));
        }
    }
}
