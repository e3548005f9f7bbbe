//! Remembers outcomes of requests in the order of their commits, and forgets the oldest.
//!
//! They lie in numbered pages, and memory has an index from request to page. Under keys of their
//! own they would fall all over the tree, since a request's key is a hash: sled then writes many
//! times what lives, and slows down with every one that is added.

use std::{collections::HashMap, path::Path};

use board::{
    record::{Outcome, RequestKey},
    time::Time,
};
use sled::Db;

use super::{
    Horizon, OutcomesKept, StoreError,
    codec::{CodecError, OutcomePage, decode_outcomes, encode_outcomes},
    database, key,
    stage::Stage,
    tally::Tallies,
};

/// Which pages there are, and who is where.
#[derive(Debug)]
pub(super) struct Outcomes {
    horizon: Horizon,
    /// The page of the last outcome of a request, by the upper half of its key. Should two share
    /// that, the older one is forgotten early; among a million that happens once in 10^7 boards.
    pages: HashMap<u64, u64>,
    /// How many outcomes are in all pages.
    count: u64,
    /// The oldest page's number and time.
    front: Option<(u64, Time)>,
    /// The number of the next page.
    next: u64,
}

/// Turns a codec's error into a store's, with the key.
pub(super) type Explain<'a> = &'a dyn Fn(&[u8], CodecError) -> StoreError;

impl Outcomes {
    /// Reads all pages, and counts them.
    pub(super) fn open(
        db: &Db,
        at: &Path,
        horizon: Horizon,
        found: &mut Tallies,
        explain: Explain<'_>,
    ) -> Result<Self, StoreError> {
        let mut outcomes = Self {
            horizon,
            pages: HashMap::new(),
            count: 0,
            front: None,
            next: 0,
        };
        let mut pages = db.scan_prefix(key::OUTCOMES);
        while let Some((key, value)) = database::guard(at, "reading", || pages.next().transpose())?
        {
            found.add(&key, &value);
            let page = decode_outcomes(&value).map_err(|error| explain(&key, error))?;
            let number = key::last_number(&key).ok_or(CodecError::Bad("key"));
            let number = number.map_err(|error| explain(&key, error))?;
            outcomes.note(number, page.at, &page.outcomes);
        }
        Ok(outcomes)
    }

    pub(super) fn kept(&self) -> OutcomesKept {
        OutcomesKept {
            count: self.count,
            oldest: self.front.map(|(_, at)| at),
        }
    }

    /// The key of the page that a request's outcome is in, if it is remembered.
    pub(super) fn page_of(&self, key: RequestKey) -> Option<Vec<u8>> {
        let page = self.pages.get(&index(key))?;
        Some(key::outcomes(*page))
    }

    /// Adds the outcomes of a commit, and forgets some old ones.
    pub(super) fn add(
        &mut self,
        outcomes: &[Outcome],
        now: Time,
        stage: &mut Stage<'_>,
        explain: Explain<'_>,
    ) -> Result<(), StoreError> {
        let pages = outcomes.chunks(Horizon::PAGE_LEN_MAX);
        let forget_max = Horizon::forget_max(pages.len());
        for page in pages {
            let number = self.next;
            stage.put_new(key::outcomes(number), encode_outcomes(now, page))?;
            self.note(number, now, page);
        }
        for _ in 0..forget_max {
            if !self.forget_front(now, stage, explain)? {
                break;
            }
        }
        Ok(())
    }

    fn note(&mut self, number: u64, at: Time, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.pages.insert(index(outcome.request.key), number);
        }
        self.count += outcomes.len() as u64;
        self.front.get_or_insert((number, at));
        self.next = number + 1;
    }

    /// Forgets the oldest page, if it is past the horizon.
    fn forget_front(
        &mut self,
        now: Time,
        stage: &mut Stage<'_>,
        explain: Explain<'_>,
    ) -> Result<bool, StoreError> {
        let Some((number, _)) = self.front else {
            return Ok(false);
        };
        let page = read(number, stage, explain)?;
        let newer = self.count - page.outcomes.len() as u64;
        if !self.horizon.is_past(newer, page.at, now) {
            return Ok(false);
        }
        for outcome in &page.outcomes {
            let index = index(outcome.request.key);
            // A later outcome of the same request stays.
            if self.pages.get(&index) == Some(&number) {
                self.pages.remove(&index);
            }
        }
        stage.remove(key::outcomes(number))?;
        self.count = newer;
        self.front = None;
        // The numbers have no gap, but on a board that goes on without what is missing.
        for number in number + 1..self.next {
            if stage.has(&key::outcomes(number))? {
                self.front = Some((number, read(number, stage, explain)?.at));
                break;
            }
        }
        Ok(true)
    }
}

fn read(number: u64, stage: &Stage<'_>, explain: Explain<'_>) -> Result<OutcomePage, StoreError> {
    let key = key::outcomes(number);
    let value = stage.get(&key)?;
    let value = value.ok_or_else(|| explain(&key, CodecError::Empty))?;
    decode_outcomes(&value).map_err(|error| explain(&key, error))
}

fn index(key: RequestKey) -> u64 {
    (key.0 >> 64) as u64
}
