//! Whatever is damaged in a data directory between a clean stop and the next start, nothing is lost
//! in silence (P3a).

use std::collections::BTreeMap;

use ganger_tests::{
    Chance,
    damage::{Outcome, Specimen},
};

/// So many damages, each to a board of its own. The long form is the program `damage`.
const DAMAGES: u64 = 120;

#[tokio::test]
async fn a_damaged_file_is_refused_by_name_or_its_reads_are_and_nothing_is_lost_in_silence() {
    let specimen = Specimen::make(ganger_tests::programs!()).await;
    assert!(specimen.questions() > 100, "{}", specimen.questions());
    let mut chance = Chance::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for _ in 0..DAMAGES {
        let damage = specimen.some_damage(&mut chance);

        let outcome = specimen.judge(&damage).await;

        let outcome = match outcome {
            Ok(Outcome::Same) => "the same board",
            Ok(Outcome::Refused { .. }) => "refused by name",
            Ok(Outcome::Unreadable { .. }) => "served, with reads that fail",
            Err(wrong) => panic!("{damage}: {wrong}"),
        };
        *counts.entry(outcome).or_default() += 1;
    }
    println!("{DAMAGES} damages: {counts:?}");
    assert!(counts.len() > 1, "nothing was ever hit: {counts:?}");
}
