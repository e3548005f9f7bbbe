//! Teams and their members, in short forms.

use ganger_proto::{TEAM_KEY, v1};
use tonic::Status;

use crate::{Client, patiently};

impl Client {
    /// The same in another team than the default one.
    #[must_use]
    pub fn in_team(self, team: &str) -> Self {
        self.saying(TEAM_KEY, team)
    }

    /// Makes a team with these members, who is led by `team-lead`.
    pub async fn create_team(
        &self,
        team: &str,
        members: impl IntoIterator<Item = v1::NewMember>,
    ) -> v1::Team {
        let request = v1::CreateTeamRequest {
            team_name: team.into(),
            members: members.into_iter().collect(),
            ..v1::CreateTeamRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("CreateTeam", client.create_team(request)).await;
        answer.unwrap().into_inner().team.unwrap()
    }

    /// The caller's team.
    pub async fn get_team(&self) -> Result<v1::Team, Status> {
        let mut client = self.team();
        let answer = client.get_team(v1::GetTeamRequest::default());
        let answer = patiently("GetTeam", answer).await?;
        Ok(answer.into_inner().team.unwrap())
    }

    /// Everybody who was ever on the roster of the caller's team.
    pub async fn members_ever(&self) -> Vec<v1::Member> {
        let request = v1::ListMembersRequest {
            include_gone: true,
            page_size: 1_000,
            ..v1::ListMembersRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("ListMembers", client.list_members(request)).await;
        answer.unwrap().into_inner().members
    }

    /// One of them.
    pub async fn member_ever(&self, name: &str) -> v1::Member {
        let members = self.members_ever().await;
        let found = members.into_iter().find(|member| member.name == name);
        found.unwrap_or_else(|| panic!("no member {name}"))
    }

    /// Adds a member to the caller's team.
    pub async fn add_member(&self, member: v1::NewMember) -> Result<v1::Member, Status> {
        let request = v1::AddMemberRequest {
            member: Some(member),
            ..v1::AddMemberRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("AddMember", client.add_member(request)).await?;
        Ok(answer.into_inner().member.unwrap())
    }

    /// Removes a member from the caller's team.
    pub async fn remove_member(
        &self,
        member: &str,
        force: bool,
    ) -> Result<v1::RemoveMemberResponse, Status> {
        let request = v1::RemoveMemberRequest {
            member: member.into(),
            force,
            reason: "the test says so".into(),
            ..v1::RemoveMemberRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("RemoveMember", client.remove_member(request)).await?;
        Ok(answer.into_inner())
    }

    /// Makes another member the lead of the caller's team.
    pub async fn hand_over(&self, to: &str) -> Result<v1::Team, Status> {
        let request = v1::HandOverLeadRequest {
            to: to.into(),
            ..v1::HandOverLeadRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("HandOverLead", client.hand_over_lead(request)).await?;
        Ok(answer.into_inner().team.unwrap())
    }

    /// Ends the caller's team.
    pub async fn dissolve(&self, force: bool) -> Result<v1::DissolveTeamResponse, Status> {
        let request = v1::DissolveTeamRequest {
            force,
            reason: "the test says so".into(),
            ..v1::DissolveTeamRequest::default()
        };
        let mut client = self.team();
        let answer = patiently("DissolveTeam", client.dissolve_team(request)).await?;
        Ok(answer.into_inner())
    }

    /// Takes a task of the caller's team.
    pub async fn claim(&self, task_id: u64) -> Result<v1::Task, Status> {
        let request = v1::ClaimTaskRequest {
            task_id,
            ..v1::ClaimTaskRequest::default()
        };
        let mut client = self.task();
        let answer = patiently("ClaimTask", client.claim_task(request)).await?;
        Ok(answer.into_inner().task.unwrap())
    }
}

/// A member that calls the API itself.
pub fn agent(name: &str) -> v1::NewMember {
    v1::NewMember {
        name: name.into(),
        ..v1::NewMember::default()
    }
}

/// A member that runs as a sub-agent of this type.
pub fn hosted(name: &str, agent_type: &str) -> v1::NewMember {
    v1::NewMember {
        agent_type: agent_type.into(),
        ..agent(name)
    }
}
