//! How the coordinator is set up: flags over environment over file over defaults.
//!
//! What was given is read into [`Args`] and a file's [`Raw`]; [`Config`] is what was found sound.
//! All problems are told at once. The environment is read here, by clap, and nowhere else.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use board::{command::TasksKept, id::AgentTypeName, limits::RunningLimits};
use serde::Deserialize;

use crate::{
    disk::{DiskFloor, RESERVE_BYTES},
    fleet::Leases,
    grpc::UNREAD_MAX,
    store::Retention,
};

#[cfg(test)]
mod tests;

/// Where a coordinator listens when nothing is said.
pub const DEFAULT_ADDR: &str = "127.0.0.1:50051";
/// Where the daemon keeps its data when nothing is said.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/ganger";

/// The shortest heartbeat and lease.
const HEARTBEAT_MIN: Duration = Duration::from_millis(200);
const LEASE_MIN: Duration = Duration::from_secs(1);
/// A lease must outlast a lost heartbeat.
const LEASE_PER_HEARTBEAT_MIN: u32 = 2;

/// How long a dissolved team is kept when nothing is said.
const TEAMS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Who waits for a task, or polls for it, must get to see how it ended.
const TASKS_KEPT_FOR_MIN: Duration = Duration::from_secs(1);

/// How long a watcher may take nothing when nothing is said.
const WATCH_PATIENCE: Duration = Duration::from_secs(30);
const WATCH_PATIENCE_MIN: Duration = Duration::from_secs(1);

/// One answer that is as large as may be must find room, with others beside it.
const UNREAD_MIN: usize = 8 * 1024 * 1024;

/// Keeps teams, tasks and mailboxes, and serves them over gRPC.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A TOML file with these settings; flags and environment go before it.
    #[arg(long, value_name = "FILE", env = "GANGER_COORDINATOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:50051].
    #[arg(long, value_name = "HOST:PORT", env = "GANGER_ADDR")]
    pub addr: Option<String>,
    /// Where the data lies [default: /var/lib/ganger].
    #[arg(long, value_name = "DIR", env = "GANGER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// A file with the fleet token, which every call must then carry.
    #[arg(long, value_name = "FILE", env = "GANGER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Listen beyond loopback without a token.
    #[arg(long)]
    pub insecure: bool,
    /// An agent type that tasks may name before any worker offered it; may be given again.
    #[arg(long = "expect-type", value_name = "NAME")]
    pub expect_types: Vec<String>,
    /// The agent type of members that `spawn_team` makes without one [default: general-purpose].
    #[arg(long, value_name = "NAME")]
    pub default_agent_type: Option<String>,
    /// How often workers say that they live [default: 5s, at least 200ms].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub heartbeat: Option<Duration>,
    /// How long after its last sign of life a worker keeps its attempts [default: 15s, at least
    /// 1s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lease: Option<Duration>,
    /// How long after a start workers may take to come back with what they hold [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub grace: Option<Duration>,
    /// How many of its events are kept of each team [default: 1000000].
    #[arg(long, value_name = "N")]
    pub events_kept: Option<u64>,
    /// How long events are kept [default: 30days].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub events_kept_for: Option<Duration>,
    /// How long a dissolved team is kept to be looked at [default: 30days].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub teams_kept_for: Option<Duration>,
    /// How many finished tasks are kept of each team [default: 1000000].
    #[arg(long, value_name = "N")]
    pub tasks_kept: Option<usize>,
    /// How long finished tasks are kept [default: 90days].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub tasks_kept_for: Option<Duration>,
    /// How long a watcher may take nothing while there is something to tell it [default: 30s, at
    /// least 1s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub watch_patience: Option<Duration>,
    /// How many connections one address may have, loopback excepted [default: half of all that the
    /// limit of open files allows].
    #[arg(long, value_name = "N")]
    pub connections_per_address: Option<usize>,
    /// Bytes of answers that all connections together may leave unread: beyond that, the one with
    /// most of them is cut [default: 134217728, at least 8388608].
    #[arg(long, value_name = "BYTES")]
    pub unread_bytes: Option<usize>,
    /// With less of the disk free, only what ends or takes away something is taken [default:
    /// 536870912].
    #[arg(long, value_name = "BYTES")]
    pub disk_floor_bytes: Option<u64>,
    /// The same in parts of a hundred; whichever is more counts [default: 5].
    #[arg(long, value_name = "N")]
    pub disk_floor_percent: Option<u8>,
    /// How much of the disk is held free in the data directory, to be given up last [default:
    /// 67108864].
    #[arg(long, value_name = "BYTES")]
    pub disk_reserve_bytes: Option<u64>,
    /// Threads for network work [default: 1, which is the fastest on few cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Log lines as JSON.
    #[arg(long, env = "GANGER_LOG_JSON")]
    pub log_json: bool,
    /// Start although something that was durable is missing, and go on without it: with a new epoch,
    /// and all counters raised. What is missing is in the log, and in an event of each team.
    #[arg(long)]
    pub accept_loss: bool,
    /// Say whether the settings are sound, print them, and end.
    #[arg(long)]
    pub check_config: bool,
}

/// The settings of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    addr: Option<String>,
    data_dir: Option<PathBuf>,
    token_file: Option<PathBuf>,
    insecure: Option<bool>,
    expect_types: Option<Vec<String>>,
    default_agent_type: Option<String>,
    heartbeat: Option<String>,
    lease: Option<String>,
    grace: Option<String>,
    events_kept: Option<u64>,
    events_kept_for: Option<String>,
    teams_kept_for: Option<String>,
    tasks_kept: Option<usize>,
    tasks_kept_for: Option<String>,
    disk_floor_bytes: Option<u64>,
    disk_floor_percent: Option<u8>,
    disk_reserve_bytes: Option<u64>,
    watch_patience: Option<String>,
    connections_per_address: Option<usize>,
    unread_bytes: Option<usize>,
    threads: Option<usize>,
    limits: Option<RawLimits>,
}

/// How many tasks run at once at the most, in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    #[serde(default)]
    agent_types: BTreeMap<String, u32>,
    #[serde(default)]
    labels: BTreeMap<String, u32>,
}

/// Sound settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub addr: SocketAddr,
    /// Where the data lies.
    pub data_dir: PathBuf,
    /// What every call must carry.
    pub token: Option<Token>,
    /// Agent types that tasks may name before any worker offered them.
    pub expected_types: Vec<AgentTypeName>,
    /// The agent type of members that `spawn_team` makes without one.
    pub default_agent_type: AgentTypeName,
    /// The spans by which workers are judged.
    pub leases: Leases,
    /// How long events are kept.
    pub retention: Retention,
    /// How long a dissolved team is kept.
    pub teams_kept_for: Duration,
    /// How long finished tasks are kept.
    pub tasks_kept: TasksKept,
    /// From when on the disk is nearly full.
    pub disk_floor: DiskFloor,
    /// How many bytes of the disk are held free to be given up last.
    pub disk_reserve: u64,
    /// How long a watcher may take nothing while there is something to tell it.
    pub watch_patience: Duration,
    /// How many connections one address may have; half of all unless it is said.
    pub connections_per_address: Option<usize>,
    /// Bytes of answers that all connections together may leave unread.
    pub unread_bytes: usize,
    /// Threads for network work.
    pub threads: usize,
    /// Go on without what was durable and is missing.
    pub accept_loss: bool,
    /// How many tasks workers run at once at the most.
    pub limits: RunningLimits,
}

/// The fleet token. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads a token from a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("token file {}: {error}", path.display()))?;
        let text = text.trim();
        let is_sound = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_sound {
            return Err(format!(
                "token file {}: holds no token (one line of printable ASCII)",
                path.display()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token itself, for those who compare or send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// The settings of a coordinator on this machine, all by default but these.
    pub fn local(addr: SocketAddr, data_dir: PathBuf) -> Self {
        Self {
            addr,
            data_dir,
            token: None,
            expected_types: Vec::new(),
            default_agent_type: default_agent_type(),
            leases: Leases::default(),
            retention: Retention::default(),
            teams_kept_for: TEAMS_KEPT_FOR,
            tasks_kept: TasksKept::default(),
            disk_floor: DiskFloor::default(),
            disk_reserve: RESERVE_BYTES,
            watch_patience: WATCH_PATIENCE,
            connections_per_address: None,
            unread_bytes: UNREAD_MAX,
            threads: 1,
            accept_loss: false,
            limits: RunningLimits::default(),
        }
    }

    /// Finds out whether the settings are sound.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let raw = match &args.config {
            Some(path) => read(path).unwrap_or_else(|problem| {
                problems.push(problem);
                Raw::default()
            }),
            None => Raw::default(),
        };
        let config = merge(args, raw, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError(problems)),
        }
    }
}

fn read(path: &Path) -> Result<Raw, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error: io::Error| format!("config file {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("config file {}: {error}", path.display()))
}

/// A span that is given as a flag, else in the file, else by default.
fn span(
    name: &str,
    flag: Option<Duration>,
    file: Option<String>,
    default: Duration,
    problems: &mut Vec<String>,
) -> Duration {
    match (flag, file) {
        (Some(span), _) => span,
        (None, Some(text)) => humantime::parse_duration(&text).unwrap_or_else(|error| {
            problems.push(format!("{name} {text:?}: {error}"));
            default
        }),
        (None, None) => default,
    }
}

fn merge(args: &Args, raw: Raw, problems: &mut Vec<String>) -> Option<Config> {
    let retention = retention(args, &raw, problems);
    let tasks_kept = tasks_kept(args, &raw, problems);
    let disk_floor = disk_floor(args, &raw, problems);
    let disk_reserve = args.disk_reserve_bytes.or(raw.disk_reserve_bytes);
    let limits = limits(raw.limits.unwrap_or_default(), problems);
    let defaults = Leases::default();
    let mut leases = Leases {
        heartbeat: span(
            "heartbeat",
            args.heartbeat,
            raw.heartbeat,
            defaults.heartbeat,
            problems,
        ),
        lease: span("lease", args.lease, raw.lease, defaults.lease, problems),
        grace: span("grace", args.grace, raw.grace, defaults.grace, problems),
        ..defaults
    };
    check_leases(&leases, problems);
    // A worker that misses a heartbeat is not silent yet; one whose lease is about to end is.
    leases.silence = leases.silence.max(leases.heartbeat * 2);
    leases.silence = leases.silence.min(leases.lease * 2 / 3);

    let teams_kept_for = span(
        "teams_kept_for",
        args.teams_kept_for,
        raw.teams_kept_for,
        TEAMS_KEPT_FOR,
        problems,
    );

    let watch_patience = span(
        "watch_patience",
        args.watch_patience,
        raw.watch_patience,
        WATCH_PATIENCE,
        problems,
    );
    if watch_patience < WATCH_PATIENCE_MIN {
        problems.push(format!("watch_patience: is below {WATCH_PATIENCE_MIN:?}"));
    }

    let connections_per_address = args.connections_per_address;
    let connections_per_address = connections_per_address.or(raw.connections_per_address);
    if connections_per_address == Some(0) {
        problems.push("connections_per_address: is not even one".into());
    }
    let unread_bytes = args.unread_bytes.or(raw.unread_bytes);
    let unread_bytes = unread_bytes.unwrap_or(UNREAD_MAX);
    if unread_bytes < UNREAD_MIN {
        problems.push(format!("unread_bytes: is below {UNREAD_MIN}"));
    }

    let text = args.addr.clone().or(raw.addr);
    let text = text.as_deref().unwrap_or(DEFAULT_ADDR);
    let addr = text.parse::<SocketAddr>();
    if addr.is_err() {
        problems.push(format!(
            "addr {text:?}: is no IP address with a port, such as {DEFAULT_ADDR}"
        ));
    }
    let token_file = args.token_file.clone().or(raw.token_file);
    let token = token_file.and_then(|path| {
        let token = Token::read(&path);
        token.map_err(|problem| problems.push(problem)).ok()
    });
    let is_insecure = args.insecure || raw.insecure.unwrap_or(false);
    if let Ok(addr) = addr
        && !addr.ip().is_loopback()
        && token.is_none()
        && !is_insecure
    {
        problems.push(format!(
            "addr {addr}: listening beyond loopback wants a token (--token-file FILE), or your \
             word that anybody may come in (--insecure)"
        ));
    }

    let names = if args.expect_types.is_empty() {
        raw.expect_types.unwrap_or_default()
    } else {
        args.expect_types.clone()
    };
    let mut expected_types = Vec::new();
    for name in names {
        match AgentTypeName::parse(&name) {
            Ok(name) => expected_types.push(name),
            Err(why) => problems.push(format!("expect-type {name:?} {why}")),
        }
    }
    let default_type = args.default_agent_type.clone().or(raw.default_agent_type);
    let default_type = default_type.map(|name| match AgentTypeName::parse(&name) {
        Ok(name) => name,
        Err(why) => {
            problems.push(format!("default_agent_type: {name:?} {why}"));
            default_agent_type()
        }
    });
    Some(Config {
        addr: addr.ok()?,
        data_dir: args
            .data_dir
            .clone()
            .or(raw.data_dir)
            .unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
        token,
        expected_types,
        default_agent_type: default_type.unwrap_or_else(default_agent_type),
        leases,
        retention,
        teams_kept_for,
        tasks_kept,
        disk_floor,
        disk_reserve: disk_reserve.unwrap_or(RESERVE_BYTES),
        watch_patience,
        connections_per_address,
        unread_bytes,
        threads: args.threads.or(raw.threads).unwrap_or(1).max(1),
        accept_loss: args.accept_loss,
        limits,
    })
}

/// What lead agents take for granted that there is.
fn default_agent_type() -> AgentTypeName {
    AgentTypeName::parse("general-purpose").expect("a name by itself")
}

fn retention(args: &Args, raw: &Raw, problems: &mut Vec<String>) -> Retention {
    let defaults = Retention::default();
    let count = args.events_kept.or(raw.events_kept);
    let count = count.unwrap_or(defaults.count);
    if count == 0 {
        problems.push("events_kept: is not even one".into());
    }
    let span = span(
        "events_kept_for",
        args.events_kept_for,
        raw.events_kept_for.clone(),
        defaults.span,
        problems,
    );
    Retention { count, span }
}

fn tasks_kept(args: &Args, raw: &Raw, problems: &mut Vec<String>) -> TasksKept {
    let defaults = TasksKept::default();
    let count = args.tasks_kept.or(raw.tasks_kept);
    let count = count.unwrap_or(defaults.count);
    if count == 0 {
        problems.push("tasks_kept: is not even one".into());
    }
    let span = span(
        "tasks_kept_for",
        args.tasks_kept_for,
        raw.tasks_kept_for.clone(),
        defaults.span,
        problems,
    );
    if span < TASKS_KEPT_FOR_MIN {
        problems.push(format!("tasks_kept_for: is below {TASKS_KEPT_FOR_MIN:?}"));
    }
    TasksKept { count, span }
}

fn disk_floor(args: &Args, raw: &Raw, problems: &mut Vec<String>) -> DiskFloor {
    let defaults = DiskFloor::default();
    let bytes = args.disk_floor_bytes.or(raw.disk_floor_bytes);
    let percent = args.disk_floor_percent.or(raw.disk_floor_percent);
    let percent = percent.unwrap_or(defaults.percent);
    if percent > 100 {
        problems.push(format!(
            "disk_floor_percent: {percent} is more than the whole"
        ));
    }
    DiskFloor {
        bytes: bytes.unwrap_or(defaults.bytes),
        percent,
    }
}

/// The bounds on what runs. 0 is a bound like any: nothing of that runs.
fn limits(raw: RawLimits, problems: &mut Vec<String>) -> RunningLimits {
    let mut limits = RunningLimits::default();
    for (name, max) in raw.agent_types {
        check_bound("agent_types", &name, max, problems);
        match AgentTypeName::parse(&name) {
            Ok(agent_type) => {
                limits.agent_types.insert(agent_type, max);
            }
            Err(why) => problems.push(format!("limits.agent_types: {name:?} {why}")),
        }
    }
    for (label, max) in raw.labels {
        check_bound("labels", &label, max, problems);
        let chars = label.chars().count();
        if label.trim().is_empty() || chars > board::limits::LABEL_CHARS_MAX {
            problems.push(format!("limits.labels: {label:?} is no label of a task"));
        }
        limits.labels.insert(label.into(), max);
    }
    limits
}

fn check_bound(of: &str, name: &str, max: u32, problems: &mut Vec<String>) {
    let most = board::limits::RUNNING_MAX;
    if max > most {
        problems.push(format!(
            "limits.{of}: {name:?} is {max}, and may be {most} at the most"
        ));
    }
}

fn check_leases(leases: &Leases, problems: &mut Vec<String>) {
    if leases.heartbeat < HEARTBEAT_MIN {
        problems.push(format!("heartbeat: is below {HEARTBEAT_MIN:?}"));
    }
    if leases.lease < LEASE_MIN {
        problems.push(format!("lease: is below {LEASE_MIN:?}"));
    }
    if leases.lease < leases.heartbeat * LEASE_PER_HEARTBEAT_MIN {
        problems.push("lease: is less than two heartbeats, so that one lost would end it".into());
    }
}
