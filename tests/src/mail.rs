//! Calls of mail, and what tests do with a mailbox again and again.

use ganger_proto::v1;
use tonic::{Status, Streaming};

use crate::{Client, patiently};

/// Words to members.
pub fn words<'n>(to: impl IntoIterator<Item = &'n str>, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        to: to.into_iter().map(Into::into).collect(),
        text: text.into(),
        ..v1::SendMessageRequest::default()
    }
}

/// A message of another kind, to members.
pub fn of_type<'n>(
    kind: v1::MessageType,
    to: impl IntoIterator<Item = &'n str>,
    text: &str,
) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        r#type: kind.into(),
        ..words(to, text)
    }
}

/// All that is in a mailbox, at once.
pub fn everything() -> v1::ReceiveMessagesRequest {
    v1::ReceiveMessagesRequest {
        limit: 1_000,
        ..v1::ReceiveMessagesRequest::default()
    }
}

/// The texts of messages.
pub fn texts(messages: &[v1::Message]) -> Vec<&str> {
    messages.iter().map(|message| &message.text[..]).collect()
}

impl Client {
    /// Sends a message, be it that it is refused.
    pub async fn try_send(
        &self,
        request: v1::SendMessageRequest,
    ) -> Result<v1::SendMessageResponse, Status> {
        let mut client = self.mail();
        let sent = patiently("SendMessage", client.send_message(request)).await?;
        Ok(sent.into_inner())
    }

    /// Sends a message.
    pub async fn send(&self, request: v1::SendMessageRequest) -> v1::SendMessageResponse {
        self.try_send(request).await.unwrap()
    }

    /// Reads a mailbox, be it that this is refused.
    pub async fn try_receive(
        &self,
        request: v1::ReceiveMessagesRequest,
    ) -> Result<v1::ReceiveMessagesResponse, Status> {
        let mut client = self.mail();
        let answer = patiently("ReceiveMessages", client.receive_messages(request)).await?;
        Ok(answer.into_inner())
    }

    /// Reads a mailbox.
    pub async fn receive(
        &self,
        request: v1::ReceiveMessagesRequest,
    ) -> v1::ReceiveMessagesResponse {
        self.try_receive(request).await.unwrap()
    }

    /// What is in a mailbox.
    pub async fn mailbox(&self) -> Vec<v1::Message> {
        self.receive(everything()).await.messages
    }

    /// Acknowledges messages: how many there were, and how many are left.
    pub async fn ack(&self, up_to: u64, ids: &[u64]) -> (i32, i32) {
        let request = v1::AckMessagesRequest {
            up_to_message_id: up_to,
            message_ids: ids.to_vec(),
            ..v1::AckMessagesRequest::default()
        };
        let mut client = self.mail();
        let answer = patiently("AckMessages", client.ack_messages(request)).await;
        let answer = answer.unwrap().into_inner();
        (answer.acknowledged, answer.unread)
    }

    /// Watches a mailbox from its beginning.
    pub async fn watch_mailbox(&self) -> MailWatch {
        self.watch_mail(v1::WatchMailboxRequest::default())
            .await
            .unwrap()
    }

    /// Watches a mailbox, be it that this is refused.
    pub async fn watch_mail(&self, request: v1::WatchMailboxRequest) -> Result<MailWatch, Status> {
        let mut client = self.mail();
        let answer = patiently("WatchMailbox", client.watch_mailbox(request)).await?;
        let mut watch = MailWatch {
            stream: answer.into_inner(),
            messages: Vec::new(),
        };
        watch.more().await?;
        Ok(watch)
    }
}

/// A mailbox, as it fills.
#[derive(Debug)]
pub struct MailWatch {
    stream: Streaming<v1::WatchMailboxResponse>,
    /// What came so far.
    pub messages: Vec<v1::Message>,
}

impl MailWatch {
    /// Takes the next messages in; the status where the stream ends.
    pub async fn more(&mut self) -> Result<(), Status> {
        match patiently("a message", self.stream.message()).await? {
            Some(answer) => {
                self.messages.extend(answer.messages);
                Ok(())
            }
            None => Err(Status::unavailable("the stream ended")),
        }
    }

    /// Waits until so many came, and tells what they say.
    pub async fn texts(&mut self, count: usize) -> Vec<&str> {
        while self.messages.len() < count {
            self.more().await.unwrap();
        }
        texts(&self.messages)
    }
}
