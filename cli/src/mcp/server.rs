//! The MCP server: what the protocol asks, answered by the bridge.

use ganger_proto::v1;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
        ToolAnnotations,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use super::{
    bridge::{Answer, Bridge, is_unknown_tool},
    json, progress,
};
use crate::failure::Failure;

/// What a model should know before it reads the tools.
const INSTRUCTIONS: &str = "\
Ganger is a team board for agents, with a fleet of workers that run sub-agents in sandboxes. It is \
durable: tasks, results and mail survive restarts, and go on when a call of yours is cut off.\n\
Plan with TaskCreate, one task for each step, blockedBy for order; look with TaskList. Hand work \
out: `task` runs a sub-agent and answers its result (run_in_background for many side by side), \
assign_task gives a task to a member. Follow up with wait_tasks, check_task and check_teammates. \
Read your mail with read_messages, and answer questions with answer_question. Do work yourself with \
claim_task, and end it with TaskUpdate: status completed, and result. A refusal says what is \
possible now: do that, rather than repeat the call. TeamCreate or spawn_team make a team of your \
own, and from then on you speak in it; dissolve_team ends it.";

/// The MCP server of one session.
#[derive(Debug)]
pub struct Server(Bridge);

impl Server {
    /// A server over this bridge.
    pub fn new(bridge: Bridge) -> Self {
        Self(bridge)
    }

    async fn call(
        &self,
        params: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let bridge = &self.0;
        let arguments = params.arguments.unwrap_or_default();
        let call = bridge.call(params.name.into_owned(), arguments);
        let sent = match context.meta.get_progress_token() {
            None => bridge.send(&call).await,
            Some(token) => tokio::select! {
                sent = bridge.send(&call) => sent,
                never = progress::tell(bridge, &call, token, context.peer.clone()) => match never {},
            },
        };
        match sent {
            Ok(answer) => {
                bridge.heard(&call, &answer);
                Ok(told(answer))
            }
            Err(failure) if is_unknown_tool(&failure) => Err(ErrorData::invalid_params(
                failure.to_string(),
                Some(failure.json()),
            )),
            Err(failure) => Ok(failed(&failure)),
        }
    }

    fn instructions(&self) -> String {
        let settings = self.0.settings();
        let team = settings.team.as_deref().unwrap_or("default");
        let who = match &settings.member {
            Some(member) => format!("You are {member} of the team {team}."),
            None => format!("You lead the team {team}."),
        };
        format!("{INSTRUCTIONS}\n{who}")
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("ganger", env!("CARGO_PKG_VERSION")).with_title("Ganger");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(server)
            .with_instructions(self.instructions())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.0.tools().await.map_err(|failure| {
            let next = failure.next().map(|next| format!("; {next}"));
            let message = format!("{failure}{}", next.unwrap_or_default());
            ErrorData::internal_error(message, Some(failure.json()))
        })?;
        let tools = tools.into_iter().map(tool).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tokio::select! {
            answer = self.call(params, &context) => answer.map(Into::into),
            // Nobody hears this any more; what counts is that the call is dropped.
            () = context.ct.cancelled() => {
                Err(ErrorData::internal_error("the call was cancelled", None))
            }
        }
    }
}

fn tool(tool: v1::Tool) -> Tool {
    let schema = json::of_struct(tool.input_schema.unwrap_or_default());
    let annotations = ToolAnnotations::new()
        .read_only(tool.read_only)
        .destructive(tool.destructive);
    Tool::new(tool.name, tool.description, schema).with_annotations(annotations)
}

fn told(answer: Answer) -> CallToolResult {
    let content = vec![ContentBlock::text(answer.text)];
    let mut told = match answer.is_error {
        true => CallToolResult::error(content),
        false => CallToolResult::success(content),
    };
    told.structured_content = Some(Value::Object(answer.result));
    told
}

/// What can't be asked is an answer, too: the protocol's own errors are not shown to models, nor
/// to people.
fn failed(failure: &Failure) -> CallToolResult {
    let next = failure.next().unwrap_or_default();
    let text = match next.as_str() {
        "" => failure.to_string(),
        next => format!("{failure}\nPossible now: {next}."),
    };
    let mut told = CallToolResult::error(vec![ContentBlock::text(text)]);
    let error = failure.to_string();
    told.structured_content = Some(json!({"success": false, "error": error, "next": next}));
    told
}
