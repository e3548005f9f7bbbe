//! Sending messages (M1, M2, M4 to M6).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{asking, caller, caller::Who, check, handshake, mailbox};
use crate::{
    command::{Addressees, Answer, NewLetter, Receipt},
    draft::Draft,
    event::{Actor, Happening},
    id::{MemberName, MessageId, TaskId},
    limits,
    mail::{Letter, MailKind, Recipients, Sender, first_line},
    refusal::{Obstacle, Refusal},
    team::{Member, MemberKind, Question},
};

pub(super) fn send(draft: &mut Draft<'_>, who: &Who, new: &NewLetter) -> Result<Answer, Obstacle> {
    check_letter(new)?;
    may_send(who, new)?;
    if let Some(task) = new.task {
        caller::refer(draft, who, "task_id", task)?;
    }
    let to = recipients(draft, who, new)?;
    let id = draft.next_message(who.team);
    let answers = answers(draft, who, new, &to)?;
    let correlation = correlation(draft, who, new, &to, &answers, id)?;
    file(draft, who, new, &to, id, &correlation)?;
    // What follows from it is told as its doing.
    draft.cause_message = Some(id);
    for (name, open) in to.iter().zip(&answers) {
        match open {
            None => {}
            Some(Open {
                attempt: Some(task),
                ..
            }) => asking::settle(draft, (who.team, *task), &who.actor, &new.text)?,
            Some(Open { question, .. }) => settle_question(draft, who, name, question.message)?,
        }
    }
    follow(draft, who, new, &to, id, &correlation)?;
    let receipt = |(name, open): (&MemberName, &Option<Open>)| {
        let member = draft.ever_member(who.team, name);
        Receipt {
            member: name.clone(),
            incarnation: member.map(|member| member.incarnation).unwrap_or_default(),
            stored: member.is_some_and(Member::is_present),
            answers: open.is_some(),
        }
    };
    Ok(Answer::Sent {
        team: who.team,
        message: id,
        receipts: to.iter().zip(&answers).map(receipt).collect(),
        correlation,
    })
}

fn is_request(kind: MailKind) -> bool {
    matches!(
        kind,
        MailKind::ShutdownRequest | MailKind::PlanApprovalRequest
    )
}

fn is_response(kind: MailKind) -> bool {
    matches!(
        kind,
        MailKind::ShutdownResponse | MailKind::PlanApprovalResponse
    )
}

fn bad<T>(field: &'static str, why: impl Into<String>) -> Result<T, Refusal> {
    let why = why.into();
    Err(Refusal::BadValue { field, why })
}

/// Refuses what can't be a message, whoever sends it.
fn check_letter(new: &NewLetter) -> Result<(), Refusal> {
    let is_handshake = is_request(new.kind) || is_response(new.kind);
    if new.text.trim().is_empty() && !is_handshake {
        return Err(Refusal::Blank { field: "text" });
    }
    check::len("text", &new.text, limits::MESSAGE_TEXT_LEN_MAX)?;
    check::len("payload", &new.payload, limits::MESSAGE_PAYLOAD_LEN_MAX)?;
    check::len(
        "correlation_id",
        &new.correlation,
        limits::CORRELATION_LEN_MAX,
    )?;
    let chars = new.summary.chars().count();
    if chars > limits::MESSAGE_SUMMARY_CHARS_MAX {
        return Err(Refusal::TooLong {
            field: "summary",
            len: chars,
            max: limits::MESSAGE_SUMMARY_CHARS_MAX,
            unit: "characters",
        });
    }
    match new.approve {
        None if is_response(new.kind) => return Err(Refusal::Blank { field: "approve" }),
        Some(_) if !is_response(new.kind) => return bad("approve", "is for responses alone"),
        _ => {}
    }
    match new.timeout {
        Some(_) if !is_request(new.kind) => bad("timeout", "is for requests alone"),
        Some(span) if span.is_zero() || span > limits::HANDSHAKE_TIMEOUT_MAX => {
            let most = limits::HANDSHAKE_TIMEOUT_MAX.as_secs();
            bad("timeout", format!("is not between 0 and {most} seconds"))
        }
        _ => Ok(()),
    }
}

/// Refuses who may not send such a message (T6). Who is on no roster has no mailbox either, to
/// which an answer could come.
fn may_send(who: &Who, new: &NewLetter) -> Result<(), Refusal> {
    match new.kind {
        MailKind::Text => Ok(()),
        MailKind::Question
        | MailKind::Answer
        | MailKind::ShutdownResponse
        | MailKind::PlanApprovalRequest => who.must_be_member().map(drop),
        MailKind::ShutdownRequest => who.must_lead("ask members to stop"),
        MailKind::PlanApprovalResponse => who.must_lead("approve plans"),
        MailKind::TaskAssignment
        | MailKind::TaskUnassigned
        | MailKind::TaskUnblocked
        | MailKind::TaskFinished
        | MailKind::Idle
        | MailKind::MemberFailed
        | MailKind::Digest => bad("type", "is the coordinator's own"),
    }
}

/// To whom a message goes, each once: not to its sender, who is passed over among others (M4).
fn recipients(draft: &Draft<'_>, who: &Who, new: &NewLetter) -> Result<Vec<MemberName>, Refusal> {
    let answers = is_response(new.kind) || new.kind == MailKind::Answer;
    let is_for_one = answers || new.kind == MailKind::PlanApprovalRequest;
    let named = match &new.to {
        Addressees::Everybody if is_for_one => {
            return bad("broadcast", "is not for what concerns one member alone");
        }
        Addressees::Everybody => {
            let present = draft.board.members(who.team);
            let has_mail = present.filter(|member| member.kind != MemberKind::Worker);
            has_mail.map(|member| member.name.clone()).collect()
        }
        Addressees::Named(named) if named.is_empty() => default_recipient(draft, who, new.kind)?,
        Addressees::Named(named) => {
            check::count("to", named.len(), limits::RECIPIENTS_MAX)?;
            named.clone()
        }
    };
    let mut seen = BTreeSet::new();
    let mut to = Vec::with_capacity(named.len());
    for name in named {
        draft.member(who.team, &name)?;
        if !who.is(&name) && seen.insert(name.clone()) {
            to.push(name);
        }
    }
    if to.is_empty() {
        let member = who.must_be_member()?.clone();
        return Err(Refusal::SelfRecipient { member });
    }
    if is_for_one {
        check::count("to", to.len(), 1)?;
    }
    Ok(to)
}

/// Whom a message that names nobody can only be meant for.
fn default_recipient(
    draft: &Draft<'_>,
    who: &Who,
    kind: MailKind,
) -> Result<Vec<MemberName>, Refusal> {
    let lead = &draft.team(who.team).lead;
    match kind {
        MailKind::PlanApprovalRequest => Ok(vec![lead.clone()]),
        MailKind::ShutdownResponse => {
            let asked = handshake::shutdown_of(draft, who)?;
            let is_there = draft.member(who.team, &asked.by).is_ok();
            Ok(vec![if is_there { asked.by } else { lead.clone() }])
        }
        _ => Err(Refusal::Blank { field: "to" }),
    }
}

/// A question that waits for its answer.
#[derive(Debug, Clone)]
struct Open {
    question: Question,
    /// The task at which a sub-agent asked it, where no mail did: it runs meanwhile, and waits.
    attempt: Option<TaskId>,
}

/// What a member waits to be answered, oldest first.
fn open_questions(draft: &Draft<'_>, who: &Who, name: &MemberName) -> Result<Vec<Open>, Refusal> {
    let by_mail = draft.member(who.team, name)?.questions.iter();
    let by_mail = by_mail.map(|question| Open {
        question: question.clone(),
        attempt: None,
    });
    let by_sub_agent = asking::open_question(draft, who.team, name);
    let by_sub_agent = by_sub_agent.map(|(task, question)| Open {
        question,
        attempt: Some(task),
    });
    let mut open: Vec<Open> = by_mail.chain(by_sub_agent).collect();
    open.sort_by_key(|open| open.question.at);
    Ok(open)
}

/// Of what each recipient waits to be answered, what this message answers (M6). An answer must
/// answer something; so does any other word that somebody who was asked addresses to who asked.
fn answers(
    draft: &Draft<'_>,
    who: &Who,
    new: &NewLetter,
    to: &[MemberName],
) -> Result<Vec<Option<Open>>, Refusal> {
    let is_named = matches!(new.to, Addressees::Named(_));
    let speaks = is_named && matches!(new.kind, MailKind::Text | MailKind::Question);
    let mut answered = Vec::with_capacity(to.len());
    for name in to {
        let open = open_questions(draft, who, name)?;
        answered.push(match new.kind {
            MailKind::Answer => Some(meant(who, &open, &new.correlation)?),
            _ if speaks => asked_of(who, &open, &new.correlation).next().cloned(),
            _ => None,
        });
    }
    Ok(answered)
}

/// The open questions that were asked of somebody, oldest first: the one that a correlation id
/// means, or all.
fn asked_of<'q>(who: &Who, open: &'q [Open], correlation: &str) -> impl Iterator<Item = &'q Open> {
    let is_asked = |open: &&Open| open.question.asked.iter().any(|name| who.is(name));
    let is_meant = move |open: &&Open| is_tied(open, correlation);
    open.iter().filter(is_asked).filter(is_meant)
}

fn is_tied(open: &Open, correlation: &str) -> bool {
    correlation.is_empty() || *open.question.correlation == *correlation
}

/// The open question that an answer means. The lead may answer what others were asked.
fn meant(who: &Who, open: &[Open], correlation: &str) -> Result<Open, Refusal> {
    let mut own = asked_of(who, open, correlation);
    let is_meant = |open: &&Open| is_tied(open, correlation);
    let mut any = open.iter().filter(|_| who.is_lead).filter(is_meant);
    let found = match (own.next(), own.next()) {
        (None, _) => (any.next(), any.next()),
        own => own,
    };
    match found {
        (Some(open), None) => Ok(open.clone()),
        // Two that were given the same id are answered in their order.
        (Some(open), Some(_)) if !correlation.is_empty() => Ok(open.clone()),
        (Some(_), Some(_)) => Err(Refusal::Blank {
            field: "correlation_id",
        }),
        (None, _) => {
            let member = who.must_be_member()?.clone();
            Err(Refusal::NotAsked { member })
        }
    }
}

/// What ties a message to its answer, or to what it answers.
fn correlation(
    draft: &Draft<'_>,
    who: &Who,
    new: &NewLetter,
    to: &[MemberName],
    answers: &[Option<Open>],
    id: MessageId,
) -> Result<Arc<str>, Refusal> {
    let given = &new.correlation;
    match new.kind {
        MailKind::ShutdownResponse => {
            let asked = handshake::shutdown_of(draft, who)?;
            handshake::check_tie(who, given, &asked.correlation)?;
            if to[0] != asked.by && to[0] != draft.team(who.team).lead {
                let member = to[0].clone();
                return Err(Refusal::NotAsked { member });
            }
            Ok(asked.correlation)
        }
        MailKind::PlanApprovalResponse => handshake::submitted(draft, who, &to[0], given),
        _ if !given.is_empty() => Ok(given.clone()),
        MailKind::Question | MailKind::ShutdownRequest | MailKind::PlanApprovalRequest => {
            Ok(id.to_string().into())
        }
        _ => match answers {
            [Some(open)] => Ok(open.question.correlation.clone()),
            _ => Ok(Arc::default()),
        },
    }
}

/// Puts a message into the mailboxes of all its recipients, or of none (M5).
fn file(
    draft: &mut Draft<'_>,
    who: &Who,
    new: &NewLetter,
    to: &[MemberName],
    id: MessageId,
    correlation: &Arc<str>,
) -> Result<(), Obstacle> {
    let is_broadcast = new.to == Addressees::Everybody;
    let recipients = match to {
        [only] if !is_broadcast => Recipients::One(only.clone()),
        _ => Recipients::Many { is_broadcast },
    };
    let letter = Letter {
        id,
        from: sender(draft, who)?,
        to: recipients,
        kind: new.kind,
        text: new.text.clone(),
        summary: summary(new),
        payload: new.payload.clone(),
        correlation: correlation.clone(),
        at: draft.now,
        task: new.task,
        approve: new.approve,
        deadline: is_request(new.kind).then(|| draft.now + timeout(new)),
        revision: None,
    };
    for name in to {
        mailbox::room_for(draft, who.team, name, &letter)?;
    }
    let has_posts = matches!(letter.to, Recipients::Many { .. });
    draft.file(who.team, letter);
    for name in to.iter().filter(|_| has_posts) {
        draft.post(who.team, name, id);
    }
    let sent = Happening::MessageSent {
        message: id,
        kind: new.kind,
        to: (!has_posts).then(|| to[0].clone()),
    };
    draft.happened(who.team, &who.actor, None, sent);
    Ok(())
}

fn sender(draft: &Draft<'_>, who: &Who) -> Result<Sender, Refusal> {
    match (&who.member, &who.actor) {
        (None, Actor::Task(task)) => Ok(Sender::Task(*task)),
        _ => {
            let name = who.must_be_member()?;
            let member = draft.member(who.team, name)?;
            Ok(Sender::Member(name.clone(), member.incarnation))
        }
    }
}

/// What was given, or the first line of the text.
fn summary(new: &NewLetter) -> Arc<str> {
    if !new.summary.trim().is_empty() {
        return new.summary.clone();
    }
    first_line(&new.text)
}

fn timeout(new: &NewLetter) -> Duration {
    new.timeout.unwrap_or(match new.kind {
        MailKind::PlanApprovalRequest => limits::PLAN_TIMEOUT,
        _ => limits::SHUTDOWN_TIMEOUT,
    })
}

/// What was asked is answered: the member waits for it no more.
fn settle_question(
    draft: &mut Draft<'_>,
    who: &Who,
    name: &MemberName,
    question: MessageId,
) -> Result<(), Obstacle> {
    let mut member = draft.member(who.team, name)?.clone();
    member.questions.retain(|open| open.message != question);
    draft.put_member(who.team, member);
    Ok(())
}

/// What comes of a message beside its delivery.
fn follow(
    draft: &mut Draft<'_>,
    who: &Who,
    new: &NewLetter,
    to: &[MemberName],
    id: MessageId,
    correlation: &Arc<str>,
) -> Result<(), Obstacle> {
    let asked = handshake::Asked {
        request: id,
        correlation: correlation.clone(),
        deadline: draft.now + timeout(new),
    };
    match new.kind {
        MailKind::Question => ask(draft, who, to, id, correlation),
        MailKind::ShutdownRequest => {
            let mut all = to.iter();
            all.try_for_each(|name| handshake::ask_to_stop(draft, who, name, &asked))
        }
        MailKind::ShutdownResponse => handshake::stop_or_stay(draft, who, new),
        MailKind::PlanApprovalRequest => handshake::submit_plan(draft, who, &to[0], asked),
        MailKind::PlanApprovalResponse => handshake::judge_plan(draft, who, &to[0], new),
        _ => Ok(()),
    }
}

/// The sender waits to be answered from now on.
fn ask(
    draft: &mut Draft<'_>,
    who: &Who,
    to: &[MemberName],
    message: MessageId,
    correlation: &Arc<str>,
) -> Result<(), Obstacle> {
    let mut member = draft.member(who.team, who.must_be_member()?)?.clone();
    if member.questions.len() >= limits::QUESTIONS_OPEN_MAX {
        return Err(Refusal::Full {
            what: "open questions of a member",
            max: limits::QUESTIONS_OPEN_MAX,
        }
        .into());
    }
    member.questions.push(Question {
        message,
        correlation: correlation.clone(),
        asked: to.into(),
        at: draft.now,
    });
    draft.put_member(who.team, member);
    Ok(())
}
