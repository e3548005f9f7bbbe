//! Lists and numbers, as refusals say them.

use crate::id::{MemberName, TaskId};

pub(super) fn ids_text(ids: &[TaskId]) -> String {
    let shown: Vec<String> = ids.iter().take(10).map(|id| format!("#{id}")).collect();
    match ids.len().checked_sub(10) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// A long path is cut in its middle, and says so.
pub(super) fn path_text(path: &[TaskId]) -> String {
    const ENDS: usize = 8;
    let steps = |ids: &[TaskId]| -> Vec<String> { ids.iter().map(|id| format!("#{id}")).collect() };
    let more = path.len().saturating_sub(2 * ENDS);
    if more == 0 {
        return steps(path).join(" → ");
    }
    let (first, last) = (steps(&path[..ENDS]), steps(&path[path.len() - ENDS..]));
    let (first, last) = (first.join(" → "), last.join(" → "));
    format!("{first} → ({more} more) → {last}")
}

pub(super) fn owner_text(owner: &Option<MemberName>) -> String {
    match owner {
        Some(owner) => format!("{:?}", owner.as_str()),
        None => "nobody".into(),
    }
}

pub(super) fn present_text(present: Option<u32>) -> String {
    present.map_or_else(String::new, |number| {
        format!(" to that: the one that waits is {number}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_in_its_middle() {
        let path = |len: u64| -> Vec<TaskId> { (1..=len).map(TaskId).collect() };
        assert_eq!(path_text(&path(2)), "#1 → #2");
        assert!(
            path_text(&path(16)).ends_with("#8 → #9 → #10 → #11 → #12 → #13 → #14 → #15 → #16")
        );

        let cut = path_text(&path(1_000));

        let ends = "#7 → #8 → (984 more) → #993 → #994";
        assert!(cut.contains(ends), "{cut}");
        assert!(
            cut.starts_with("#1 → #2") && cut.ends_with("#999 → #1000"),
            "{cut}"
        );
    }
}
