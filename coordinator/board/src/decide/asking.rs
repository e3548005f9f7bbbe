//! What a running sub-agent asks its lead, and what it is told (D6).
//!
//! A question waits in the placement until it is answered or its time is over; what the sub-agent
//! is to be told lies there as words until its worker says that they were heeded. Both go with the
//! placement: whatever ends the attempt ends them.

use std::{sync::Arc, time::Duration};

use super::{caller, caller::Who, check, fencing, holding, mailbox};
use crate::{
    command::{Answer, Effect},
    decision::Decision,
    draft::Draft,
    event::{Actor, Happening, line},
    id::{AgentTypeName, Fence, InstanceId, MessageId, TaskId, TaskKey},
    limits,
    mail::{Letter, MailKind, Recipients, Sender, first_line},
    refusal::{Obstacle, Refusal},
    task::{Asked, Placement, Task, TaskState, Word, WordKind},
    team::Question,
};

/// What a sub-agent is told whose question nobody answered in time.
const NO_ANSWER: &str = "Nobody answered in time: go on alone, as you think best.";

/// Answers the question that a task's sub-agent has asked; of this number, if that is said.
pub(super) fn answer(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    number: Option<u32>,
    text: &Arc<str>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    caller::may_change(draft, who, key)?;
    check_text(text)?;
    let present = at_hand(draft, key)?.question.as_ref();
    let present = present.map(|asked| asked.number);
    if present.is_none() || number.is_some_and(|number| Some(number) != present) {
        return Err(Refusal::NoQuestion { task, present }.into());
    }
    settle(draft, key, &who.actor, text)?;
    Ok(Answer::Task(key))
}

/// Tells a task's sub-agent something that it has not asked.
pub(super) fn steer(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    text: &Arc<str>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    caller::may_change(draft, who, key)?;
    check_text(text)?;
    check_at_work(key, at_hand(draft, key)?)?;
    check_has_ear(draft, key)?;
    let placement = at_hand(draft, key)?;
    let is_steer = |word: &&Word| word.kind == WordKind::Steer;
    if placement.words.iter().filter(is_steer).count() >= limits::WORDS_MAX {
        return Err(Refusal::Full {
            what: "words that a sub-agent has not heeded yet",
            max: limits::WORDS_MAX,
        }
        .into());
    }
    tell(draft, key, WordKind::Steer, text, &who.actor)?;
    let steered = Happening::TaskSteered {
        task,
        attempt: draft.task(key)?.last_attempt,
        text: line(text),
    };
    draft.happened(key.0, &who.actor, None, steered);
    Ok(Answer::Task(key))
}

/// A sub-agent asks. The same question again is one whose acknowledgement was lost.
pub(super) fn asked(
    mut draft: Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    number: u32,
    text: &Arc<str>,
    timeout: Option<Duration>,
) -> Result<Decision, Obstacle> {
    let key = fencing::fenced(&draft, fence, instance)?;
    let placement = at_hand(&draft, key)?;
    if (1..=placement.questions).contains(&number) {
        return Ok(draft.finish(Answer::Done, None));
    }
    check_at_work(key, placement)?;
    check_question(placement, number, text, timeout)?;
    let (at, correlation) = (
        draft.now,
        format!("task:{}/{}/{number}", key.1, fence.attempt),
    );
    let mut asked = Asked {
        number,
        text: text.clone(),
        at,
        deadline: at + timeout.unwrap_or(limits::QUESTION_TIMEOUT),
        message: MessageId(0),
        correlation: correlation.into(),
    };
    let actor = voice(&draft, key)?;
    let happened = Happening::TaskAsked {
        task: key.1,
        attempt: fence.attempt,
        text: line(text),
    };
    // Touched first, so that the event is the task's last.
    holding::placed(&mut draft, key)?.questions = number;
    draft.happened(key.0, &actor, None, happened);
    asked.message = tell_lead(&mut draft, key, &asked)?;
    let placement = holding::placed(&mut draft, key)?;
    // Who asks again has had the answer before.
    placement.words.retain(|word| word.kind == WordKind::Steer);
    placement.question = Some(asked);
    Ok(draft.finish(Answer::Done, None))
}

/// A sub-agent has what it was to be told. Nothing happened that would be worth an event.
pub(super) fn heeded(
    mut draft: Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    through: u32,
) -> Result<Decision, Obstacle> {
    let key = fencing::fenced(&draft, fence, instance)?;
    let is_news = |word: &Word| word.number <= through;
    if at_hand(&draft, key)?.words.iter().any(is_news) {
        let placement = holding::placed(&mut draft, key)?;
        placement.words.retain(|word| !is_news(word));
    }
    Ok(draft.finish(Answer::Done, None))
}

/// Nobody answered in time: the sub-agent goes on alone.
pub(super) fn unanswered(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let text: Arc<str> = NO_ANSWER.into();
    if let Some(asked) = holding::placed(draft, key)?.question.take() {
        let kind = WordKind::NoAnswer(asked.number);
        tell(draft, key, kind, &text, &Actor::Coordinator)?;
        note_answer(draft, key, &Actor::Coordinator, &text)?;
    }
    Ok(())
}

/// The question of the attempt that runs in a hosted member's name, as one that the member asked
/// by mail: of the lead.
pub(super) fn open_question(
    draft: &Draft<'_>,
    team: crate::id::TeamUid,
    member: &crate::id::MemberName,
) -> Option<(TaskId, Question)> {
    let mut running = draft.board.at_work(team, member);
    running.find_map(|task| {
        let task = draft.task((team, task.id)).ok()?;
        let placement = task.placement()?;
        let asked = placement.question.as_ref()?;
        let question = Question {
            message: asked.message,
            correlation: asked.correlation.clone(),
            asked: [draft.team(team).lead.clone()].into(),
            at: asked.at,
        };
        (placement.member.as_ref() == Some(member)).then_some((task.id, question))
    })
}

/// Answers the question that waits, whoever found it.
pub(super) fn settle(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    text: &Arc<str>,
) -> Result<(), Obstacle> {
    if let Some(asked) = holding::placed(draft, key)?.question.take() {
        tell(draft, key, WordKind::Answer(asked.number), text, actor)?;
        note_answer(draft, key, actor, text)?;
    }
    Ok(())
}

fn note_answer(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    text: &Arc<str>,
) -> Result<(), Obstacle> {
    let answered = Happening::TaskAnswered {
        task: key.1,
        attempt: draft.task(key)?.last_attempt,
        text: line(text),
    };
    draft.happened(key.0, actor, None, answered);
    Ok(())
}

/// Leaves a word for a sub-agent, and has it sent.
fn tell(
    draft: &mut Draft<'_>,
    key: TaskKey,
    kind: WordKind,
    text: &Arc<str>,
    by: &Actor,
) -> Result<(), Obstacle> {
    let placement = holding::placed(draft, key)?;
    placement.last_word += 1;
    let word = Word {
        number: placement.last_word,
        kind,
        text: text.clone(),
        by: by.clone(),
    };
    placement.words.push(word.clone());
    let (instance, attempt) = (placement.instance, placement.attempt);
    let fence = draft.fence(key, attempt);
    draft.effect(Effect::Tell {
        instance,
        fence,
        word,
    });
    Ok(())
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::Blank { field: "text" });
    }
    check::len("text", text, limits::WORD_LEN_MAX)
}

fn check_question(
    placement: &Placement,
    number: u32,
    text: &str,
    timeout: Option<Duration>,
) -> Result<(), Refusal> {
    let bad = |field, why: String| Err(Refusal::BadValue { field, why });
    let next = placement.questions + 1;
    if number != next {
        return bad(
            "asked.number",
            format!("is {number}, and the next is {next}"),
        );
    }
    if text.trim().is_empty() {
        return Err(Refusal::Blank {
            field: "asked.text",
        });
    }
    check::len("asked.text", text, limits::QUESTION_LEN_MAX)?;
    let fits = |span: Duration| !span.is_zero() && span <= limits::QUESTION_TIMEOUT_MAX;
    if !timeout.is_none_or(fits) {
        let most = limits::QUESTION_TIMEOUT_MAX.as_secs();
        return bad(
            "asked.timeout",
            format!("is not between 0 and {most} seconds"),
        );
    }
    let full = |what, max| Err(Refusal::Full { what, max });
    if placement.question.is_some() {
        return full("questions of a sub-agent at once", 1);
    }
    if number > limits::QUESTIONS_PER_ATTEMPT_MAX {
        return full(
            "questions of an attempt",
            limits::QUESTIONS_PER_ATTEMPT_MAX as usize,
        );
    }
    Ok(())
}

/// The worker's hold on a task.
fn at_hand<'d>(draft: &'d Draft<'_>, key: TaskKey) -> Result<&'d Placement, Obstacle> {
    if let Some(status) = draft.status(key).filter(|status| status.is_terminal()) {
        // What is over may be in memory in outline only, and nothing more is wanted of it.
        return Err(not_running(key, status.word()).into());
    }
    let task = draft.task(key)?;
    match &task.state {
        TaskState::Placed(placement) => Ok(placement),
        TaskState::Claimed(_) => Err(not_running(key, "claimed by a member").into()),
        _ => Err(not_running(key, task.status().word()).into()),
    }
}

/// Refuses an attempt whose sub-agent has not begun, or is being stopped.
fn check_at_work(key: TaskKey, placement: &Placement) -> Result<(), Refusal> {
    match (&placement.stop, placement.started_at) {
        (Some(_), _) => Err(not_running(key, "being stopped")),
        (None, None) => Err(not_running(key, "being prepared")),
        (None, Some(_)) => Ok(()),
    }
}

fn not_running(key: TaskKey, stands: &'static str) -> Refusal {
    Refusal::NotRunning {
        task: key.1,
        stands,
    }
}

/// Refuses a sub-agent of a type that can't be told anything while it runs.
fn check_has_ear(draft: &Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let Some(agent_type) = type_of(draft, key.0, draft.task(key)?) else {
        return Err(not_running(key, "run by no type").into());
    };
    let offered = draft.board.offered_type(&agent_type);
    if offered.is_some_and(|offered| offered.is_interactive) {
        return Ok(());
    }
    Err(Refusal::NotInteractive { agent_type }.into())
}

/// The type that runs a placed task: its own, or that of the member as whom it is run.
fn type_of(draft: &Draft<'_>, team: crate::id::TeamUid, task: &Task) -> Option<AgentTypeName> {
    let of_member = || {
        let member = task.placement()?.member.as_ref()?;
        draft.ever_member(team, member)?.agent_type.clone()
    };
    task.agent_type.clone().or_else(of_member)
}

/// In whose name a sub-agent speaks.
fn voice(draft: &Draft<'_>, key: TaskKey) -> Result<Actor, Obstacle> {
    let member = caller::acts_as(draft.board, key.0, at_hand(draft, key)?);
    Ok(match member {
        Some(member) => Actor::Member(member.name.clone()),
        None => Actor::Task(key.1),
    })
}

/// Puts a question into the lead's mailbox. Answers its number; 0 where it finds no room: then the
/// task alone tells of it.
fn tell_lead(draft: &mut Draft<'_>, key: TaskKey, asked: &Asked) -> Result<MessageId, Obstacle> {
    let (team, id) = key;
    let from = match caller::acts_as(draft.board, team, at_hand(draft, key)?) {
        Some(member) => Sender::Member(member.name.clone(), member.incarnation),
        None => Sender::Task(id),
    };
    let lead = draft.team(team).lead.clone();
    let mut letter = Letter {
        id: MessageId(0),
        from,
        to: Recipients::One(lead.clone()),
        kind: MailKind::Question,
        text: asked.text.clone(),
        summary: first_line(&asked.text),
        payload: Arc::default(),
        correlation: asked.correlation.clone(),
        at: draft.now,
        task: Some(id),
        approve: None,
        deadline: Some(asked.deadline),
        revision: None,
    };
    let has_room =
        draft.team(team).is_open() && mailbox::room_for(draft, team, &lead, &letter).is_ok();
    if !has_room {
        return Ok(MessageId(0));
    }
    letter.id = draft.next_message(team);
    let message = letter.id;
    draft.file(team, letter);
    Ok(message)
}
