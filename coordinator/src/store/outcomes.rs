//! Remembers outcomes of requests in the order of their commits, and forgets the oldest.
//!
//! Each outcome lies under its request's key. Beside it, the keys of a commit lie in numbered
//! pages: the front page is what is forgotten next.

use std::path::Path;

use board::{
    record::{Outcome, RequestKey},
    time::Time,
};
use sled::Db;

use super::{
    Horizon, OutcomesKept, StoreError,
    codec::{
        CodecError, PAGE_KEYS_MAX, decode_outcome, decode_outcome_page, encode_outcome,
        encode_outcome_page,
    },
    database, key,
    stage::Stage,
};

/// The order of what is remembered.
#[derive(Debug)]
pub(super) struct Outcomes {
    horizon: Horizon,
    /// How many keys are in all pages.
    count: u64,
    /// The number of the next page.
    next: u64,
    front: Option<Front>,
}

/// The oldest page.
#[derive(Debug)]
struct Front {
    number: u64,
    at: Time,
    /// The newest first: the oldest is popped off the end.
    keys: Vec<RequestKey>,
}

/// Turns a codec's error into a store's, with the key.
pub(super) type Explain<'a> = &'a dyn Fn(&[u8], CodecError) -> StoreError;

impl Outcomes {
    /// Finds the ends of the row. How many there are is noted in the last commit.
    pub(super) fn open(
        db: &Db,
        at: &Path,
        count: u64,
        horizon: Horizon,
        explain: Explain<'_>,
    ) -> Result<Self, StoreError> {
        let mut pages = db.scan_prefix(key::OUTCOME_PAGES);
        let first = database::guard(at, "reading", || pages.next().transpose())?;
        let last = database::guard(at, "reading", || pages.next_back().transpose())?;
        let front = match &first {
            Some((key, value)) => Some(Front::decode(key, value, explain)?),
            None => None,
        };
        let last = last.as_ref().or(first.as_ref());
        let last = last.and_then(|(key, _)| key::last_number(key));
        Ok(Self {
            horizon,
            count,
            next: last.map_or(0, |last| last + 1),
            front,
        })
    }

    pub(super) fn kept(&self) -> OutcomesKept {
        OutcomesKept {
            count: self.count,
            oldest: self.front.as_ref().map(|front| front.at),
        }
    }

    /// Adds the outcomes of a commit, and forgets some old ones.
    pub(super) fn add(
        &mut self,
        outcomes: &[Outcome],
        now: Time,
        stage: &mut Stage<'_>,
        explain: Explain<'_>,
    ) -> Result<(), StoreError> {
        for page in outcomes.chunks(PAGE_KEYS_MAX) {
            let number = self.next;
            self.next += 1;
            self.count += page.len() as u64;
            let mut keys = Vec::with_capacity(page.len());
            for outcome in page {
                keys.push(outcome.request.key);
                let value = encode_outcome(outcome, number);
                stage.put(key::outcome(outcome.request.key), value)?;
            }
            let value = encode_outcome_page(now, &keys);
            stage.put_new(key::outcome_page(number), value)?;
            if self.front.is_none() {
                keys.reverse();
                self.front = Some(Front {
                    number,
                    at: now,
                    keys,
                });
            }
        }
        self.forget(Horizon::forget_max(outcomes.len()), now, stage, explain)
    }

    fn forget(
        &mut self,
        limit: usize,
        now: Time,
        stage: &mut Stage<'_>,
        explain: Explain<'_>,
    ) -> Result<(), StoreError> {
        // Whether the front page lacks keys that are on the disk.
        let mut is_begun = false;
        for _ in 0..limit {
            let Some(front) = &mut self.front else { break };
            if !self.horizon.is_past(self.count, front.at, now) {
                break;
            }
            let Some(key) = front.keys.pop() else { break };
            self.count -= 1;
            is_begun = true;
            let path = key::outcome(key);
            if let Some(value) = stage.get(&path)? {
                let decoded = decode_outcome(key, &value);
                let (_, page) = decoded.map_err(|error| explain(&path, error))?;
                // A later outcome under the same key stays.
                if page == front.number {
                    stage.remove(path)?;
                }
            }
            if front.keys.is_empty() {
                stage.remove(key::outcome_page(front.number))?;
                self.front = next_front(front.number + 1, stage, explain)?;
                is_begun = false;
            }
        }
        if let (true, Some(front)) = (is_begun, &self.front) {
            let keys: Vec<_> = front.keys.iter().rev().copied().collect();
            let value = encode_outcome_page(front.at, &keys);
            stage.put(key::outcome_page(front.number), value)?;
        }
        Ok(())
    }
}

/// The page of a number: the numbers have no gap.
fn next_front(
    number: u64,
    stage: &Stage<'_>,
    explain: Explain<'_>,
) -> Result<Option<Front>, StoreError> {
    let key = key::outcome_page(number);
    match stage.get(&key)? {
        Some(value) => Front::decode(&key, &value, explain).map(Some),
        None => Ok(None),
    }
}

impl Front {
    fn decode(key: &[u8], value: &[u8], explain: Explain<'_>) -> Result<Self, StoreError> {
        let page = decode_outcome_page(value).map_err(|error| explain(key, error))?;
        let mut keys = page.keys;
        keys.reverse();
        Ok(Self {
            number: key::last_number(key).unwrap_or_default(),
            at: page.at,
            keys,
        })
    }
}
