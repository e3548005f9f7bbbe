//! Putting records in their places, and keeping in step what is derived from them.
//!
//! It is the only thing that changes a board, both when it runs and when it is loaded.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    board::{Board, Card, Entry, TeamBoard, is_any, is_open},
    id::{MemberName, MessageId, TaskId, TaskKey, TeamUid},
    index::{Listing, Marks, TeamIndex, marks},
    mail::{Filed, Letter, Mailbox, Recipients},
    orphans::{Support, concerned, is_orphan},
    record::Record,
    shelf::Shelf,
    team::{Member, MemberKind, Team},
};

impl Board {
    /// Puts a record in its place. Cannot fail: what doesn't fit is a bug, and asserts.
    pub fn install(&mut self, record: &Record) {
        match record {
            Record::Meta(meta) => self.meta = *meta,
            Record::Team(team) => self.install_team(team),
            Record::Member(team, member) => self.install_member(*team, member),
            Record::Task(team, task) => {
                self.install_card(*team, task.id, Card::Whole(task.clone()))
            }
            Record::Stub(team, stub) => {
                self.install_card(*team, stub.id, Card::Outline(Box::new(stub.clone())))
            }
            Record::Offered(offered) => {
                self.offered.insert(offered.name.clone(), offered.clone());
            }
            Record::OfferedGone(name) => {
                self.offered.remove(name);
            }
            Record::Letter(team, letter) => self.install_letter(*team, letter),
            Record::Post(team, member, id) => self.install_post(*team, member, *id),
            Record::TaskGone(team, task) => self.remove_card(*team, *task),
            Record::LetterGone(team, id) => self.remove_letter(*team, *id),
            Record::PostGone(team, member, id) => self.remove_post(*team, member, *id),
            Record::TeamGone(team) => self.remove_team(*team),
        }
    }

    fn install_team(&mut self, team: &Team) {
        if let Some(dissolved) = &team.dissolved {
            self.queueing.retain(|_, teams| {
                teams.remove(&team.uid);
                !teams.is_empty()
            });
            if dissolved.is_settled {
                self.dissolving.remove(&team.uid);
                self.tombstones.insert((dissolved.at, team.uid));
            } else {
                self.dissolving.insert(team.uid);
            }
            self.forget_wants(team.uid);
        }
        if let Some(board) = self.teams.get_mut(&team.uid) {
            board.head = team.clone();
            return;
        }
        self.names.insert((team.name.clone(), team.uid));
        self.teams.insert(
            team.uid,
            TeamBoard {
                head: team.clone(),
                members: BTreeMap::new(),
                tasks: Shelf::default(),
                index: TeamIndex::default(),
                mailboxes: BTreeMap::new(),
                letters: BTreeMap::new(),
            },
        );
    }

    /// The members of a team that is over want nothing any more, and nothing waits for its tasks.
    fn forget_wants(&mut self, uid: TeamUid) {
        if let Some(team) = self.teams.get(&uid) {
            self.expiries.unlist(uid, &team.index.expiry);
        }
        self.cascades.retain(|(team, _)| *team != uid);
        self.member_deadlines.retain(|(_, (team, _))| *team != uid);
        self.stranded.retain(|(team, _)| *team != uid);
        self.adrift.retain(|(team, _)| *team != uid);
        self.orphans.retain(|(team, _)| *team != uid);
    }

    fn install_member(&mut self, uid: TeamUid, member: &Member) {
        let key = (uid, member.name.clone());
        let team = self.team_of(uid);
        let is_open = team.head.is_open();
        let before = team.members.insert(member.name.clone(), member.clone());
        let runs = |member: &Member| (member.is_present(), member.kind, member.agent_type.clone());
        let has_changed = before
            .as_ref()
            .is_some_and(|before| runs(before) != runs(member));
        if let Some(at) = before.as_ref().and_then(Member::wakes_at) {
            self.member_deadlines.remove(&(at, key.clone()));
        }
        if let Some(at) = member.wakes_at().filter(|_| is_open) {
            self.member_deadlines.insert((at, key.clone()));
        }
        if member.is_present() && member.kind == MemberKind::Worker {
            let teams = self.serving.entry(member.name.clone()).or_default();
            teams.insert(uid);
        } else {
            self.serve_no_more(uid, &member.name);
        }
        if has_changed {
            // Who may run a task depends on its owner.
            let owned = self.team_of(uid).index.owned.get(&member.name);
            for task in owned.cloned().unwrap_or_default() {
                self.mark_again((uid, task));
            }
        }
        self.see_to_stranded(uid, &member.name);
    }

    fn serve_no_more(&mut self, uid: TeamUid, name: &MemberName) {
        if let Some(teams) = self.serving.get_mut(name) {
            teams.remove(&uid);
            if teams.is_empty() {
                self.serving.remove(name);
            }
        }
    }

    /// Lists a member who left and still owns something.
    fn see_to_stranded(&mut self, uid: TeamUid, name: &MemberName) {
        let team = &self.teams[&uid];
        let has_left = team
            .members
            .get(name)
            .is_some_and(|member| !member.is_present());
        let key = (uid, name.clone());
        if has_left && team.head.is_open() && team.index.owned.contains_key(name) {
            self.stranded.insert(key);
        } else {
            self.stranded.remove(&key);
        }
    }

    /// Lists a task that is over, or gone, and whose sub-agents still hold others.
    fn see_to_adrift(&mut self, uid: TeamUid, holder: TaskId) {
        let team = &self.teams[&uid];
        let is_open = |entry: &Entry| !entry.card.status().is_terminal();
        let is_there = team.tasks.get(&holder).is_some_and(is_open);
        if !is_there && team.head.is_open() && team.index.lent.contains_key(&holder) {
            self.adrift.insert((uid, holder));
        } else {
            self.adrift.remove(&(uid, holder));
        }
    }

    fn install_letter(&mut self, uid: TeamUid, letter: &Letter) {
        let team = self.team_of(uid);
        let head = Arc::new(letter.head());
        let only = match &letter.to {
            Recipients::One(member) => {
                let mailbox = team.mailboxes.entry(member.clone()).or_default();
                mailbox.put(letter.id, head.clone());
                Some(member.clone())
            }
            Recipients::Many { .. } => None,
        };
        let copies = usize::from(only.is_some());
        let filed = Filed { head, only, copies };
        team.letters.insert(letter.id, filed);
    }

    fn install_post(&mut self, uid: TeamUid, member: &MemberName, id: MessageId) {
        let team = self.team_of(uid);
        let filed = team.letters.get_mut(&id);
        let filed = filed.expect("a message is installed before its copies");
        filed.copies += 1;
        let mailbox = team.mailboxes.entry(member.clone()).or_default();
        mailbox.put(id, filed.head.clone());
    }

    fn remove_letter(&mut self, uid: TeamUid, id: MessageId) {
        let team = self.team_of(uid);
        let filed = team.letters.remove(&id);
        if let Some(member) = filed.and_then(|filed| filed.only) {
            take_out(&mut team.mailboxes, &member, id);
        }
    }

    fn remove_post(&mut self, uid: TeamUid, member: &MemberName, id: MessageId) {
        let team = self.team_of(uid);
        if let Some(filed) = team.letters.get_mut(&id) {
            filed.copies -= 1;
        }
        take_out(&mut team.mailboxes, member, id);
    }

    fn remove_card(&mut self, uid: TeamUid, id: TaskId) {
        let team = self.team_of(uid);
        let entry = team.tasks.remove(&id);
        let Entry { card, marks } = entry.expect("a task is there until it goes");
        team.index.rewire(id, card.blocked_by(), &[]);
        team.index.uncount(card.status());
        team.index.over.remove(&id);
        team.index.disown(card.parent(), id);
        let weight_before = card
            .parent()
            .map(|parent| team.index.joining.weight(parent));
        team.index.joining.leave(id, &card);
        self.set_window((uid, id), 0);
        let team = self.team_of(uid);
        if let Card::Whole(task) = &card {
            team.index.leave(task);
        }
        self.unmark((uid, id), &card, marks);
        self.cascades.remove(&(uid, id));
        let ended = card.ended_at();
        self.change_expiry(uid, |expiry| {
            if let Some(ended) = ended {
                expiry.leave(id, ended);
            }
            expiry.release(id);
        });
        self.see_to_orphan((uid, id));
        self.see_to_supported(uid, id, Some(Support::of(&card)));
        self.see_to_joins(uid, card.parent(), weight_before);
        if let Some(owner) = card.owner() {
            self.see_to_stranded(uid, owner);
        }
        for holder in [Some(id), card.lent_to()].into_iter().flatten() {
            self.see_to_adrift(uid, holder);
        }
    }

    fn remove_team(&mut self, uid: TeamUid) {
        let Some(team) = self.teams.remove(&uid) else {
            return;
        };
        self.expiries.unlist(uid, &team.index.expiry);
        for name in team.members.keys() {
            self.serve_no_more(uid, name);
        }
        self.names.remove(&(team.head.name, uid));
        if let Some(dissolved) = &team.head.dissolved {
            self.tombstones.remove(&(dissolved.at, uid));
        }
    }

    fn team_of(&mut self, uid: TeamUid) -> &mut TeamBoard {
        self.teams
            .get_mut(&uid)
            .expect("a team's record is installed before those of its members and tasks")
    }

    fn install_card(&mut self, uid: TeamUid, id: TaskId, card: Card) {
        let team = self.team_of(uid);
        let entry = Entry {
            card,
            marks: Marks::default(),
        };
        let before = team.tasks.insert(id, entry);
        let status = team.tasks[&id].card.status();
        team.index
            .count(before.as_ref().map(|b| b.card.status()), status);
        let old_edges: &[TaskId] = before.as_ref().map_or(&[], |b| b.card.blocked_by());
        let new_edges = team.tasks[&id].card.blocked_by();
        if old_edges != new_edges {
            team.index.rewire(id, old_edges, new_edges);
        }
        let loosened: Vec<TaskId> = old_edges
            .iter()
            .filter(|blocker| !new_edges.contains(blocker))
            .copied()
            .collect();
        let card = team.tasks[&id].card.clone();
        let weight_before = card
            .parent()
            .map(|parent| team.index.joining.weight(parent));
        if let Some(before) = &before {
            team.index.joining.leave(id, &before.card);
        }
        team.index.joining.enter(id, &card);
        let is_cascade_due = card.is_cascade_due();
        match before.as_ref().map(|b| &b.card) {
            Some(Card::Whole(task)) => team.index.leave(task),
            Some(Card::Outline(_)) => {}
            None => team.index.adopt(card.parent(), id),
        }
        if let Card::Whole(task) = &card {
            team.index.enter(task);
        }
        if status.is_terminal() {
            team.index.over.insert(id);
        } else {
            team.index.over.remove(&id);
        }
        self.see_to_expiry(
            (uid, id),
            before.as_ref().map(|b| &b.card),
            &card,
            &loosened,
        );
        self.set_window((uid, id), window_of(&card));
        let owner_before = before.as_ref().and_then(|b| b.card.owner().cloned());
        let holder_before = before.as_ref().and_then(|b| b.card.lent_to());
        let support_before = before.as_ref().map(|b| Support::of(&b.card));
        // Whatever of a blocker decides on its dependants: they are looked at again.
        let has_moved = before
            .as_ref()
            .is_none_or(|b| b.card.status() != status || b.card.is_cascade_due() != is_cascade_due);
        if let Some(before) = before {
            self.unmark((uid, id), &before.card, before.marks);
        }
        for owner in [owner_before.as_ref(), card.owner()].into_iter().flatten() {
            self.see_to_stranded(uid, owner);
        }
        let holders = [Some(id), holder_before, card.lent_to()];
        for holder in holders.into_iter().flatten() {
            self.see_to_adrift(uid, holder);
        }
        if is_cascade_due && self.teams[&uid].head.is_open() {
            self.cascades.insert((uid, id));
        } else {
            self.cascades.remove(&(uid, id));
        }
        self.remark((uid, id));
        if has_moved {
            let dependants = self.teams[&uid].index.dependants(id).to_vec();
            for dependant in dependants {
                self.mark_again((uid, dependant));
            }
        }
        self.see_to_supported(uid, id, support_before);
        self.see_to_joins(uid, card.parent(), weight_before);
    }

    /// Enters a task that is over among those that leave, and lets those leave that this one needs
    /// no more: because it is over, too, or doesn't wait for them any more.
    fn see_to_expiry(
        &mut self,
        (uid, id): TaskKey,
        before: Option<&Card>,
        card: &Card,
        loosened: &[TaskId],
    ) {
        let (ended_before, ended) = (before.and_then(Card::ended_at), card.ended_at());
        if ended_before == ended && loosened.is_empty() {
            return;
        }
        self.change_expiry(uid, |expiry| {
            for blocker in loosened {
                expiry.release_one(*blocker, id);
            }
            if let Some(ended) = ended_before {
                expiry.leave(id, ended);
            }
            if let Some(ended) = ended {
                expiry.enter(id, ended);
                expiry.release(id);
            }
        });
    }

    /// Looks again at those that join the children of a task, if these weigh otherwise than before.
    fn see_to_joins(
        &mut self,
        uid: TeamUid,
        parent: Option<TaskId>,
        before: Option<(usize, usize)>,
    ) {
        let joining = &self.teams[&uid].index.joining;
        if let Some(parent) = parent.filter(|parent| before != Some(joining.weight(*parent))) {
            let joins: Vec<TaskId> = joining.joins(parent).collect();
            for join in joins {
                self.mark_again((uid, join));
            }
        }
    }

    /// Looks again at those that may be orphans now, or may be it no more, because a task has
    /// changed that they depend on.
    fn see_to_supported(&mut self, uid: TeamUid, id: TaskId, before: Option<Support>) {
        for task in concerned(&self.teams[&uid], id, before) {
            self.mark_again((uid, task));
        }
    }

    /// So many children of a task may run at once; 0 for as many as there are.
    fn set_window(&mut self, (uid, id): TaskKey, window: u32) {
        let team = self.teams.get_mut(&uid).expect("a task's team is there");
        let mut listing = Listing {
            team: uid,
            is_open: team.head.is_open(),
            queueing: &mut self.queueing,
        };
        team.index.queues.set_window(id, window, &mut listing);
    }

    /// Works out anew what the indexes are to hold of a task, because something around it has
    /// changed.
    fn mark_again(&mut self, key: TaskKey) {
        let tasks = &mut self.team_of(key.0).tasks;
        let entry = tasks.get_mut(&key.1);
        let entry = entry.expect("edges and owners are only of tasks that are there");
        let marks = std::mem::take(&mut entry.marks);
        let card = entry.card.clone();
        self.unmark(key, &card, marks);
        self.remark(key);
    }

    /// Works out what the indexes are to hold of a task, and enters it.
    fn remark(&mut self, key: TaskKey) {
        let (uid, id) = key;
        let team = self
            .teams
            .get_mut(&uid)
            .expect("remark is for installed tasks");
        let Card::Whole(task) = &team.tasks[&id].card else {
            self.orphans.remove(&key);
            return;
        };
        let is_held_back = is_orphan(team, task)
            || team.index.joining.held_by(task) > 0
            || is_any(&task.blocked_by, |id| is_open(&team.tasks, task, id));
        let mut marks = marks(task, &team.members, is_held_back, &self.limits);
        let mut listing = Listing {
            team: uid,
            is_open: team.head.is_open(),
            queueing: &mut self.queueing,
        };
        if let Some((queue, place)) = marks.queued.as_deref_mut() {
            let queues = &mut team.index.queues;
            *queue = queues.enqueue(queue.clone(), *place, &mut listing);
        }
        if marks.is_ready {
            team.index.ready.insert(task.priority, id);
        }
        if let Some(at) = marks.claimable {
            team.index.offer(task, (at, id));
        }
        if let Some(at) = marks.wakes_at {
            self.deadlines.insert((at, key));
        }
        if let Some(placed) = &marks.placed {
            team.index.queues.add_running(id, placed, &mut listing);
            self.running.add(placed);
            self.placed.entry(placed.instance).or_default().insert(key);
        }
        team.tasks
            .get_mut(&id)
            .expect("it was there a moment ago")
            .marks = marks;
        self.see_to_orphan(key);
    }

    /// Takes out of the indexes what they hold of a task. `card` is the task as it was then.
    fn unmark(&mut self, key: TaskKey, card: &Card, marks: Marks) {
        let (uid, id) = key;
        let team = self
            .teams
            .get_mut(&uid)
            .expect("unmark is for installed tasks");
        let mut listing = Listing {
            team: uid,
            is_open: team.head.is_open(),
            queueing: &mut self.queueing,
        };
        if let Some(queued) = marks.queued {
            let (queue, place) = *queued;
            team.index.queues.dequeue(&queue, place, &mut listing);
        }
        if let Card::Whole(task) = card {
            if marks.is_ready {
                team.index.ready.remove(task.priority, id);
            }
            if let Some(at) = marks.claimable {
                team.index.withdraw(task, (at, id));
            }
        }
        if let Some(at) = marks.wakes_at {
            self.deadlines.remove(&(at, key));
        }
        if let Some(placed) = marks.placed {
            team.index.queues.remove_running(id, &placed, &mut listing);
            self.running.remove(&placed);
            if let Some(held) = self.placed.get_mut(&placed.instance) {
                held.remove(&key);
                if held.is_empty() {
                    self.placed.remove(&placed.instance);
                }
            }
        }
    }
}

/// How many children of a card's task may run at once; 0 for as many as there are.
fn window_of(card: &Card) -> u32 {
    match card {
        Card::Whole(task) if task.end().is_none() => task.terms().window,
        _ => 0,
    }
}

fn take_out(mailboxes: &mut BTreeMap<MemberName, Mailbox>, member: &MemberName, id: MessageId) {
    if let Some(mailbox) = mailboxes.get_mut(member) {
        mailbox.take(id);
        if mailbox.is_empty() {
            mailboxes.remove(member);
        }
    }
}
