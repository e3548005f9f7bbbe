//! What people wrote: flags, environment and file, before it is checked.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr, time::Duration};

use toml::{Table, Value};

use super::{AgentType, Config, Protocol, section::Section};
use crate::sandbox::{DriverKind, Limits, Mount};

/// The flags of a worker.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "GANGER_WORKER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The coordinator's address: host:port [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR", env = "GANGER_ADDR")]
    pub coordinator: Option<String>,
    /// The worker's name, unique in the fleet [default: the host's name].
    #[arg(long, env = "GANGER_WORKER_NAME")]
    pub name: Option<String>,
    /// How many sub-agents run at once [default: the number of cores].
    #[arg(long, value_name = "N", env = "GANGER_WORKER_SLOTS")]
    pub slots: Option<usize>,
    /// A team to serve; may be repeated [default: all teams].
    #[arg(long = "team", value_name = "TEAM")]
    pub teams: Vec<String>,
    /// A label, KEY=VALUE; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Where workspaces lie [default: /var/lib/ganger/worker].
    #[arg(long, value_name = "DIR", env = "GANGER_WORKER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// How sub-agents are kept apart: native, or none [default: native].
    #[arg(long, value_name = "DRIVER", env = "GANGER_WORKER_SANDBOX")]
    pub sandbox: Option<String>,
    /// Seconds that running attempts get when the worker is told to end [default: 25].
    #[arg(long, value_name = "SECONDS", env = "GANGER_WORKER_DRAIN_SECONDS")]
    pub drain_seconds: Option<u64>,
    /// File with the fleet token.
    #[arg(long, value_name = "FILE", env = "GANGER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// What to log, as for `tracing`: info, or ganger_worker=debug [default: info].
    #[arg(long, value_name = "FILTER", env = "GANGER_LOG")]
    pub log: Option<String>,
    /// Check the configuration, print it, and end.
    #[arg(long)]
    pub check_config: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Defaults, then the file, then the flags.
pub(super) fn merge(table: Table, args: Args, problems: &mut Vec<String>) -> Config {
    let mut config = Config::default();
    let mut file = Section::root(table);

    let coordinator = file.take("coordinator", problems);
    set(
        &mut config.coordinator,
        args.coordinator.or(coordinator).map(with_scheme),
    );
    let name = file.take("name", problems);
    set(&mut config.name, args.name.or(name));
    let slots = file.take("slots", problems);
    set(&mut config.slots, args.slots.or(slots));
    let teams = file.take("teams", problems);
    set(
        &mut config.teams,
        Some(args.teams).filter(|teams| !teams.is_empty()).or(teams),
    );
    set(&mut config.labels, file.take("labels", problems));
    config.labels.extend(args.labels);
    let data_dir = file.take("data_dir", problems);
    set(&mut config.data_dir, args.data_dir.or(data_dir));
    let sandbox: Option<String> = file.take("sandbox", problems);
    match args
        .sandbox
        .or(sandbox)
        .map(|name| DriverKind::from_str(&name))
    {
        Some(Err(error)) => problems.push(format!("sandbox: {error}")),
        Some(Ok(kind)) => config.sandbox = kind,
        None => {}
    }
    let drain_seconds = file.take("drain_seconds", problems);
    set(
        &mut config.drain_span,
        args.drain_seconds
            .or(drain_seconds)
            .map(Duration::from_secs),
    );
    let token_file = file.take("token_file", problems);
    config.token_file = args.token_file.or(token_file);

    for (name, section) in file.sections("agent_types", problems) {
        let base = config
            .agent_types
            .remove(&name)
            .unwrap_or_else(|| AgentType::of_command::<String>([]));
        let agent_type = agent_type(section, base, problems);
        config.agent_types.insert(name, agent_type);
    }
    file.finish(problems);
    config
}

/// A type that is built in keeps what the file doesn't say.
fn agent_type(mut file: Section, mut base: AgentType, problems: &mut Vec<String>) -> AgentType {
    set(&mut base.description, file.take("description", problems));
    let runtime: Option<String> = file.take("runtime", problems);
    if let Some(runtime) = runtime.filter(|runtime| runtime != "command") {
        problems.push(format!(
            "{}: {runtime:?} is not built in (there is: command)",
            file.name("runtime")
        ));
    }
    set(&mut base.command, file.take("command", problems));
    match file.take::<String>("protocol", problems).as_deref() {
        None => {}
        Some("lines") => base.protocol = Protocol::Lines,
        Some("json") => base.protocol = Protocol::Json,
        Some(other) => problems.push(format!(
            "{}: {other:?} is not spoken here (there are: lines, json)",
            file.name("protocol")
        )),
    }
    set(&mut base.questions, file.take("questions", problems));
    set(&mut base.tools, file.take("tools", problems));
    set(&mut base.hiring_depth, file.take("hiring_depth", problems));
    set(&mut base.tasks_max, file.take("tasks_max", problems));
    set(
        &mut base.may_create_teams,
        file.take("may_create_teams", problems),
    );
    base.prompt_is_script = file
        .take("prompt_is_script", problems)
        .unwrap_or(base.protocol == Protocol::Lines);
    set(
        &mut base.stall_span,
        file.take("stall_seconds", problems)
            .map(Duration::from_secs),
    );
    set(
        &mut base.stop_on_lease_end,
        file.take("stop_on_lease_end", problems),
    );
    set(
        &mut base.timeout,
        file.take("timeout_seconds", problems)
            .map(Duration::from_secs),
    );
    base.env.extend(
        file.take::<BTreeMap<String, String>>("env", problems)
            .unwrap_or_default(),
    );
    set(&mut base.mounts, file.take("mounts", problems));
    if let Some(limits) = file.section("limits", problems) {
        set_limits(limits, &mut base, problems);
    }
    file.finish(problems);
    base
}

fn set_limits(mut file: Section, base: &mut AgentType, problems: &mut Vec<String>) {
    let Limits {
        open_files,
        processes,
        file_size,
        memory,
        cpu_seconds,
        tmp_size,
        shm_size,
    } = &mut base.limits;
    set(open_files, file.take("open_files", problems));
    set(processes, file.take("processes", problems));
    set(file_size, file.take("file_size_bytes", problems).map(Some));
    set(memory, file.take("memory_bytes", problems).map(Some));
    set(cpu_seconds, file.take("cpu_seconds", problems).map(Some));
    set(tmp_size, file.take("tmp_bytes", problems));
    set(shm_size, file.take("shm_bytes", problems));
    set(&mut base.output_bytes, file.take("output_bytes", problems));
    file.finish(problems);
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn with_scheme(address: String) -> String {
    if address.contains("://") {
        address
    } else {
        format!("http://{address}")
    }
}

/// A configuration as the file that says it.
pub(super) fn table(config: &Config) -> Table {
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| drop(table.insert(key.to_owned(), value));
    put("coordinator", config.coordinator.clone().into());
    put("name", config.name.clone().into());
    put("slots", number(config.slots as u64));
    put("teams", config.teams.clone().into());
    put("data_dir", config.data_dir.display().to_string().into());
    put("sandbox", config.sandbox.as_str().into());
    put("drain_seconds", number(config.drain_span.as_secs()));
    if let Some(token_file) = &config.token_file {
        put("token_file", token_file.display().to_string().into());
    }
    put("labels", strings(&config.labels).into());
    let agent_types = config
        .agent_types
        .iter()
        .map(|(name, agent_type)| (name.clone(), type_table(agent_type)));
    put("agent_types", Value::Table(agent_types.collect()));
    table
}

pub(super) fn type_table(agent_type: &AgentType) -> Value {
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| drop(table.insert(key.to_owned(), value));
    put("description", agent_type.description.clone().into());
    put("runtime", "command".into());
    put("command", agent_type.command.clone().into());
    put("protocol", agent_type.protocol.as_str().into());
    put("questions", number(u64::from(agent_type.questions)));
    put("tools", agent_type.tools.clone().into());
    put("hiring_depth", number(u64::from(agent_type.hiring_depth)));
    put("tasks_max", number(u64::from(agent_type.tasks_max)));
    put("may_create_teams", agent_type.may_create_teams.into());
    put("prompt_is_script", agent_type.prompt_is_script.into());
    put("stall_seconds", number(agent_type.stall_span.as_secs()));
    put("stop_on_lease_end", agent_type.stop_on_lease_end.into());
    put("timeout_seconds", number(agent_type.timeout.as_secs()));
    put(
        "mounts",
        agent_type
            .mounts
            .iter()
            .map(mount)
            .collect::<Vec<_>>()
            .into(),
    );
    put("env", strings(&agent_type.env).into());
    put("limits", limits(agent_type).into());
    table.into()
}

fn mount(mount: &Mount) -> Value {
    let entry = |key: &str, path: &std::path::Path| {
        (key.to_owned(), Value::from(path.display().to_string()))
    };
    Table::from_iter([
        entry("source", &mount.source),
        entry("target", &mount.target),
    ])
    .into()
}

fn limits(agent_type: &AgentType) -> Table {
    let Limits {
        open_files,
        processes,
        file_size,
        memory,
        cpu_seconds,
        tmp_size,
        shm_size,
    } = agent_type.limits;
    [
        ("open_files", Some(open_files)),
        ("processes", Some(processes)),
        ("file_size_bytes", file_size),
        ("memory_bytes", memory),
        ("cpu_seconds", cpu_seconds),
        ("tmp_bytes", Some(tmp_size)),
        ("shm_bytes", Some(shm_size)),
        ("output_bytes", Some(agent_type.output_bytes)),
    ]
    .into_iter()
    .filter_map(|(key, limit)| Some((key.to_owned(), number(limit?))))
    .collect()
}

fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn strings(map: &BTreeMap<String, String>) -> Table {
    map.iter()
        .map(|(key, value)| (key.clone(), Value::from(value.clone())))
        .collect()
}
