//! What tells one attempt from every other, as the worker keeps it.

use std::{fmt, sync::Arc};

use ganger_proto::v1;

/// What every report of an attempt carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    epoch: Arc<str>,
    team_uid: u64,
    task_id: u64,
    attempt: i32,
}

impl From<v1::Fence> for Fence {
    fn from(fence: v1::Fence) -> Self {
        let v1::Fence {
            epoch,
            team_uid,
            task_id,
            attempt,
        } = fence;
        Self {
            epoch: epoch.into(),
            team_uid,
            task_id,
            attempt,
        }
    }
}

impl From<&Fence> for v1::Fence {
    fn from(fence: &Fence) -> Self {
        let Fence {
            epoch,
            team_uid,
            task_id,
            attempt,
        } = fence;
        Self {
            epoch: epoch.to_string(),
            team_uid: *team_uid,
            task_id: *task_id,
            attempt: *attempt,
        }
    }
}

impl Fence {
    /// As the metadata of a call names it: `epoch/team uid/task/attempt`.
    pub(crate) fn path(&self) -> String {
        let Self {
            epoch,
            team_uid,
            task_id,
            attempt,
        } = self;
        format!("{epoch}/{team_uid}/{task_id}/{attempt}")
    }
}

impl fmt::Display for Fence {
    /// For log lines: short, and unique within a board's epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.team_uid, self.task_id, self.attempt)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fence of an epoch and team that all tests share.
    pub(crate) fn fence(task_id: u64, attempt: i32) -> Fence {
        v1::Fence {
            epoch: "e".into(),
            team_uid: 1,
            task_id,
            attempt,
        }
        .into()
    }

    #[test]
    fn fences_travel_unchanged() {
        let wire = v1::Fence {
            epoch: "e".into(),
            team_uid: 2,
            task_id: 3,
            attempt: 4,
        };

        assert_eq!(v1::Fence::from(&Fence::from(wire.clone())), wire);
    }
}
