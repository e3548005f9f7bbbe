//! Which processes this worker was before.
//!
//! Who has the data directory's lock knows that every earlier process that had it is dead, and the
//! native sandbox dies with its worker. So a worker that starts again can say which attempts will
//! never be reported on, and nobody has to wait for their leases.

use std::{fs, io, path::Path};

use uuid::Uuid;

/// The file in the data directory that lists them, oldest first.
const FILE: &str = "instances";

/// How many are remembered: as many starts as can well fall into one lease.
const KEPT_MAX: usize = 16;

/// Notes this process as the latest one, and answers those before it. Only to be called by who
/// holds the data directory's lock. Where the list can't be read or written there are none, and
/// their leases have to end by themselves.
pub(crate) fn succeed(data_dir: &Path, instance_id: &str) -> Vec<String> {
    let noted = note(data_dir, instance_id);
    noted.unwrap_or_else(|error| {
        tracing::warn!(%error, "can't note which process this worker is");
        Vec::new()
    })
}

fn note(data_dir: &Path, instance_id: &str) -> io::Result<Vec<String>> {
    let path = data_dir.join(FILE);
    let before = match fs::read_to_string(&path) {
        Ok(text) => listed(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut all = before.clone();
    all.push(instance_id.to_owned());
    let fresh = data_dir.join(format!("{FILE}.new"));
    fs::write(&fresh, all.join("\n") + "\n")?;
    fs::rename(&fresh, &path)?;
    Ok(before)
}

/// The latest instances of a list. A torn or foreign line is none.
fn listed(text: &str) -> Vec<String> {
    let ids: Vec<&str> = text
        .lines()
        .filter(|line| Uuid::parse_str(line).is_ok())
        .collect();
    let latest = &ids[ids.len().saturating_sub(KEPT_MAX)..];
    latest.iter().map(|id| (*id).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> String {
        Uuid::from_u128(number).to_string()
    }

    #[test]
    fn each_process_learns_of_those_before_it() {
        let dir = tempfile::tempdir().unwrap();

        assert!(succeed(dir.path(), &id(1)).is_empty());
        assert_eq!(succeed(dir.path(), &id(2)), [id(1)]);
        assert_eq!(succeed(dir.path(), &id(3)), [id(1), id(2)]);
    }

    #[test]
    fn only_the_latest_are_remembered_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "nonsense\n\n").unwrap();

        for number in 0..20 {
            succeed(dir.path(), &id(number));
        }

        let before = succeed(dir.path(), &id(99));
        assert_eq!(before, (4..20).map(id).collect::<Vec<_>>());
    }

    #[test]
    fn directory_that_can_not_be_written_costs_only_the_list() {
        assert!(succeed(Path::new("/proc/nowhere"), &id(1)).is_empty());
    }
}
