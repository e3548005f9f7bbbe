//! `MailboxService`.

use ganger_proto::v1::{self, mailbox_service_server::MailboxService};
use tonic::{Request, Response, Status};

use super::{Services, body::Answers, status};

#[tonic::async_trait]
impl MailboxService for Services {
    async fn send_message(
        &self,
        _request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        Err(status::pending())
    }

    async fn receive_messages(
        &self,
        _request: Request<v1::ReceiveMessagesRequest>,
    ) -> Result<Response<v1::ReceiveMessagesResponse>, Status> {
        Err(status::pending())
    }

    async fn ack_messages(
        &self,
        _request: Request<v1::AckMessagesRequest>,
    ) -> Result<Response<v1::AckMessagesResponse>, Status> {
        Err(status::pending())
    }

    type WatchMailboxStream = Answers<v1::WatchMailboxResponse>;

    async fn watch_mailbox(
        &self,
        _request: Request<v1::WatchMailboxRequest>,
    ) -> Result<Response<Self::WatchMailboxStream>, Status> {
        Err(status::pending())
    }
}
