//! `TeamService`.

use board::{
    command::{Call, Wish},
    event::Event,
    id::{Revision, TeamName},
};
use ganger_proto::v1::{self, team_service_server::TeamService};
use tonic::{Request, Response, Status};

use super::{
    Services,
    body::{Answers, Gone, Sink},
    caller::Identity,
    from_wire, status, to_wire,
};
use crate::{engine::Told, handle::Unavailable, hub::Watcher};

/// Events of one message of a watch.
const EVENTS_PER_MESSAGE: usize = 256;

#[tonic::async_trait]
impl TeamService for Services {
    async fn dissolve_team(
        &self,
        _request: Request<v1::DissolveTeamRequest>,
    ) -> Result<Response<v1::DissolveTeamResponse>, Status> {
        Err(super::status::pending())
    }

    async fn add_member(
        &self,
        _request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        Err(super::status::pending())
    }

    async fn remove_member(
        &self,
        _request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        Err(super::status::pending())
    }

    async fn hand_over_lead(
        &self,
        _request: Request<v1::HandOverLeadRequest>,
    ) -> Result<Response<v1::HandOverLeadResponse>, Status> {
        Err(super::status::pending())
    }

    async fn create_team(
        &self,
        request: Request<v1::CreateTeamRequest>,
    ) -> Result<Response<v1::CreateTeamResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let wish = from_wire::create_team(&request)?;
        let call = Call {
            caller: identity.caller.clone(),
            request: identity.request("CreateTeam", &wish.name, &request.request_id, &request)?,
            wish: Wish::CreateTeam(wish),
        };
        let Told::Team(view) = self.decide(call).await? else {
            return Err(unexpected());
        };
        let team = to_wire::team(&view);
        Ok(Response::new(v1::CreateTeamResponse {
            team_name: team.name.clone(),
            lead_agent_id: team.lead_agent_id.clone(),
            team: Some(team),
        }))
    }

    async fn get_team(
        &self,
        request: Request<v1::GetTeamRequest>,
    ) -> Result<Response<v1::GetTeamResponse>, Status> {
        let team = Identity::of(request.metadata())?.team(&request.get_ref().team)?;
        let view = self.look(move |reader| reader.team(&team)).await?;
        let view = view.map_err(|refusal| status::refusal(&refusal))?;
        Ok(Response::new(v1::GetTeamResponse {
            team: Some(to_wire::team(&view)),
        }))
    }

    async fn list_teams(
        &self,
        request: Request<v1::ListTeamsRequest>,
    ) -> Result<Response<v1::ListTeamsResponse>, Status> {
        let request = request.into_inner();
        let size = from_wire::page_size(request.page_size)?;
        let after = Some(request.page_token).filter(|token| !token.is_empty());
        let page = self
            .look(move |reader| reader.teams(after.as_deref(), size))
            .await?;
        Ok(Response::new(v1::ListTeamsResponse {
            teams: page.items.iter().map(to_wire::team).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let size = from_wire::page_size(request.page_size)?;
        let after = Some(request.page_token).filter(|token| !token.is_empty());
        let page = self
            .look(move |reader| reader.members(&team, after.as_deref(), size))
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        Ok(Response::new(v1::ListMembersResponse {
            members: page.items.iter().map(to_wire::member).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    type WatchTeamStream = Answers<v1::WatchTeamResponse>;

    async fn watch_team(
        &self,
        request: Request<v1::WatchTeamRequest>,
    ) -> Result<Response<Self::WatchTeamStream>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let watched = team.clone();
        let (watcher, view) = self
            .look(move |reader| reader.watch(&watched))
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        let uid = view.team.uid;
        if request.team_uid != 0 && request.team_uid != uid.0 {
            return Err(status::team_replaced(team.as_str(), request.team_uid));
        }
        let latest = view.team.revision;
        let after = request.after_revision.map_or(latest, Revision);
        if after > latest {
            let why = format!("is ahead of the team's revision {latest}");
            return Err(status::invalid("after_revision", why));
        }
        let (sink, answers) = Sink::new();
        let services = self.clone();
        let is_from_now_on = request.after_revision.is_none();
        let watch = Watch {
            services,
            team,
            uid,
            watcher,
            after,
        };
        self.tasks.spawn(watch.run(sink, is_from_now_on));
        Ok(Response::new(answers))
    }
}

/// One watcher of one team. It ends when the caller goes away or the coordinator stops.
struct Watch {
    services: Services,
    team: TeamName,
    uid: board::id::TeamUid,
    watcher: Watcher,
    after: Revision,
}

impl Watch {
    async fn run(mut self, sink: Sink<v1::WatchTeamResponse>, is_from_now_on: bool) {
        if is_from_now_on && self.tell(&sink, Vec::new()).await.is_err() {
            return;
        }
        loop {
            match self.next(&sink).await {
                Ok(Some(events)) => {
                    if self.tell(&sink, events).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(why) => return sink.fail(status::unavailable(why)).await,
            }
        }
    }

    /// The next events; none when the stream is to end.
    async fn next(
        &mut self,
        sink: &Sink<v1::WatchTeamResponse>,
    ) -> Result<Option<Vec<v1::Event>>, Unavailable> {
        tokio::select! {
            () = self.watcher.past(self.after) => {}
            () = sink.gone() => return Ok(None),
            () = self.services.stop.cancelled() => {
                return Err(Unavailable::NotTaken(crate::driver::NotTaken::Closed));
            }
        }
        if let Some(recent) = self.watcher.recent(self.after, EVENTS_PER_MESSAGE) {
            return Ok(Some(self.take(recent.iter().map(AsRef::as_ref))));
        }
        let (uid, after) = (self.uid, self.after);
        let page = self
            .services
            .handle
            .read(move |reader| reader.events(uid, after, EVENTS_PER_MESSAGE))
            .await?;
        Ok(Some(self.take(page.events.iter())))
    }

    fn take<'e>(&mut self, events: impl Iterator<Item = &'e Event>) -> Vec<v1::Event> {
        let told = events.map(|event| {
            self.after = event.revision;
            to_wire::event(self.team.as_str(), event)
        });
        told.collect()
    }

    async fn tell(
        &self,
        sink: &Sink<v1::WatchTeamResponse>,
        events: Vec<v1::Event>,
    ) -> Result<(), Gone> {
        let answer = v1::WatchTeamResponse {
            events,
            revision: self.after.0,
            team_uid: self.uid.0,
        };
        sink.put(answer).await
    }
}

/// The engine answered a call with another call's answer: a bug, told as one.
pub(super) fn unexpected() -> Status {
    status::internal(&std::io::Error::other("a call was answered as another one"))
}

impl Services {
    /// Has a call decided.
    pub(super) async fn decide(&self, call: Call) -> Result<Told, Status> {
        let reply = self.handle.call(call).await.map_err(status::unavailable)?;
        reply.map_err(|refused| status::refused(&refused))
    }

    /// Looks.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl for<'e> FnOnce(&mut crate::engine::Reader<'e>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.read(look).await.map_err(status::unavailable)
    }
}
