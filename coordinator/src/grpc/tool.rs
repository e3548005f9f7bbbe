//! `ToolService`: the tools that lead agents know, under their known names and with their JSON.
//!
//! A tool is thin: it reads its arguments, makes one call of the services with the caller's own
//! metadata, and tells what came of it. What a service refuses is an answer here, for a model to
//! read; only who can't be answered at all gets an error. No answer is longer than a model's host
//! takes (`bound`).
//!
//! Reading order: `args` (declared arguments), `kinds` (their kinds), `registry` (what a tool is),
//! `bound`, then the tools: `board`, `update`, `team`, `teammates`, `mail`, `delegation`, `control`,
//! `listing`, `reading`.

mod args;
mod board;
mod bound;
mod control;
mod delegation;
pub mod json;
mod kinds;
mod listing;
mod mail;
mod reading;
mod refusal;
mod registry;
mod team;
mod teammates;
mod update;

#[cfg(test)]
mod tests;

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, tool_service_server::ToolService,
};
use tonic::{Request, Response, Status};

use self::{
    refusal::No,
    registry::{Caller, TOOLS},
};
use super::{Services, share, status};

/// Tools whose calls may wait for something to happen.
const WAITING: [&str; 3] = [
    <delegation::Task as registry::Tool>::NAME,
    <delegation::WaitTasks as registry::Tool>::NAME,
    <mail::ReadMessages as registry::Tool>::NAME,
];

/// The tools, as they are told where nobody knows which agent types are on offer.
pub fn told() -> Vec<v1::Tool> {
    TOOLS.iter().map(registry::Entry::told).collect()
}

#[tonic::async_trait]
impl ToolService for Services {
    async fn list_tools(
        &self,
        _request: Request<v1::ListToolsRequest>,
    ) -> Result<Response<v1::ListToolsResponse>, Status> {
        let mut tools = told();
        let types = self.list_agent_types(Request::new(v1::ListAgentTypesRequest {}));
        let types = types.await?.into_inner().agent_types;
        let name = <delegation::Task as registry::Tool>::NAME;
        if let Some(task) = tools.iter_mut().find(|tool| tool.name == name) {
            task.description.push_str(&listing::on_offer(&types));
        }
        Ok(Response::new(v1::ListToolsResponse { tools }))
    }

    async fn call_tool(
        &self,
        request: Request<v1::CallToolRequest>,
    ) -> Result<Response<v1::CallToolResponse>, Status> {
        let peer = share::peer(&request);
        let (metadata, _, request) = request.into_parts();
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            let known = TOOLS.iter().map(|tool| tool.name);
            return Err(status::tool_unknown(&request.name, known));
        };
        let waits = WAITING.contains(&tool.name);
        let _place = share::place_to_wait(peer.filter(|_| waits))?;
        let caller = Caller::new(self.clone(), metadata, request.request_id);
        let (result, text, is_error) = match tool.call(caller, request.arguments).await {
            Ok(answer) => {
                let answer = bound::whole(answer);
                (answer.result, answer.text, false)
            }
            Err(No::Refused(refusal)) => {
                let (result, text) = bound::refusal(*refusal);
                (result, text, true)
            }
            Err(No::Broken(status)) => return Err(status),
        };
        Ok(Response::new(v1::CallToolResponse {
            result: Some(json::to_struct(result)),
            text,
            is_error,
        }))
    }
}
