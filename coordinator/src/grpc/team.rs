//! `TeamService`, but for WatchTeam, which is [`super::watch`]'s.

use board::command::{Call, Wish};
use ganger_proto::v1::{self, team_service_server::TeamService};
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};

use super::{Services, body::Answers, caller::Identity, from_wire, status, to_wire};
use crate::engine::Told;

#[tonic::async_trait]
impl TeamService for Services {
    async fn create_team(
        &self,
        request: Request<v1::CreateTeamRequest>,
    ) -> Result<Response<v1::CreateTeamResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let wish = from_wire::create_team(&request)?;
        let id = identity.request("CreateTeam", &wish.name, &request.request_id, &request)?;
        let team = self.team(identity, id, Wish::CreateTeam(wish)).await?;
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
        let identity = Identity::of(request.metadata())?;
        let team = identity.team(&request.get_ref().team)?;
        let look = move |reader: &mut crate::engine::Reader<'_>| {
            reader.hear(&team, &identity.caller)?;
            reader.team(&team)
        };
        let view = self.look(look).await?;
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
        let after = from_wire::team_place(&request.page_token)?;
        let page = self
            .look(move |reader| reader.teams(after, size, request.include_dissolved))
            .await?;
        let next = page.next.as_ref().map(from_wire::team_place_text);
        Ok(Response::new(v1::ListTeamsResponse {
            teams: page.items.iter().map(to_wire::team).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn update_team(
        &self,
        request: Request<v1::UpdateTeamRequest>,
    ) -> Result<Response<v1::UpdateTeamResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("UpdateTeam", &team, &request.request_id, &request)?;
        let wish = Wish::UpdateTeam(team, from_wire::team_changes(request)?);
        let Told::Team(view) = self.wish(identity, id, wish).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::UpdateTeamResponse {
            team: Some(to_wire::team(&view)),
        }))
    }

    async fn dissolve_team(
        &self,
        request: Request<v1::DissolveTeamRequest>,
    ) -> Result<Response<v1::DissolveTeamResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("DissolveTeam", &team, &request.request_id, &request)?;
        let removal = from_wire::removal(request.force, &request.reason);
        let wish = Wish::DissolveTeam(team, removal);
        let Told::Dissolved {
            view,
            already,
            stopping,
        } = self.wish(identity, id, wish).await?
        else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::DissolveTeamResponse {
            team: Some(to_wire::team(&view)),
            already_dissolved: already,
            stopping: to_wire::ids(&stopping),
        }))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("AddMember", &team, &request.request_id, &request)?;
        let member = from_wire::add_member(&request, &team)?;
        let wish = Wish::AddMember(team, member);
        let Told::Member(view) = self.wish(identity, id, wish).await? else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::AddMemberResponse {
            member: Some(to_wire::member(&view)),
        }))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("RemoveMember", &team, &request.request_id, &request)?;
        let member = from_wire::removed(&request, &team)?;
        let removal = from_wire::removal(request.force, &request.reason);
        let wish = Wish::RemoveMember(team, member, removal);
        let Told::Removed {
            view,
            released,
            stopping,
        } = self.wish(identity, id, wish).await?
        else {
            return Err(unexpected());
        };
        Ok(Response::new(v1::RemoveMemberResponse {
            member: Some(to_wire::member(&view)),
            released: to_wire::ids(&released),
            stopping: to_wire::ids(&stopping),
        }))
    }

    async fn hand_over_lead(
        &self,
        request: Request<v1::HandOverLeadRequest>,
    ) -> Result<Response<v1::HandOverLeadResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let id = identity.request("HandOverLead", &team, &request.request_id, &request)?;
        let to = from_wire::hand_over_lead(&request, &team)?;
        let team = self
            .team(identity, id, Wish::HandOverLead(team, to))
            .await?;
        Ok(Response::new(v1::HandOverLeadResponse { team: Some(team) }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let size = from_wire::page_size(request.page_size)?;
        let after = from_wire::member_place(&request.page_token)?;
        let look = move |reader: &mut crate::engine::Reader<'_>| {
            reader.hear(&team, &identity.caller)?;
            reader.members(&team, after.as_ref(), size, request.include_gone)
        };
        let page = self.look(look).await?;
        let page = page.map_err(|refusal| status::refusal(&refusal))?;
        let next = page.next.as_ref().map(ToString::to_string);
        Ok(Response::new(v1::ListMembersResponse {
            members: page.items.iter().map(to_wire::member).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    type WatchTeamStream = Answers<v1::WatchTeamResponse>;

    /// Over the wire it is [`super::watch`] that answers, without reading what it wrote.
    async fn watch_team(
        &self,
        request: Request<v1::WatchTeamRequest>,
    ) -> Result<Response<Self::WatchTeamStream>, Status> {
        let answers = self.watched(request).await?;
        let read = answers.map(|answer| answer?.read().map_err(|error| status::internal(&error)));
        Ok(Response::new(Box::pin(read)))
    }
}

/// The engine answered a call with another call's answer: a bug, told as one.
pub(super) fn unexpected() -> Status {
    status::internal(&std::io::Error::other("a call was answered as another one"))
}

impl Services {
    /// Has a wish decided that is answered with a team.
    async fn team(
        &self,
        identity: Identity,
        request: Option<board::record::Request>,
        wish: Wish,
    ) -> Result<v1::Team, Status> {
        match self.wish(identity, request, wish).await? {
            Told::Team(view) => Ok(to_wire::team(&view)),
            _ => Err(unexpected()),
        }
    }

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
