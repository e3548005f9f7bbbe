//! The MCP server: what the protocol asks, answered by the bridge.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ganger_proto::v1;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, DiscoverResult,
        Implementation, InitializeRequestParams, InitializeResult, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
        ToolAnnotations,
    },
    service::{Peer, RequestContext, SubscriptionContext},
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
Read your mail with read_messages, and answer questions with answer_question. list_agent_types \
tells who can be hired, read_transcript what a sub-agent wrote, read_artifact the files that it \
left. What is too long for an answer is cut, and says how to read on. Do work yourself with \
claim_task, and end it with TaskUpdate: status completed, and result. A refusal says what is \
possible now: do that, rather than repeat the call. TeamCreate or spawn_team make a team of your \
own, and from then on you speak in it; dissolve_team ends it.";

/// How often the coordinator is asked whether its tools have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The MCP server of one session.
#[derive(Debug, Clone)]
pub struct Server(Arc<State>);

#[derive(Debug)]
struct State {
    bridge: Bridge,
    /// The tools that the client was told last.
    told: Mutex<Option<Vec<v1::Tool>>>,
    /// The client has shaken hands, and so takes notifications that it hasn't subscribed to.
    has_handshake: AtomicBool,
    /// The configured member is known to be there.
    is_checked: AtomicBool,
    /// Why the client was refused.
    refused: Mutex<Option<Failure>>,
}

impl Server {
    /// A server over this bridge.
    pub fn new(bridge: Bridge) -> Self {
        Self(Arc::new(State {
            bridge,
            told: Mutex::default(),
            has_handshake: AtomicBool::new(false),
            is_checked: AtomicBool::new(false),
            refused: Mutex::default(),
        }))
    }

    /// Why the client was refused, if it was.
    pub fn refused(&self) -> Option<Failure> {
        let mut refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        refused.take()
    }

    /// Refuses a member that isn't on the roster.
    async fn check(&self) -> Result<(), ErrorData> {
        if self.0.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.0.bridge.check_member().await {
            Ok(is_known) => {
                self.0.is_checked.store(is_known, Ordering::Relaxed);
                Ok(())
            }
            Err(failure) => {
                let error = error_of(&failure);
                let mut refused = self
                    .0
                    .refused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *refused = Some(failure);
                Err(error)
            }
        }
    }

    /// The tools: the coordinator's, or where there is none those that this program knows.
    async fn tools(&self) -> Result<Vec<v1::Tool>, Failure> {
        let told = self.0.bridge.tools().await?;
        Ok(told.unwrap_or_else(ganger_coordinator::tools))
    }

    fn told(&self) -> MutexGuard<'_, Option<Vec<v1::Tool>>> {
        // Nothing is left half done under it.
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the coordinator's tools are others than the client was told last.
    async fn tools_changed(&self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.told().is_none() {
                continue;
            }
            // A coordinator that is away takes no tools with it.
            let Ok(Some(tools)) = self.0.bridge.tools().await else {
                continue;
            };
            let mut told = self.told();
            if told.as_ref().is_some_and(|told| *told != tools) {
                // Told once: until they change again, or the client has asked for them.
                *told = Some(tools);
                return;
            }
        }
    }

    /// Tells a client that has shaken hands whenever the tools have changed.
    pub async fn tell_changes(&self, peer: Peer<RoleServer>) -> Infallible {
        loop {
            self.tools_changed_after_handshake().await;
            if let Err(error) = peer.notify_tool_list_changed().await {
                tracing::debug!(%error, "the client takes no notifications");
            }
        }
    }

    async fn tools_changed_after_handshake(&self) {
        if !self.0.has_handshake.load(Ordering::Relaxed) {
            // Without one a client subscribes: see `listen`.
            return std::future::pending().await;
        }
        self.tools_changed().await;
    }

    async fn call(
        &self,
        params: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        self.check().await?;
        let bridge = &self.0.bridge;
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
        let settings = self.0.bridge.settings();
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
        let can = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed();
        ServerConfig::new(can.build())
            .with_server_info(server)
            .with_instructions(self.instructions())
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        self.check().await?;
        context.peer.set_peer_info(request.clone());
        let initialized = self.negotiate_initialize(&request)?;
        self.0.has_handshake.store(true, Ordering::Relaxed);
        Ok(initialized)
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        self.check().await?;
        Ok(DiscoverResult::from_server_info(
            self.supported_protocol_versions().into_owned(),
            self.get_info(),
        ))
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let mut accepted = SubscriptionFilter::new();
        accepted.tools_list_changed = requested.tools_list_changed;
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.tools_changed() => {}
            }
            if let Err(error) = context.sink().notify_tool_list_changed().await {
                tracing::debug!(%error, "the client takes no notifications");
                return Ok(());
            }
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.check().await?;
        let tools = self.tools().await.map_err(|failure| error_of(&failure))?;
        *self.told() = Some(tools.clone());
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

/// What the protocol's own errors say of a failure.
fn error_of(failure: &Failure) -> ErrorData {
    let next = failure.next().map(|next| format!("; {next}"));
    let message = format!("{failure}{}", next.unwrap_or_default());
    match failure {
        Failure::Usage(_) => ErrorData::invalid_params(message, Some(failure.json())),
        _ => ErrorData::internal_error(message, Some(failure.json())),
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
