//! Placement, worked out once more in the plainest way.

use board::{
    id::TaskKey,
    placement::{Assignment, Offer},
};

use super::World;

impl World {
    /// The same placement in the plainest way: for each free slot, all tasks are looked at.
    pub(super) fn slowly_placed(&self, mut offers: Vec<Offer>, most: usize) -> Vec<Assignment> {
        let board = &self.script.board;
        let mut assigned: Vec<Assignment> = vec![];
        let views: Vec<_> = self
            .script
            .shelf
            .tasks
            .keys()
            .filter_map(|key| Some((*key, board.view(*key)?)))
            .collect();
        while assigned.len() < most {
            let taken: Vec<TaskKey> = assigned.iter().map(|a| a.task).collect();
            let running = |team| {
                let placed = |(k, v): &&(TaskKey, board::view::TaskView)| {
                    k.0 == team && (v.task.placement().is_some() || taken.contains(k))
                };
                views.iter().filter(placed).count()
            };
            let is_busy = |team, member| {
                views.iter().any(|(key, view)| {
                    let acts = view.task.placement().and_then(|p| p.member.as_ref());
                    let queue = view.queue.as_ref().filter(|_| taken.contains(key));
                    let will_act = queue.and_then(|q| q.member.as_ref());
                    key.0 == team && (acts == Some(member) || will_act == Some(member))
                })
            };
            let mut best = None;
            for (key, view) in &views {
                let Some(queue) = &view.queue else { continue };
                let is_free = view.phase == Some(board::view::Phase::Queued)
                    && !taken.contains(key)
                    && queue.member.as_ref().is_none_or(|m| !is_busy(key.0, m));
                let fits = |offer: &&Offer| {
                    offer.free > 0
                        && offer.types.contains(&queue.agent_type)
                        && queue.worker.as_ref().is_none_or(|w| *w == offer.worker)
                        && offer.teams.as_ref().is_none_or(|t| t.contains(&key.0))
                };
                let to = offers.iter().filter(fits);
                let to = to.min_by_key(|o| (u32::MAX - o.free, o.worker.clone()));
                if let (true, Some(offer)) = (is_free, to) {
                    let since = view.phase_since.unwrap() - view.task.priority.bonus();
                    let turn = (running(key.0), key.0, since, key.1);
                    let candidate = (turn, *key, offer.worker.clone());
                    best = best.into_iter().chain([candidate]).min();
                }
            }
            let Some((_, task, worker)) = best else { break };
            let offer = offers.iter_mut().find(|o| o.worker == worker).unwrap();
            offer.free -= 1;
            assigned.push(Assignment {
                task,
                worker,
                instance: offer.instance,
            });
        }
        assigned
    }
}
