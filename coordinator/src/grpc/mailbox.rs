//! `MailboxService`.

use std::{sync::Arc, time::Duration};

use board::{
    command::{Call, Wish},
    mail::Letter,
};
use ganger_proto::v1::{self, mailbox_service_server::MailboxService};
use tonic::{Request, Response, Status};

use super::{
    Services, body::Answers, caller::Identity, from_wire, share, status, team::unexpected, to_wire,
};
use crate::{
    driver::NotTaken,
    engine::{MailPage, MailWanted, Told},
    handle::Unavailable,
    hub::{Closed, MailWatcher},
};

/// Messages that a watcher takes from the ring at once.
const RECENT_MAX: usize = 64;

#[tonic::async_trait]
impl MailboxService for Services {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let letter = from_wire::letter(&request, &team)?;
        let call = Call {
            request: identity.request("SendMessage", &team, &request.request_id, &request)?,
            caller: identity.caller,
            wish: Wish::SendMessage(team, Box::new(letter)),
        };
        let Told::Sent {
            message,
            correlation,
            receipts,
        } = self.decide(call).await?
        else {
            return Err(unexpected());
        };
        let receipts = receipts.iter();
        let receipts = receipts.map(|(receipt, member)| to_wire::receipt(receipt, member));
        Ok(Response::new(v1::SendMessageResponse {
            message_id: message.0,
            receipts: receipts.collect(),
            correlation_id: correlation.to_string(),
        }))
    }

    async fn receive_messages(
        &self,
        request: Request<v1::ReceiveMessagesRequest>,
    ) -> Result<Response<v1::ReceiveMessagesResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let peer = share::peer(&request);
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let (wanted, wait) = from_wire::received(team, identity.caller, &request)?;
        // One that doesn't wait is a short call.
        let _place = share::place_to_wait(peer.filter(|_| !wait.is_zero()))?;
        let page = self.receive(wanted.clone(), wait).await?;
        Ok(Response::new(v1::ReceiveMessagesResponse {
            messages: told(wanted.team.as_str(), page.mailbox.1.as_str(), &page.letters),
            unread: to_wire::count(page.unread),
            has_more: page.has_more,
        }))
    }

    async fn ack_messages(
        &self,
        request: Request<v1::AckMessagesRequest>,
    ) -> Result<Response<v1::AckMessagesResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let call = Call {
            caller: identity.caller,
            request: None,
            wish: Wish::AckMessages(team, from_wire::ack(&request)),
        };
        let Told::Acked { count, left } = self.decide(call).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::AckMessagesResponse {
            acknowledged: to_wire::count(count),
            unread: to_wire::count(left),
        }))
    }

    type WatchMailboxStream = Answers<v1::WatchMailboxResponse>;

    async fn watch_mailbox(
        &self,
        request: Request<v1::WatchMailboxRequest>,
    ) -> Result<Response<Self::WatchMailboxStream>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let wanted = from_wire::watched(team, identity.caller, &request)?;
        let watch = Watch::begin(self.clone(), wanted).await?;
        // Nothing is made before it is asked for: who reads slowly holds no memory here.
        let answers = futures_util::stream::unfold(Some(watch), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(messages) => {
                    let answer = v1::WatchMailboxResponse { messages };
                    Some((Ok(answer), Some(watch)))
                }
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn told(team: &str, to: &str, letters: &[Arc<Letter>]) -> Vec<v1::Message> {
    let letters = letters.iter();
    letters
        .map(|letter| to_wire::message(team, to, letter))
        .collect()
}

impl Services {
    async fn mail(&self, wanted: MailWanted) -> Result<MailPage, Status> {
        let page = self.handle.mail(wanted).await;
        let page = page.map_err(status::unavailable)?;
        page.map_err(|refused| status::refused(&refused))
    }

    /// What is wanted, as soon as there is any of it, or nothing when the time is over.
    async fn receive(&self, mut wanted: MailWanted, wait: Duration) -> Result<MailPage, Status> {
        let mut page = self.mail(wanted.clone()).await?;
        let time = tokio::time::sleep(wait);
        tokio::pin!(time);
        while page.letters.is_empty()
            && let Some(watcher) = &mut page.watcher
        {
            wanted.after = page.at;
            tokio::select! {
                // A mailbox that was closed is refused when it is read again.
                _ = watcher.past(page.at) => {}
                () = &mut time => break,
                () = self.stop.cancelled() => return Err(stopping()),
            }
            page = self.mail(wanted.clone()).await?;
        }
        Ok(page)
    }
}

fn stopping() -> Status {
    status::unavailable(Unavailable::NotTaken(NotTaken::Closed))
}

/// One watcher of one mailbox.
struct Watch {
    services: Services,
    wanted: MailWanted,
    /// Whose mailbox it is.
    to: String,
    watcher: MailWatcher,
    /// Read already, and not told yet. The first answer is told even when it has none.
    first: Option<Vec<Arc<Letter>>>,
    /// There is more in the mailbox than was read.
    is_behind: bool,
}

impl Watch {
    async fn begin(services: Services, mut wanted: MailWanted) -> Result<Self, Status> {
        let mut page = services.mail(wanted.clone()).await?;
        let watcher = page.watcher.take().ok_or_else(unexpected)?;
        wanted.after = page.at;
        if wanted.caller.attempt.is_none() {
            // Whoever has the name after it left is somebody else.
            wanted.caller.member = Some(page.mailbox.1.clone());
            wanted.caller.incarnation = Some(page.incarnation.0);
        }
        Ok(Self {
            services,
            wanted,
            to: page.mailbox.1.to_string(),
            watcher,
            first: Some(page.letters),
            is_behind: page.has_more,
        })
    }

    /// The next messages, when there are any.
    async fn next(&mut self) -> Result<Vec<v1::Message>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(self.told(&first));
        }
        loop {
            if !self.is_behind {
                self.news().await?;
            }
            let letters = match self.recent() {
                Some(recent) => recent,
                None => self.read().await?,
            };
            if !letters.is_empty() {
                return Ok(self.told(&letters));
            }
        }
    }

    /// Waits until there may be something new.
    async fn news(&mut self) -> Result<(), Status> {
        tokio::select! {
            news = self.watcher.past(self.wanted.after) => match news {
                Ok(()) => Ok(()),
                // Reading says why.
                Err(Closed) => self.services.mail(self.wanted.clone()).await.map(drop),
            },
            () = self.services.stop.cancelled() => Err(stopping()),
        }
    }

    /// What came last, where the ring has all of it, and nobody else may get it meanwhile.
    fn recent(&mut self) -> Option<Vec<Arc<Letter>>> {
        if self.is_behind || self.wanted.acknowledges {
            return None;
        }
        let mut recent = self.watcher.recent(self.wanted.after, RECENT_MAX)?;
        if let Some(last) = recent.last() {
            self.wanted.after = last.id;
        }
        recent.retain(|letter| self.wanted.filter.wants(letter));
        Some(recent)
    }

    async fn read(&mut self) -> Result<Vec<Arc<Letter>>, Status> {
        let page = self.services.mail(self.wanted.clone()).await?;
        self.wanted.after = page.at;
        self.is_behind = page.has_more;
        Ok(page.letters)
    }

    fn told(&self, letters: &[Arc<Letter>]) -> Vec<v1::Message> {
        told(self.wanted.team.as_str(), &self.to, letters)
    }
}
