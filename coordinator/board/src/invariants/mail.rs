//! Invariant 13: Every message is in the mailboxes that its copies say, and a mailbox knows what is
//! in it.

use std::collections::BTreeMap;

use super::{Checked, hold, same};
use crate::{
    board::TeamBoard,
    id::MessageId,
    limits,
    mail::{MailKind, Mailbox, Share, Source},
};

pub(super) fn check(team: &TeamBoard) -> Checked {
    for (id, filed) in &team.letters {
        let has = |mailbox: &&Mailbox| mailbox.letters.contains_key(id);
        let copies = team.mailboxes.values().filter(has).count();
        same(13, "copies of a message", filed.copies, copies)?;
        hold(13, filed.copies > 0, || format!("message {id} is nobody's"))?;
        hold(13, *id <= team.head.last_message && id.0 > 0, || {
            format!("message {id}, but the last is {}", team.head.last_message)
        })?;
        let only = filed.only.as_ref().map(|member| team.mailboxes.get(member));
        let is_there = only.is_none_or(|mailbox| mailbox.as_ref().is_some_and(has));
        hold(13, is_there, || {
            format!("message {id} is in another mailbox")
        })?;
    }
    for (member, mailbox) in &team.mailboxes {
        hold(13, !mailbox.is_empty(), || {
            format!("{member} has an empty mailbox")
        })?;
        let heads = || mailbox.letters.values();
        let is_filed = mailbox
            .letters
            .keys()
            .all(|id| team.letters.contains_key(id));
        hold(13, is_filed, || {
            format!("{member} has a message that is not filed")
        })?;
        let bytes: usize = heads().map(|head| head.size as usize).sum();
        same(13, "bytes of a mailbox", mailbox.bytes, bytes)?;
        let mut shares: BTreeMap<Source, Share> = BTreeMap::new();
        for head in heads() {
            if let Some(source) = head.from.source() {
                shares.entry(source).or_default().take(head);
            }
        }
        same(13, "shares of a mailbox", &mailbox.shares, &shares)?;
        let digests = mailbox.letters.iter();
        let digests = digests.filter(|(_, head)| head.kind == MailKind::Digest);
        let digests: Vec<MessageId> = digests.map(|(id, _)| *id).collect();
        let kept: Vec<MessageId> = mailbox.digest.into_iter().collect();
        same(13, "digest of a mailbox", kept, digests)?;
        // Beyond the notices' reserve there is room for a digest alone.
        let is_bounded = mailbox.len()
            <= limits::MAILBOX_MESSAGES_MAX + limits::MAILBOX_RESERVE + 1
            && bytes <= limits::MAILBOX_BYTES_MAX + limits::MAILBOX_RESERVE_LEN + 1_024;
        hold(13, is_bounded, || {
            format!("{member} has {} messages", mailbox.len())
        })?;
    }
    Ok(())
}
