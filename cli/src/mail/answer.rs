//! `ganger mail answer`.

use ganger_proto::v1;

use super::{acknowledge, send::said, talk};
use crate::{
    context::Context, failure::Failure, flags::RequestId, input::text_or_stdin, output::words, task,
};

/// What is answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Once the answer is sent, the question leaves your mailbox.

Example: ganger --member bob mail answer 12 'the old one'")]
pub struct Args {
    /// The question: its message id
    id: u64,
    /// The answer; - for stdin
    text: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Answers.
///
/// # Errors
/// Where it is no question in this mailbox, and what the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let text = text_or_stdin(args.text)?;
    let client = context.connect().await?;
    let question = talk::find(&client, args.id).await?;
    let answer = answer_to(&question)?;
    let request_id = args.request_id.or_new();
    if asks_as_task(&question) {
        let request = v1::AnswerQuestionRequest {
            task_id: question.task_id,
            text,
            question: number(&question.correlation_id),
            request_id,
            ..v1::AnswerQuestionRequest::default()
        };
        let told = task::talk::send(&client, request).await?;
        let answered = || task::talk::answered(question.task_id);
        context.out.answer(&told, answered)?;
    } else {
        let request = v1::SendMessageRequest {
            text,
            request_id,
            ..answer
        };
        let sent = talk::send(&client, request).await?;
        context.out.answer(&sent, || said(&sent))?;
    }
    acknowledge(&client, vec![question.id]).await
}

/// Whether the sub-agent of a task asks that is nobody's: it has no mailbox for an answer.
fn asks_as_task(question: &v1::Message) -> bool {
    question.task_id != 0 && question.from.starts_with("task:")
}

/// The number of a sub-agent's question, which ends its correlation id: `task:3/1/2`.
fn number(correlation_id: &str) -> i32 {
    let number = correlation_id.rsplit('/').next();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn answer_to(question: &v1::Message) -> Result<v1::SendMessageRequest, Failure> {
    if question.r#type() != v1::MessageType::Question {
        return Err(Failure::Usage(format!(
            "message {} is no question, but: {}",
            question.id,
            words::message_type(question.r#type())
        )));
    }
    Ok(v1::SendMessageRequest {
        to: vec![question.from.clone()],
        r#type: v1::MessageType::Answer.into(),
        correlation_id: question.correlation_id.clone(),
        task_id: question.task_id,
        ..v1::SendMessageRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_goes_to_who_asked_and_carries_what_ties_it_to_the_question() {
        let question = v1::Message {
            id: 12,
            from: "bob".into(),
            r#type: v1::MessageType::Question.into(),
            correlation_id: "c-1".into(),
            task_id: 3,
            ..v1::Message::default()
        };

        let answer = answer_to(&question).unwrap();

        assert_eq!(
            serde_json::to_value(answer).unwrap(),
            serde_json::json!({
                "to": ["bob"], "type": "MESSAGE_TYPE_ANSWER", "correlationId": "c-1",
                "taskId": "3",
            })
        );
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let text = v1::Message {
            r#type: v1::MessageType::Text.into(),
            ..v1::Message::default()
        };

        assert!(matches!(answer_to(&text), Err(Failure::Usage(_))));
    }
}
