//! Requests and what is answered to them: sending, waiting, and finding what is to be answered.

use std::time::Duration;

use ganger_proto::v1;
use tokio::time::Instant;

use super::acknowledge;
use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure, Refused},
    follow::Patience,
    output::words,
    values::wire_span,
};

/// How long one call may wait for mail: the contract's bound.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Sends a message.
///
/// # Errors
/// What the coordinator refused.
pub async fn send(
    client: &Client,
    request: v1::SendMessageRequest,
) -> Result<v1::SendMessageResponse, Failure> {
    client
        .ask(request, |client, request| async move {
            client.mail().send_message(request).await
        })
        .await
}

/// Reads the mailbox as it is.
///
/// # Errors
/// What the coordinator refused.
pub async fn look(
    client: &Client,
    request: v1::ReceiveMessagesRequest,
) -> Result<v1::ReceiveMessagesResponse, Failure> {
    client
        .ask(request, |client, request| async move {
            client.mail().receive_messages(request).await
        })
        .await
}

/// Reads the mailbox; where nothing passes the filter, waits for what does until the time is over.
/// A break of the wire is bridged.
///
/// # Errors
/// What the coordinator refused, or where it is away for too long.
pub async fn receive(
    client: &Client,
    mut request: v1::ReceiveMessagesRequest,
    span: Duration,
) -> Result<v1::ReceiveMessagesResponse, Failure> {
    let end = Instant::now() + span;
    let mut patience = Patience::default();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        request.wait = Some(wire_span(left.min(WAIT_MAX)));
        match client.mail().receive_messages(request.clone()).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                if !answer.messages.is_empty() || Instant::now() >= end {
                    return Ok(answer);
                }
                patience.renew();
            }
            Err(status) => patience.pause(client, Some(status)).await?,
        }
    }
}

/// What is waited for after a request.
#[derive(Debug)]
pub struct Awaited {
    /// The type of an answer.
    pub kind: v1::MessageType,
    /// How many there will be.
    pub count: usize,
    /// How long to wait for them all.
    pub span: Duration,
}

/// Waits for the answers to a message, and hands each on; what was handed on leaves the mailbox.
///
/// # Errors
/// [`Failure::WaitOver`] where not all came in time, and what the coordinator refused.
pub async fn answers(
    client: &Client,
    sent: &v1::SendMessageResponse,
    awaited: &Awaited,
    mut hand_on: impl FnMut(&v1::Message) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let end = Instant::now() + awaited.span;
    let mut request = v1::ReceiveMessagesRequest {
        types: vec![awaited.kind.into()],
        correlation_id: sent.correlation_id.clone(),
        after_message_id: sent.message_id,
        ..v1::ReceiveMessagesRequest::default()
    };
    let mut come = 0;
    while come < awaited.count {
        let left = end.saturating_duration_since(Instant::now());
        let answer = receive(client, request.clone(), left).await?;
        if answer.messages.is_empty() {
            return Err(Failure::WaitOver {
                waited: words::span(awaited.span),
                next: Some(read_on(&sent.correlation_id)),
            });
        }
        for message in &answer.messages {
            hand_on(message)?;
            request.after_message_id = message.id;
        }
        come += answer.messages.len();
        let ids = answer.messages.iter().map(|message| message.id);
        acknowledge(client, ids.collect()).await?;
    }
    Ok(())
}

/// How to look for an answer later.
pub fn read_on(correlation_id: &str) -> String {
    format!(
        "see what is answered with `ganger mail receive --correlation-id {correlation_id} --wait 5m`"
    )
}

/// The exit code of verdicts: done where all say yes.
pub fn exit(verdicts: &[bool]) -> Exit {
    match verdicts.iter().all(|approved| *approved) {
        true => Exit::Done,
        false => Exit::Failed,
    }
}

/// Finds a message in the caller's mailbox.
///
/// # Errors
/// Where it isn't there any more, and what the coordinator refused.
pub async fn find(client: &Client, id: u64) -> Result<v1::Message, Failure> {
    let request = v1::ReceiveMessagesRequest {
        after_message_id: id.saturating_sub(1),
        limit: 1,
        ..v1::ReceiveMessagesRequest::default()
    };
    let mut messages = look(client, request).await?.messages.into_iter();
    messages
        .find(|message| message.id == id)
        .ok_or_else(|| Failure::Refused(Box::new(absent(id))))
}

/// There is no such message in the mailbox.
fn absent(id: u64) -> Refused {
    Refused {
        code: tonic::Code::NotFound,
        message: format!("message {id} is not in your mailbox"),
        reason: None,
        facts: Vec::new(),
        fields: Vec::new(),
        advice: Some(format!(
            "see what is with `ganger mail receive`; to answer one that you acknowledged, say to \
             whom and to what: ganger mail send --to NAME --type TYPE --correlation-id {id}"
        )),
    }
}

/// Says on the side that a request is on its way, where its answer is what is printed.
pub fn note_sent(context: &Context, sent: &v1::SendMessageResponse) {
    context.out.note(&super::send::said(sent));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_no_is_a_failure() {
        assert_eq!(exit(&[true, true]), Exit::Done);
        assert_eq!(exit(&[true, false]), Exit::Failed);
    }

    #[test]
    fn absent_message_is_not_found_and_the_way_around_is_named() {
        let failure = Failure::Refused(Box::new(absent(7)));

        assert_eq!(failure.exit(), Exit::NotFound);
        let next = failure.next().unwrap();
        assert!(next.contains("--correlation-id 7"), "{next}");
    }
}
