//! What a store would hold of a board, and boards as they come back from it.

use std::{collections::BTreeMap, sync::Arc};

use board::{
    Board,
    id::{AgentTypeName, Epoch, MemberName, MessageId, TaskId, TaskKey, TeamUid},
    limits::RunningLimits,
    mail::Letter,
    record::Record,
    task::Task,
};

/// What a store holds: the latest record of each key.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// The bounds of the boards that are loaded from it.
    limits: Arc<RunningLimits>,
    meta: Option<Record>,
    teams: BTreeMap<TeamUid, Record>,
    members: BTreeMap<(TeamUid, MemberName), Record>,
    pub tasks: BTreeMap<TaskKey, Arc<Task>>,
    offered: BTreeMap<AgentTypeName, Record>,
    letters: BTreeMap<(TeamUid, MessageId), Record>,
    posts: BTreeMap<(TeamUid, MemberName, MessageId), Record>,
}

impl Shelf {
    /// One with nothing, for boards with these bounds.
    pub fn within(limits: Arc<RunningLimits>) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub fn keep(&mut self, record: &Record) {
        let copy = record.clone();
        match record {
            Record::Meta(_) => self.meta = Some(copy),
            Record::Team(team) => {
                self.teams.insert(team.uid, copy);
            }
            Record::Member(team, member) => {
                self.members.insert((*team, member.name.clone()), copy);
            }
            Record::Task(team, task) => {
                self.tasks.insert((*team, task.id), task.clone());
            }
            Record::Offered(offered) => {
                self.offered.insert(offered.name.clone(), copy);
            }
            Record::OfferedGone(name) => {
                self.offered.remove(name);
            }
            Record::Letter(team, letter) => {
                self.letters.insert((*team, letter.id), copy);
            }
            Record::Post(team, member, id) => {
                self.posts.insert((*team, member.clone(), *id), copy);
            }
            Record::TaskGone(team, task) => {
                self.tasks.remove(&(*team, *task));
            }
            Record::LetterGone(team, id) => {
                self.letters.remove(&(*team, *id));
            }
            Record::PostGone(team, member, id) => {
                self.posts.remove(&(*team, member.clone(), *id));
            }
            Record::TeamGone(gone) => {
                self.teams.remove(gone);
                self.members.retain(|(team, _), _| team != gone);
                self.tasks.retain(|(team, _), _| team != gone);
                self.letters.retain(|(team, _), _| team != gone);
                self.posts.retain(|(team, ..), _| team != gone);
            }
            Record::Stub(..) => panic!("no decision writes a stub"),
        }
    }

    /// A message that is not acknowledged by all.
    pub fn letter(&self, team: TeamUid, id: MessageId) -> Arc<Letter> {
        match &self.letters[&(team, id)] {
            Record::Letter(_, letter) => letter.clone(),
            other => panic!("{other:?} is kept as a message"),
        }
    }

    /// What there is but tasks, in the order in which it is installed.
    pub fn heads(&self) -> impl Iterator<Item = &Record> {
        self.meta
            .iter()
            .chain(self.teams.values())
            .chain(self.members.values())
            .chain(self.offered.values())
            .chain(self.letters.values())
            .chain(self.posts.values())
    }

    /// The tasks' records; those that are over as stubs, where it is so wished.
    pub fn task_records(&self, as_stubs: bool) -> Vec<Record> {
        let record = |((team, _), task): (&TaskKey, &Arc<Task>)| match task.stub() {
            Some(stub) if as_stubs => Record::Stub(*team, stub),
            _ => Record::Task(*team, task.clone()),
        };
        self.tasks.iter().map(record).collect()
    }

    /// A board loaded from it, with its tasks in this order.
    pub fn load(&self, epoch: Epoch, tasks: &[Record]) -> Board {
        let mut board = Board::with_limits(epoch, self.limits.clone());
        self.heads().chain(tasks).for_each(|r| board.install(r));
        board
    }
}

/// The board with everything that is over in outline only.
pub fn outlined(board: &Board) -> Board {
    let mut outlined = board.clone();
    for team in board.teams_ever() {
        for (id, card) in board.cards_after(team.uid, TaskId(0)) {
            if card.status().is_terminal() {
                outlined.outline((team.uid, id));
            }
        }
    }
    outlined
}
