//! What a start must find: of each range of keys that it reads, how many records there are, and a
//! sum over them that doesn't depend on their order.
//!
//! sled skips what it can't read in the middle of its log, and replays what comes after. So a
//! newest commit record may stand over older or missing ones: it says what they must come to.

use super::key;

/// The ranges, in the order in which a commit record has them. A new one goes to the end, and
/// makes a new version of that record.
pub(super) const RANGES: [&[u8]; 11] = [
    key::TEAMS,
    key::ATTEMPT_KEY,
    key::LETTERS,
    key::META,
    key::OPEN_TASKS,
    key::MEMBERS,
    key::POSTS,
    key::OUTCOMES,
    key::STUBS,
    key::OFFERED,
    key::GONE_TEAMS,
];

/// How many records, and a sum over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) sum: u64,
}

impl Tally {
    /// Counts a record.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.add_all(1, hash(key, value));
    }

    /// Counts a record no more.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        self.take_all(1, hash(key, value));
    }

    /// Counts `records` that have `sum` together.
    pub(super) fn add_all(&mut self, records: u64, sum: u64) {
        self.records = self.records.wrapping_add(records);
        self.sum = self.sum.wrapping_add(sum);
    }

    /// The opposite of [`Tally::add_all`].
    pub(super) fn take_all(&mut self, records: u64, sum: u64) {
        self.records = self.records.wrapping_sub(records);
        self.sum = self.sum.wrapping_sub(sum);
    }

    /// Says how it differs from what was expected of `what`; none where it doesn't.
    pub(super) fn differs(self, expected: Self, what: &str) -> Option<String> {
        if self == expected {
            return None;
        }
        Some(match expected.records.cmp(&self.records) {
            std::cmp::Ordering::Equal => {
                format!("of {} {what} some are not as they were", self.records)
            }
            _ => format!(
                "{} {what} are there instead of {}",
                self.records, expected.records
            ),
        })
    }
}

/// The tallies of all ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tallies([Tally; RANGES.len()]);

impl Tallies {
    /// Counts a record, if it is in one of the ranges.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        if let Some(tally) = self.of(key) {
            tally.add(key, value);
        }
    }

    /// Counts a record no more.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        if let Some(tally) = self.of(key) {
            tally.take(key, value);
        }
    }

    /// The tally of the range that a key, or a prefix, is in.
    pub(super) fn of(&mut self, key: &[u8]) -> Option<&mut Tally> {
        let range = RANGES.iter().position(|range| key.starts_with(range))?;
        self.0.get_mut(range)
    }

    /// The tally of a range.
    pub(super) fn get(&self, range: &[u8]) -> Tally {
        Self(self.0).of(range).copied().unwrap_or_default()
    }

    /// Counts nothing of a range any more.
    pub(super) fn forget(&mut self, range: &[u8]) {
        if let Some(tally) = self.of(range) {
            *tally = Tally::default();
        }
    }

    /// The numbers of records, and the sums, of all ranges.
    pub(super) fn numbers(&self) -> (Vec<u64>, Vec<u64>) {
        let tallies = self.0.iter();
        tallies.map(|tally| (tally.records, tally.sum)).unzip()
    }

    /// Of what [`Tallies::numbers`] answers; none where there are not
    /// as many as there are ranges.
    pub(super) fn of_numbers(records: &[u64], sums: &[u64]) -> Option<Self> {
        if records.len() != RANGES.len() || sums.len() != RANGES.len() {
            return None;
        }
        let mut tallies = Self::default();
        for ((tally, records), sum) in tallies.0.iter_mut().zip(records).zip(sums) {
            (tally.records, tally.sum) = (*records, *sum);
        }
        Some(tallies)
    }
}

/// What a person calls the records of a range.
pub(super) fn name(range: &[u8]) -> &'static str {
    match range {
        key::TEAMS => "teams",
        key::ATTEMPT_KEY => "keys of attempts' secrets",
        key::LETTERS => "messages",
        key::META => "records of the board's counters",
        key::OPEN_TASKS => "open tasks",
        key::MEMBERS => "members",
        key::POSTS => "copies of messages",
        key::OUTCOMES => "pages of outcomes",
        key::STUBS => "finished tasks",
        key::OFFERED => "agent types",
        _ => "teams that are gone",
    }
}

/// A number that a record hardly shares with another.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    // The lengths go in, too, so that no byte can wander from a key to its value.
    let lens = ((key.len() as u64) << 48) ^ ((value.len() as u64) << 32);
    mix(lens ^ u64::from(hasher.finalize()))
}

/// Spreads a number over all bits, so that sums of such numbers are hardly ever the same.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_the_same_in_any_order_and_goes_back_when_records_go() {
        let records: [(&[u8], &[u8]); 3] = [(b"o1", b"a"), (b"o2", b"b"), (b"o3", b"")];
        let mut there = Tallies::default();
        let mut back = Tallies::default();
        records
            .iter()
            .for_each(|(key, value)| there.add(key, value));
        let backwards = records.iter().rev();
        backwards.for_each(|(key, value)| back.add(key, value));

        assert_eq!(there, back);
        assert_eq!(there.get(key::OPEN_TASKS).records, 3);
        records
            .iter()
            .for_each(|(key, value)| there.take(key, value));
        assert_eq!(there, Tallies::default());
    }

    #[test]
    fn another_value_and_a_byte_that_wanders_make_another_sum() {
        let of = |key: &[u8], value: &[u8]| {
            let mut tallies = Tallies::default();
            tallies.add(key, value);
            tallies.get(key::OPEN_TASKS).sum
        };

        assert_ne!(of(b"o1", b"a"), of(b"o1", b"b"));
        assert_ne!(of(b"o1", b"a"), of(b"o1a", b""));
    }

    #[test]
    fn ranges_that_no_start_reads_are_not_counted() {
        let mut tallies = Tallies::default();

        for key in [b"c", b"e", b"f", b"n"] {
            tallies.add(key, b"value");
        }

        assert_eq!(tallies, Tallies::default());
    }
}
