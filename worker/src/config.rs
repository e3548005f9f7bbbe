//! What a worker is told to be: defaults, then file, then environment, then flags.
//!
//! [`Args`] and the file are raw and hold whatever was written; [`Config`] is checked. Unknown keys
//! are errors, and all problems are told at once. The environment is read here and nowhere else.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    limits::{HIRING_DEPTH_MAX, QUESTIONS_MAX, TASKS, TASKS_MAX, TEAM_TOOLS, TOOLS_MAX},
    sandbox::{DriverKind, Limits, Mount, SandboxId, SandboxSpec},
};

pub use self::raw::Args;

mod raw;
mod section;

/// Where the coordinator is, where nobody said.
pub const COORDINATOR: &str = "http://127.0.0.1:50051";
/// Where workspaces lie, where nobody said.
pub const DATA_DIR: &str = "/var/lib/ganger/worker";
/// Stands in an argument of a command for the file that holds the prompt.
pub const PROMPT_FILE: &str = "{prompt_file}";
/// How long a sub-agent may run, where its type doesn't say.
pub const TIMEOUT: Duration = Duration::from_secs(600);
/// How long running attempts get in a drain.
pub const DRAIN_SPAN: Duration = Duration::from_secs(25);
/// Bytes that a sub-agent may write to its standard output and error, where its type doesn't say.
pub const OUTPUT_BYTES: u64 = 64 << 20;
/// How many questions an attempt may ask, where its type doesn't say.
pub const QUESTIONS: u32 = 3;
/// After how long without progress a sub-agent counts as stalled, where its type doesn't say.
pub const STALL_SPAN: Duration = Duration::from_secs(300);

/// A worker's whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The coordinator: `http://host:port`.
    pub coordinator: String,
    /// The worker's name, unique in the fleet.
    pub name: String,
    /// How many sub-agents it runs at once.
    pub slots: usize,
    /// The teams that it serves; empty for all.
    pub teams: Vec<String>,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
    /// Where workspaces lie.
    pub data_dir: PathBuf,
    /// How sub-agents are kept apart.
    pub sandbox: DriverKind,
    /// How long running attempts get in a drain.
    pub drain_span: Duration,
    /// The file with the fleet token; none for no token.
    pub token_file: Option<PathBuf>,
    /// What it offers, by name.
    pub agent_types: BTreeMap<String, AgentType>,
}

/// A named way to run a sub-agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentType {
    /// What it is good for.
    pub description: String,
    /// The program and its arguments. [`PROMPT_FILE`] in one stands for the path of a file with the
    /// prompt; a command without it reads the prompt from its standard input.
    pub command: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// Its environment, beside `GANGER_*`.
    pub env: BTreeMap<String, String>,
    /// Directories or files of the host that it sees, read-only.
    pub mounts: Vec<Mount>,
    /// What the kernel bounds.
    pub limits: Limits,
    /// Bytes that it may write to its standard output and error.
    pub output_bytes: u64,
    /// How it and the worker talk.
    pub protocol: Protocol,
    /// How many questions an attempt may ask; only one that talks can.
    pub questions: u32,
    /// The coordinator's tools that it may have called for it; only one that talks can.
    pub tools: Vec<String>,
    /// How deep below its own task it may have others hired; a task can only lower it.
    pub hiring_depth: u32,
    /// How many tasks an attempt may make.
    pub tasks_max: u32,
    /// Its prompt is a script, which must be given; what people say of a task will not do. Where a
    /// file doesn't say it, so it is unless the program talks.
    pub prompt_is_script: bool,
    /// It may make teams, with one of the tools that do; only one that talks can.
    pub may_create_teams: bool,
    /// After how long without progress it counts as stalled.
    pub stall_span: Duration,
    /// It is killed as soon as the worker's lease is over, rather than when the worker has been
    /// without a verdict for long.
    pub stop_on_lease_end: bool,
}

/// How a sub-agent and the worker talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// It gets a prompt, and every line that it writes is text.
    #[default]
    Lines,
    /// Lines of JSON, both ways, for as long as it runs.
    Json,
}

impl Protocol {
    /// The name that people write and see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Json => "json",
        }
    }
}

/// Why a worker can't be configured as was written.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// All that is wrong, one line each.
    pub problems: Vec<String>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the configuration has {} problem(s):",
            self.problems.len()
        )?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Default for Config {
    /// What a worker is on this machine when nothing is said.
    fn default() -> Self {
        Self {
            coordinator: COORDINATOR.to_owned(),
            name: host_name(),
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            teams: Vec::new(),
            labels: BTreeMap::new(),
            data_dir: DATA_DIR.into(),
            sandbox: DriverKind::Native,
            drain_span: DRAIN_SPAN,
            token_file: None,
            agent_types: BTreeMap::from([("shell".to_owned(), AgentType::shell())]),
        }
    }
}

impl AgentType {
    /// Runs the prompt as a shell script: the type that needs no model.
    pub fn shell() -> Self {
        Self {
            description: "runs the prompt as a shell script; needs no model".to_owned(),
            ..Self::of_command(["/bin/sh", PROMPT_FILE])
        }
    }

    /// Runs a program, with defaults for all else.
    pub fn of_command<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        let env = [
            ("HOME", "/workspace"),
            ("LANG", "C.UTF-8"),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("TMPDIR", "/tmp"),
        ];
        Self {
            description: String::new(),
            command: command.into_iter().map(Into::into).collect(),
            timeout: TIMEOUT,
            env: env
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            mounts: Vec::new(),
            limits: Limits::default(),
            output_bytes: OUTPUT_BYTES,
            protocol: Protocol::Lines,
            questions: QUESTIONS,
            tools: Vec::new(),
            hiring_depth: 0,
            tasks_max: TASKS,
            may_create_teams: false,
            prompt_is_script: true,
            stall_span: STALL_SPAN,
            stop_on_lease_end: false,
        }
    }

    /// Whether its sub-agents can ask, be answered and be steered while they run.
    pub fn is_interactive(&self) -> bool {
        self.protocol == Protocol::Json
    }

    /// The whole definition as text.
    pub(crate) fn definition(&self, name: &str) -> String {
        format!("{name} = {}", raw::type_table(self))
    }

    /// Everything about a type that can be known to be wrong without looking at the machine.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = crate::sandbox::Command::new(self.command.clone()).check() {
            problems.push(format!("command: {error}"));
        }
        if self.timeout.is_zero() {
            problems.push("timeout_seconds: must be at least 1".to_owned());
        }
        if self.output_bytes == 0 {
            problems.push("limits.output_bytes: must be at least 1".to_owned());
        }
        problems.extend(self.problems_of_talk());
        for name in self.env.keys().filter(|name| name.starts_with("GANGER_")) {
            problems.push(format!(
                "env.{name}: GANGER_ variables are the worker's own"
            ));
        }
        let id = SandboxId::try_from("check".to_owned()).expect("a plain word is an id");
        let spec = SandboxSpec {
            read_only: self.mounts.clone(),
            env: self.env.clone(),
            limits: self.limits.clone(),
            ..SandboxSpec::new(id, "/")
        };
        if let Err(error) = spec.check() {
            problems.push(error.to_string());
        }
        for mount in &self.mounts {
            if crate::agent::OWN_TARGETS
                .iter()
                .any(|own| mount.target.starts_with(own))
            {
                problems.push(format!(
                    "mounts: {} is the worker's own",
                    mount.target.display()
                ));
            }
        }
        problems
    }
}

impl AgentType {
    fn problems_of_talk(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.questions > QUESTIONS_MAX {
            problems.push(format!("questions: must be 0 to {QUESTIONS_MAX}"));
        }
        if self.tools.len() > TOOLS_MAX || self.tools.iter().any(|tool| tool.trim().is_empty()) {
            problems.push(format!("tools: must be up to {TOOLS_MAX} names of tools"));
        }
        if !self.tools.is_empty() && !self.is_interactive() {
            problems
                .push("tools: only a sub-agent with protocol = \"json\" can call them".to_owned());
        }
        if self.hiring_depth > HIRING_DEPTH_MAX {
            problems.push(format!("hiring_depth: must be 0 to {HIRING_DEPTH_MAX}"));
        }
        if self.tasks_max > TASKS_MAX {
            problems.push(format!("tasks_max: must be 0 to {TASKS_MAX}"));
        }
        let makes_teams = |tool: &String| TEAM_TOOLS.contains(&tool.as_str());
        if self.may_create_teams && !self.tools.iter().any(makes_teams) {
            problems.push(format!(
                "may_create_teams: no tool that makes teams is named (tools: {})",
                TEAM_TOOLS.join(" or ")
            ));
        }
        if self.stall_span.is_zero() {
            problems.push("stall_seconds: must be at least 1".to_owned());
        }
        problems
    }
}

impl Config {
    /// Reads what the flags, the environment and the file named by them say.
    pub fn load(args: Args) -> Result<Self, ConfigError> {
        let text = match &args.config {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError {
                problems: vec![format!("--config {}: {error}", path.display())],
            })?,
        };
        Self::parse(&text, args)
    }

    /// The same with the file's text.
    pub fn parse(text: &str, args: Args) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|error: toml::de::Error| ConfigError {
            problems: vec![error.to_string()],
        })?;
        let mut problems = Vec::new();
        let config = raw::merge(table, args, &mut problems);
        problems.extend(config.problems());
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// Checks a configuration that was put together by hand.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { problems })
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(problem) = check_address(&self.coordinator) {
            problems.push(format!("coordinator: {problem}"));
        }
        if !is_name(&self.name) {
            problems.push(format!("name: {:?} is not {NAME_RULE}", self.name));
        }
        if !(1..=crate::limits::SLOTS_MAX).contains(&self.slots) {
            problems.push(format!("slots: must be 1 to {}", crate::limits::SLOTS_MAX));
        }
        for team in self.teams.iter().filter(|team| !is_name(team)) {
            problems.push(format!("teams: {team:?} is not {NAME_RULE}"));
        }
        if !self.data_dir.is_absolute() {
            problems.push(format!(
                "data_dir: {} is not an absolute path",
                self.data_dir.display()
            ));
        }
        if self.agent_types.is_empty() {
            problems.push("agent_types: a worker without any has nothing to offer".to_owned());
        }
        for (name, agent_type) in &self.agent_types {
            if !is_name(name) {
                problems.push(format!("agent_types: {name:?} is not {NAME_RULE}"));
            }
            problems.extend(
                agent_type
                    .problems()
                    .into_iter()
                    .map(|problem| format!("agent_types.{name}: {problem}")),
            );
        }
        problems
    }
}

/// What a name may be, in words.
const NAME_RULE: &str = "1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit";

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn check_address(address: &str) -> Result<(), &'static str> {
    let uri: tonic::transport::Uri = address
        .parse()
        .map_err(|_| "is not http://host:port or host:port")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("https isn't spoken here: use http://host:port, in a tunnel where need be");
        }
        _ => return Err("is not http://host:port or host:port"),
    }
    if uri.port_u16().is_none() {
        return Err("names no port");
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("has a path, which nothing is done with");
    }
    Ok(())
}

/// The host's name as far as it is a worker's name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .take(64)
        .collect();
    if is_name(&name) {
        name
    } else {
        "worker".to_owned()
    }
}

impl fmt::Display for Config {
    /// As a file that says the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = raw::table(self);
        f.write_str(&toml::to_string_pretty(&table).map_err(|_| fmt::Error)?)
    }
}

/// Reads the token, without its line end.
pub(crate) fn read_token(path: &Path) -> Result<String, std::io::Error> {
    let text = std::fs::read_to_string(path)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "the token must be one line of visible ASCII characters";
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            problem,
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests;
