//! `ganger task answer` and `ganger task steer`: words to the sub-agent of a running task.

use ganger_proto::v1;

use crate::{
    client::Client, context::Context, failure::Failure, flags::RequestId, input::text_or_stdin,
};

/// What is answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its sub-agent waits for the answer, and goes on alone where it comes too late. What is asked is
told by task show, and by task wait.

Example: ganger task answer 3 'the staging database'")]
pub struct AnswerArgs {
    /// The task
    id: u64,
    /// The answer; - for stdin
    text: String,
    /// Only this question: its number, as task show tells it
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    question: i32,
    #[command(flatten)]
    request_id: RequestId,
}

/// What is said.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its sub-agent has it before its next step. Refused where its agent type can't be told anything
while it runs.

Example: ganger task steer 3 'leave the tests alone'")]
pub struct SteerArgs {
    /// The task
    id: u64,
    /// What its sub-agent is to know; - for stdin
    text: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Answers.
///
/// # Errors
/// What the coordinator refused.
pub async fn answer(args: AnswerArgs, context: &Context) -> Result<(), Failure> {
    let request = v1::AnswerQuestionRequest {
        task_id: args.id,
        text: text_or_stdin(args.text)?,
        question: args.question,
        request_id: args.request_id.or_new(),
        ..v1::AnswerQuestionRequest::default()
    };
    let client = context.connect().await?;
    let answer = send(&client, request).await?;
    context.out.answer(&answer, || answered(args.id))?;
    Ok(())
}

/// Answers the question of a task's sub-agent.
///
/// # Errors
/// What the coordinator refused.
pub async fn send(
    client: &Client,
    request: v1::AnswerQuestionRequest,
) -> Result<v1::AnswerQuestionResponse, Failure> {
    client
        .ask(request, |client, request| async move {
            client.delegation().answer_question(request).await
        })
        .await
}

/// That a question is answered.
pub fn answered(task: u64) -> String {
    format!("the sub-agent of task #{task} has its answer")
}

/// Steers.
///
/// # Errors
/// What the coordinator refused.
pub async fn steer(args: SteerArgs, context: &Context) -> Result<(), Failure> {
    let request = v1::SteerTaskRequest {
        task_id: args.id,
        text: text_or_stdin(args.text)?,
        request_id: args.request_id.or_new(),
        ..v1::SteerTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.delegation().steer_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        format!("the sub-agent of task #{} is told", args.id)
    })?;
    Ok(())
}
