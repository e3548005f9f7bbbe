//! The board against its [model](crate::model): whatever many members wish, at whatever time, both
//! grant and refuse the same, and stand the same afterwards.

use std::collections::{BTreeMap, BTreeSet};

use board::{
    command::{Ack, Addressees, Answer, CreateTeam, NewLetter, NewMember, Wish},
    id::{MemberName, MessageId, TaskId, TeamName, TeamUid},
    listing::{Among, Order},
    mail::MailKind,
    refusal::Refusal,
    task::{Status, Task, TaskState},
    team::{Member, MemberKind},
};
use proptest::{prelude::*, test_runner::Config};

use crate::{
    acts::{Act, Roster, member_act},
    model::{Card, Gang, Mate, No, State, Wisher},
    support::*,
    world::{World, worker_of},
};

/// The teams of the model, each under its uid.
#[derive(Clone)]
struct Model {
    gangs: BTreeMap<TeamUid, (TeamName, Gang)>,
}

impl Model {
    /// What a board is before anything is done to it.
    fn of(world: &World) -> Self {
        let board = &world.script.board;
        let types: BTreeSet<_> = board
            .offered()
            .map(|offered| offered.name.clone())
            .collect();
        let mut gangs = BTreeMap::new();
        for team in board.teams() {
            let mate = |member: &Member| {
                let mate = Mate {
                    kind: member.kind,
                    agent_type: member.agent_type.clone(),
                    is_there: true,
                };
                (member.name.clone(), mate)
            };
            let tasks = world.script.shelf.tasks.iter();
            let tasks = tasks.filter(|((uid, _), _)| *uid == team.uid);
            let gang = Gang {
                lead: team.lead.clone(),
                members: board.members(team.uid).map(mate).collect(),
                cards: tasks.map(|((_, id), task)| (*id, card_of(task))).collect(),
                last: team.last_task.0,
                is_over: false,
                mail: BTreeMap::new(),
                types: types.clone(),
                now: world.script.now,
            };
            gangs.insert(team.uid, (team.name.clone(), gang));
        }
        Self { gangs }
    }

    /// What is to come of a wish: the task that is taken, or all that is against it. `sent` is the
    /// message that it became.
    fn wish(
        &mut self,
        who: &MemberName,
        wish: &Wish,
        sent: Option<MessageId>,
    ) -> Result<Option<TaskId>, No> {
        let mut after = self.clone();
        let mut no = No::new();
        let taken = after.grant(who, wish, sent, &mut no);
        if !no.is_empty() {
            return Err(no);
        }
        *self = after;
        Ok(taken)
    }

    fn grant(
        &mut self,
        who: &MemberName,
        wish: &Wish,
        sent: Option<MessageId>,
        no: &mut No,
    ) -> Option<TaskId> {
        let mut named = self.gangs.iter().rev();
        let uid = named.find(|(_, (name, _))| name == wish.team());
        let uid = uid.map(|(uid, _)| *uid).unwrap();
        if let Wish::CreateTeam(new) = wish {
            self.make_team(uid, new, no);
            return None;
        }
        let gang = &mut self.gangs.get_mut(&uid).unwrap().1;
        let is_of_the_dead = matches!(wish, Wish::DissolveTeam(..) | Wish::AckMessages(..));
        if gang.is_over && !is_of_the_dead {
            no.insert("TeamOver");
            return None;
        }
        let joins = matches!(wish, Wish::AddMember(_, new) if new.name == *who);
        if !gang.is_there(who) && !joins {
            no.insert("MemberUnknown");
            return None;
        }
        let mut wisher = Wisher { gang, who, no };
        match wish {
            Wish::ClaimTask(_, id, _, lease) => wisher.claim_task(*id, *lease),
            Wish::ClaimNext(_, wanted) => return wisher.claim_next(wanted),
            Wish::RenewClaim(_, id, attempt) => wisher.must_hold(*id, *attempt, false),
            Wish::ReleaseTask(_, id, attempt, _) => wisher.release(*id, *attempt),
            Wish::ReopenTask(_, id, ..) => wisher.reopen(*id),
            Wish::DeleteTask(_, id, _) => wisher.delete(*id),
            Wish::PauseTask(_, id, _) => wisher.pause(*id),
            Wish::ResumeTask(_, id) => wisher.resume(*id),
            Wish::CancelTask(_, id, _) => wisher.cancel(*id),
            Wish::AnswerQuestion(_, id, ..) | Wish::SteerTask(_, id, _) => wisher.tell(*id),
            Wish::CreateTasks(_, tasks) => wisher.create(tasks),
            Wish::UpdateTask(_, id, change) => wisher.update(*id, change),
            Wish::AddMember(_, new) => add(&mut wisher, new),
            Wish::RemoveMember(_, name, _) => {
                if name != who {
                    wisher.must_lead();
                }
                wisher.leave(name);
            }
            Wish::HandOverLead(_, to) => hand_over(&mut wisher, to),
            Wish::DissolveTeam(_, removal) => dissolve(&mut wisher, removal.force),
            Wish::SendMessage(_, letter) => send(&mut wisher, letter, sent),
            Wish::AckMessages(_, ack) => acknowledge(&mut wisher, ack),
            other => panic!("{other:?} is not modelled"),
        }
        None
    }

    fn make_team(&mut self, last: TeamUid, new: &CreateTeam, no: &mut No) {
        let (name, gang) = self.gangs[&last].clone();
        if !gang.is_over {
            no.insert("TeamExists");
        }
        let lead = Mate {
            kind: MemberKind::Lead,
            agent_type: None,
            is_there: true,
        };
        let gang = Gang {
            lead: new.lead.clone(),
            members: [(new.lead.clone(), lead)].into(),
            cards: BTreeMap::new(),
            last: 0,
            is_over: false,
            mail: BTreeMap::new(),
            ..gang
        };
        let uid = self.gangs.last_key_value().unwrap().0.next();
        self.gangs.insert(uid, (name, gang));
    }
}

fn add(wisher: &mut Wisher<'_>, new: &NewMember) {
    if new.name != *wisher.who || new.kind != MemberKind::Agent {
        wisher.must_lead();
    }
    let open = wisher.gang.cards.values();
    let mut open = open.filter(|card| !card.status().is_terminal());
    let owns = open.any(|card| card.owner.as_ref() == Some(&new.name));
    let is_new = !wisher.gang.members.contains_key(&new.name);
    if wisher.gang.is_there(&new.name) || (owns && !is_new) {
        wisher.no("MemberExists");
    }
    join(wisher.gang, &new.name, new.kind);
}

fn join(gang: &mut Gang, name: &MemberName, kind: MemberKind) {
    let mate = Mate {
        kind,
        agent_type: (kind == MemberKind::Hosted).then(|| agent_type("coder")),
        is_there: true,
    };
    gang.members.insert(name.clone(), mate);
}

fn hand_over(wisher: &mut Wisher<'_>, to: &MemberName) {
    wisher.must_lead();
    let mate = wisher.gang.members.get(to).filter(|mate| mate.is_there);
    match mate.map(|mate| mate.kind) {
        None => return wisher.no("MemberUnknown"),
        Some(MemberKind::Agent) => {}
        Some(MemberKind::Lead) => wisher.no("MemberLeads"),
        Some(MemberKind::Hosted | MemberKind::Worker) => wisher.no("BadValue"),
    }
    let before = std::mem::replace(&mut wisher.gang.lead, to.clone());
    wisher.gang.members.get_mut(&before).unwrap().kind = MemberKind::Agent;
    wisher.gang.members.get_mut(to).unwrap().kind = MemberKind::Lead;
}

fn dissolve(wisher: &mut Wisher<'_>, force: bool) {
    wisher.must_lead();
    if wisher.gang.is_over {
        return;
    }
    let statuses = || wisher.gang.cards.values().map(Card::status);
    if !force && statuses().any(|status| status == Status::InProgress) {
        wisher.no("TeamActive");
    }
    wisher.gang.is_over = true;
    for card in wisher.gang.cards.values_mut() {
        if !card.status().is_terminal() {
            card.state = State::Ended(board::task::EndStatus::Cancelled);
        }
    }
}

fn send(wisher: &mut Wisher<'_>, letter: &NewLetter, sent: Option<MessageId>) {
    let gang = &mut *wisher.gang;
    let reads = |(_, mate): &(&MemberName, &Mate)| mate.is_there && mate.kind != MemberKind::Worker;
    let to: BTreeSet<MemberName> = match &letter.to {
        Addressees::Everybody => {
            let readers = gang.members.iter().filter(reads);
            readers.map(|(name, _)| name.clone()).collect()
        }
        Addressees::Named(names) => names.iter().cloned().collect(),
    };
    if to.iter().any(|name| !gang.is_there(name)) {
        wisher.no.insert("MemberUnknown");
    }
    let others = to.iter().filter(|name| *name != wisher.who);
    if others.clone().next().is_none() {
        wisher.no.insert("SelfRecipient");
    }
    for name in others {
        let mailbox = gang.mail.entry(name.clone()).or_default();
        mailbox.extend(sent);
    }
}

fn acknowledge(wisher: &mut Wisher<'_>, ack: &Ack) {
    if let Some(mailbox) = wisher.gang.mail.get_mut(wisher.who) {
        mailbox.retain(|id| ack.up_to.is_none_or(|last| *id > last) && !ack.messages.contains(id));
    }
}

/// A task that nobody has touched yet.
fn card_of(task: &Task) -> Card {
    Card {
        owner: task.owner.clone(),
        maker: task.created_by.member().unwrap().clone(),
        blocked_by: task.blocked_by.clone(),
        policy: task.blocker_failed_policy,
        priority: task.priority,
        labels: task.labels.clone(),
        agent_type: task.agent_type.clone(),
        has_prompt: !task.prompt.is_empty(),
        parent: task.parent,
        deadline: task.deadline,
        state: State::Pending,
        is_paused: false,
        since: task.waiting().unwrap().since,
        attempt: 0,
    }
}

/// The name of a refusal.
fn name_of(refusal: &Refusal) -> String {
    let debug = format!("{refusal:?}");
    let name = debug.split([' ', '{']).next();
    name.unwrap_or_default().to_string()
}

fn compare_answer(
    model: &mut Model,
    (who, wish, came): &(MemberName, Wish, Result<Answer, Refusal>),
) -> Result<(), TestCaseError> {
    let sent = match came {
        Ok(Answer::Sent { message, .. }) => Some(*message),
        _ => None,
    };
    match (came, model.wish(who, wish, sent)) {
        (Ok(answer), Ok(taken)) => {
            if matches!(wish, Wish::ClaimNext(..)) {
                let won = match answer {
                    Answer::Task((_, task)) => Some(*task),
                    _ => None,
                };
                prop_assert_eq!(won, taken, "{} {:?}", who, wish);
            }
        }
        (Err(refusal), Err(no)) => {
            let name = name_of(refusal);
            prop_assert!(
                no.contains(&*name),
                "{who} {wish:?}: {refusal:?}, not {no:?}"
            );
        }
        (came, said) => {
            let wrong = format!("{who} {wish:?}: {came:?}, not {said:?}");
            return Err(TestCaseError::fail(wrong));
        }
    }
    Ok(())
}

/// Who holds a task, and since when what waits is ready.
fn compare_task(gang: &Gang, id: TaskId, card: &Card, task: &Task) -> Result<(), TestCaseError> {
    prop_assert_eq!(&task.owner, &card.owner, "owner of #{}", id);
    prop_assert_eq!(task.status(), card.status(), "status of #{}", id);
    prop_assert_eq!(&task.blocked_by, &card.blocked_by, "#{}", id);
    prop_assert_eq!(task.last_attempt.0, card.attempt, "#{}", id);
    match (&task.state, &card.state) {
        (TaskState::Claimed(claim), State::Claimed(holder, lease, heard)) => {
            prop_assert_eq!(claim.by.member(), Some(holder), "#{}", id);
            prop_assert_eq!((claim.lease, claim.renewed_at), (*lease, *heard), "#{}", id);
        }
        (TaskState::Pending(waiting), State::Pending) => {
            prop_assert_eq!(waiting.paused.is_some(), card.is_paused, "#{}", id);
            // Of what is held back nobody asks since when it waits.
            if gang.is_ready(card) {
                prop_assert_eq!(waiting.since, card.since, "#{}", id);
            }
        }
        (TaskState::Ended(_), State::Ended(_)) => {}
        (state, _) => return Err(TestCaseError::fail(format!("#{id}: {state:?}"))),
    }
    Ok(())
}

fn compare_boards(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let (board, shelf) = (&world.script.board, &world.script.shelf);
    for (uid, (_, gang)) in &model.gangs {
        let keys = shelf.tasks.keys().filter(|(team, _)| team == uid);
        let there: Vec<TaskId> = keys.map(|(_, id)| *id).collect();
        let expected: Vec<TaskId> = gang.cards.keys().copied().collect();
        prop_assert_eq!(there, expected, "team {}", uid);
        for (id, card) in &gang.cards {
            compare_task(gang, *id, card, &shelf.tasks[&(*uid, *id)])?;
            let view = board.view((*uid, *id));
            if let Some(view) = view.filter(|_| card.state == State::Pending) {
                prop_assert_eq!(view.open_blockers, gang.open(card), "#{}", id);
            }
        }
        let ready = board.walk(*uid, Among::Ready, Order::Id, None).unwrap();
        let ready: Vec<TaskId> = ready.map(|at| at.task()).collect();
        let expected = gang.cards.iter().filter(|(_, card)| gang.is_ready(card));
        let expected: Vec<TaskId> = expected.map(|(id, _)| *id).collect();
        prop_assert_eq!(ready, expected, "what is ready in team {}", uid);
        let present: BTreeSet<&MemberName> = board.members(*uid).map(|m| &m.name).collect();
        let expected = gang.members.keys().filter(|name| gang.is_there(name));
        prop_assert_eq!(present, expected.collect::<BTreeSet<_>>());
        for name in gang.members.keys().filter(|_| !gang.is_over) {
            let mailbox = board.mailbox(*uid, name).into_iter();
            let waiting = mailbox.flat_map(|mailbox| mailbox.after(MessageId(0)));
            let words = waiting.filter(|(_, head)| head.kind == MailKind::Text);
            let words: Vec<MessageId> = words.map(|(id, _)| id).collect();
            let expected = gang.mail.get(name).cloned().unwrap_or_default();
            prop_assert_eq!(words, expected, "the words for {}", name);
        }
    }
    Ok(())
}

/// What is done that nobody wishes.
fn follow(model: &mut Model, world: &World, act: &Act) {
    let seen = &world.script.seen;
    for (uid, (_, gang)) in &mut model.gangs {
        gang.now = world.script.now;
        match act {
            Act::Wait(_) if !gang.is_over => {
                gang.tick(|name| seen.get(&(*uid, name.clone())).copied());
            }
            Act::Join(worker) if *uid == TEAM => {
                let name = name(worker_of(*worker));
                let is_new = !gang.members.contains_key(&name);
                let open = || {
                    gang.cards
                        .values()
                        .filter(|card| !card.status().is_terminal())
                };
                let owns = || open().any(|card| card.owner.as_ref() == Some(&name));
                if is_new || !gang.is_there(&name) && !owns() {
                    join(gang, &name, MemberKind::Worker);
                }
            }
            Act::Roster(_, is_second, Roster::LeaveWorker(worker)) => {
                let name = name(worker_of(*worker));
                let is_its = *uid == TeamUid(1 + u64::from(*is_second)) && !gang.is_over;
                let mate = gang.members.get(&name).filter(|mate| mate.is_there);
                if is_its && mate.is_some_and(|mate| mate.kind == MemberKind::Worker) {
                    let mut no = No::new();
                    let who = &gang.lead.clone();
                    let no = &mut no;
                    Wisher { gang, who, no }.leave(&name);
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_board_and_its_model_agree(acts in prop::collection::vec(member_act(), 1..80)) {
        let mut world = World::new();
        let mut model = Model::of(&world);
        for act in &acts {
            world.act(act);
            follow(&mut model, &world, act);
            for wished in std::mem::take(&mut world.wished) {
                compare_answer(&mut model, &wished)?;
            }
            compare_boards(&world, &model)?;
        }
    }
}
