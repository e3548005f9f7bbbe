//! The part of a draft that is mail: what it files, and what it takes away.

use std::{collections::BTreeMap, sync::Arc};

use super::Draft;
use crate::{
    id::{MemberKey, MemberName, MessageId, TeamUid},
    mail::{Head, Letter, MailKind, Recipients, Sender, Share, Source},
};

/// How much of a mailbox is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// Messages.
    pub(crate) count: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// One of them stands for notices that found no room.
    pub(crate) has_digest: bool,
    /// What each sender has of them.
    shares: BTreeMap<Source, Share>,
}

impl Room {
    fn take(&mut self, head: &Head) {
        self.count += 1;
        self.bytes += head.size as usize;
        self.has_digest |= head.kind == MailKind::Digest;
        if let Some(source) = head.from.source() {
            self.shares.entry(source).or_default().take(head);
        }
    }

    fn give_back(&mut self, head: &Head) {
        self.count -= 1;
        self.bytes -= head.size as usize;
        // There is one at the most.
        self.has_digest &= head.kind != MailKind::Digest;
        if let Some(source) = head.from.source()
            && let Some(share) = self.shares.get_mut(&source)
        {
            share.give_back(head);
        }
    }

    /// What a sender has in it.
    pub(crate) fn share(&self, sender: &Sender) -> Share {
        let source = sender.source();
        let share = source.and_then(|source| self.shares.get(&source));
        share.copied().unwrap_or_default()
    }
}

impl Draft<'_> {
    /// How much of a member's mailbox is taken.
    pub(crate) fn room(&mut self, key: &MemberKey) -> &mut Room {
        let board = self.board;
        self.rooms.entry(key.clone()).or_insert_with(|| {
            let mailbox = board.mailbox(key.0, &key.1);
            mailbox.map_or_else(Room::default, |mailbox| Room {
                count: mailbox.len(),
                bytes: mailbox.bytes,
                has_digest: mailbox.digest.is_some(),
                shares: mailbox.shares.clone(),
            })
        })
    }

    /// Gives out the team's next message id.
    pub(crate) fn next_message(&mut self, team: TeamUid) -> MessageId {
        let team = self.team_mut(team);
        team.last_message = team.last_message.next();
        team.last_message
    }

    /// Files a message. One that has several copies needs a [post](Self::post) for each.
    pub(crate) fn file(&mut self, team: TeamUid, letter: Letter) {
        let head = letter.head();
        if let Recipients::One(member) = &letter.to {
            self.room(&(team, member.clone())).take(&head);
        }
        if letter.from == Sender::Coordinator {
            self.notices_len += letter.size();
        }
        self.letters.insert((team, letter.id), Arc::new(letter));
    }

    /// Puts a copy of a filed message into a mailbox.
    pub(crate) fn post(&mut self, team: TeamUid, member: &MemberName, id: MessageId) {
        let key = (team, member.clone());
        let filed = self.letters.get(&(team, id));
        let head = filed.expect("a message is filed before its copies").head();
        self.room(&key).take(&head);
        self.posts.insert((key, id));
    }

    /// How many bytes the coordinator's own messages of this draft have.
    pub(crate) fn notices_len(&self) -> usize {
        self.notices_len
    }

    /// The last message about a member of this kind that waits in a mailbox.
    pub(crate) fn last_notice(
        &self,
        key: &MemberKey,
        kind: MailKind,
        about: &MemberName,
    ) -> Option<MessageId> {
        let is_it = |head: &Head| head.kind == kind && &*head.correlation == about.as_str();
        let (team, member) = key;
        let drafted = self.letters.iter().rev().find(|((of, _), letter)| {
            let is_theirs = matches!(&letter.to, Recipients::One(to) if to == member);
            of == team && is_theirs && is_it(&letter.head())
        });
        let waiting = || {
            let letters = &self.board.mailbox(*team, member)?.letters;
            let found = letters.iter().rev().find(|(_, head)| is_it(head));
            found.map(|(id, _)| *id)
        };
        drafted.map(|((_, id), _)| *id).or_else(waiting)
    }

    /// Takes everything out of a mailbox.
    pub(crate) fn empty_mailbox(&mut self, key: &MemberKey) {
        let on_board = self.board.mailbox(key.0, &key.1).into_iter();
        let on_board = on_board.flat_map(|mailbox| mailbox.letters.keys().copied());
        let drafted = self.letters.keys().filter(|(team, _)| *team == key.0);
        let all: Vec<MessageId> = on_board.chain(drafted.map(|(_, id)| *id)).collect();
        for id in all {
            self.discard(key, id);
        }
    }

    /// Takes a message out of a mailbox, and off the board with its last copy. Says whether it was
    /// there.
    pub(crate) fn discard(&mut self, key: &MemberKey, id: MessageId) -> bool {
        if self.letters.contains_key(&(key.0, id)) {
            return self.take_back(key, id);
        }
        let (team, member) = key;
        let board = self.board;
        let Some(filed) = board.teams.get(team).and_then(|team| team.letters.get(&id)) else {
            return false;
        };
        let is_there = board
            .mailbox(*team, member)
            .is_some_and(|mailbox| mailbox.letters.contains_key(&id));
        let letter = (*team, id);
        let post = (key.clone(), id);
        if !is_there || self.letters_gone.contains(&letter) || self.posts_gone.contains(&post) {
            return false;
        }
        self.room(key).give_back(&filed.head);
        if filed.only.is_some() {
            self.letters_gone.insert(letter);
            return true;
        }
        self.posts_gone.insert(post);
        let gone = self.copies_gone.entry(letter).or_default();
        *gone += 1;
        if *gone == filed.copies {
            self.letters_gone.insert(letter);
        }
        true
    }

    /// Takes a message that this draft filed out of a mailbox again.
    fn take_back(&mut self, key: &MemberKey, id: MessageId) -> bool {
        let letter = self.letters[&(key.0, id)].clone();
        let was_there = match &letter.to {
            Recipients::One(member) => *member == key.1,
            Recipients::Many { .. } => self.posts.remove(&(key.clone(), id)),
        };
        if was_there {
            self.room(key).give_back(&letter.head());
        }
        let is_copy = |((team, _), post): &(MemberKey, MessageId)| *team == key.0 && *post == id;
        if was_there && !self.posts.iter().any(is_copy) {
            self.letters.remove(&(key.0, id));
        }
        was_there
    }
}
