//! Mailboxes: whose they are, and what leaves them (M3, M6).

use super::{caller, caller::Who, check};
use crate::{
    board::Board,
    command::{Ack, Answer, Caller},
    draft::Draft,
    id::{Incarnation, MemberName, MessageId, TeamUid},
    limits,
    mail::{Letter, Sender},
    refusal::{Obstacle, Refusal},
};

/// Takes messages out of the caller's own mailbox. What is not there any more is passed over.
pub(super) fn ack(draft: &mut Draft<'_>, who: &Who, ack: &Ack) -> Result<Answer, Obstacle> {
    let key = (who.team, who.must_be_member()?.clone());
    check::count("message_ids", ack.messages.len(), limits::ACKS_MAX)?;
    if ack.up_to.is_none() && ack.messages.is_empty() {
        return Err(Refusal::Blank {
            field: "up_to_message_id",
        }
        .into());
    }
    let mailbox = draft.board.mailbox(key.0, &key.1);
    let up_to = ack.up_to.unwrap_or_default();
    let first = mailbox
        .into_iter()
        .flat_map(|mailbox| mailbox.letters.range(..=up_to));
    let first: Vec<MessageId> = first.map(|(id, _)| *id).collect();
    let all = first.iter().chain(&ack.messages);
    let count = all.filter(|id| draft.discard(&key, **id)).count();
    Ok(Answer::Acked {
        count,
        left: draft.room(&key).count,
    })
}

/// The attempt that runs in a hosted member's name has its mail up to a message (M6): it counts as
/// acknowledged from now on.
pub(super) fn hand_over(
    draft: &mut Draft<'_>,
    team: TeamUid,
    name: &MemberName,
    mail: MessageId,
) -> Result<(), Obstacle> {
    if mail > MessageId(0)
        && let Ok(member) = draft.member(team, name)
    {
        let mut member = member.clone();
        member.handed = mail;
        draft.put_member(team, member);
    }
    Ok(())
}

/// That attempt is over: what it was given is gone where it was read, and waits again otherwise.
pub(super) fn take_back(
    draft: &mut Draft<'_>,
    team: TeamUid,
    name: &MemberName,
    has_read: bool,
) -> Result<(), Obstacle> {
    let Ok(member) = draft.member(team, name) else {
        return Ok(());
    };
    let mut member = member.clone();
    let handed = std::mem::take(&mut member.handed);
    if handed == MessageId(0) {
        return Ok(());
    }
    draft.put_member(team, member);
    let mailbox = draft.board.mailbox(team, name).filter(|_| has_read);
    let read = mailbox
        .into_iter()
        .flat_map(|mailbox| mailbox.letters.range(..=handed));
    let key = (team, name.clone());
    for (id, _) in read {
        draft.discard(&key, *id);
    }
    Ok(())
}

/// Whose mailbox a caller reads, and which incarnation it is.
pub fn mailbox_of(
    board: &Board,
    team: TeamUid,
    caller: &Caller,
) -> Result<(MemberName, Incarnation), Refusal> {
    let who = caller::identify(board, team, caller)?;
    let name = who.must_be_member()?.clone();
    let member = board.member(team, &name);
    let incarnation = member.map(|member| member.incarnation);
    Ok((name, incarnation.unwrap_or_default()))
}

/// Refuses a message that a mailbox has no room for, or that would take more of it than one sender
/// may have (M5).
pub(super) fn room_for(
    draft: &mut Draft<'_>,
    team: TeamUid,
    name: &MemberName,
    letter: &Letter,
) -> Result<(), Refusal> {
    let room = draft.room(&(team, name.clone()));
    let share = room.share(&letter.from);
    let is_fair = share.count < limits::MAILBOX_SHARE_MESSAGES_MAX
        && share.bytes + letter.size() <= limits::MAILBOX_SHARE_BYTES_MAX;
    if !is_fair && letter.from != Sender::Coordinator {
        return Err(Refusal::MailboxShareFull {
            member: name.clone(),
            sender: letter.from.to_string(),
            count: share.count,
            bytes: share.bytes,
        });
    }
    let fits = room.count < limits::MAILBOX_MESSAGES_MAX
        && room.bytes + letter.size() <= limits::MAILBOX_BYTES_MAX;
    if fits {
        return Ok(());
    }
    Err(Refusal::MailboxFull {
        member: name.clone(),
        count: room.count,
        bytes: room.bytes,
    })
}
