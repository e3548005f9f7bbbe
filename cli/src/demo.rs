//! `ganger demo`: the main job on real input, from an empty directory to a verified report.
//!
//! A coordinator and two workers of this process, a board of six tasks over a code base, each done
//! by a sub-agent in a sandbox of its own that sees the code base read-only. What the demo shows is
//! what the board says; it is a client like any other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use ganger_worker::{
    AgentType,
    sandbox::{DriverKind, Mount},
};

use crate::{
    board::{Board, live},
    client::Client,
    config::Settings,
    context::Context,
    failure::{Exit, Failure},
    follow::Events,
    local::Local,
    output::faint,
    signals::Interrupts,
};

mod plan;
mod script;
mod story;

/// The demo's team.
const TEAM: &str = "demo";
/// The type that its tasks name.
const AGENT_TYPE: &str = "shell";
/// Below this much free room its coordinator takes no more work, in bytes.
const DISK_FLOOR_BYTES: u64 = 64 * 1024 * 1024;
/// Where a sub-agent sees the code base.
const REPO: &str = "/repo";
/// So many workers, with so many slots each: the four analyses run side by side.
const WORKERS: usize = 2;
const SLOTS: usize = 2;

/// On what, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing of the code base is changed, and nothing leaves this machine. Exit 0 when the report is
written and verified, else the cause and what to do.")]
pub struct Args {
    /// The code base to look at: any directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Where the report goes [default: a new directory for temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the board's data, rather than remove it at the end
    #[arg(long)]
    keep: bool,
    /// How sub-agents are kept apart: native, or none
    #[arg(long, value_name = "DRIVER", default_value = "native")]
    sandbox: DriverKind,
}

/// Does it all.
///
/// # Errors
/// What is missing on this machine, or went wrong.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let began = Instant::now();
    let mut interrupts = Interrupts::listen()
        .map_err(|error| Failure::local(format!("can't listen to signals: {error}")))?;
    let repo = code_base(&args.repo)?;
    let data = new_dir("ganger-demo-")?;
    if crate::config::wants_log() {
        ganger_coordinator::telemetry::init(false);
    }
    let out = context.out;
    out.note(&faint(&format!("looking at {}", repo.display())));

    let mut local = start(&repo, data.path(), args.sandbox).await?;
    let client = Client::connect(&settings(&local, context)).await?;
    let work = async {
        plan::make(&client).await?;
        let events = Events::after(&client, Some(0));
        live(&client, out, events, Board::is_done).await
    };
    let worked = tokio::select! {
        worked = context.within(work) => worked.map(Some),
        failure = local.failed() => Err(failure),
        () = interrupts.next() => Ok(None),
    };
    let told = match worked {
        Ok(Some(_)) => story::tell(&client, args.out.as_deref(), began, context)
            .await
            .map(Some),
        Ok(None) => Ok(None),
        Err(failure) => Err(failure),
    };

    let stopping = async {
        if !matches!(told, Ok(Some(_))) {
            local.hurry();
        }
        local.stop().await
    };
    let stopped = tokio::select! {
        stopped = stopping => stopped,
        () = interrupts.next() => return Ok(Exit::Interrupted),
    };
    if args.keep {
        out.note(&format!(
            "the board's data is kept in {}",
            data.keep().display()
        ));
    }
    match told? {
        Some(exit) => stopped.map(|()| exit),
        None => {
            out.note("interrupted: the board did not end, and there is no report");
            Ok(Exit::Interrupted)
        }
    }
}

/// The directory to look at, by its full path.
fn code_base(path: &Path) -> Result<PathBuf, Failure> {
    let next = "name a directory with --repo";
    let repo = path.canonicalize().map_err(|error| {
        Failure::local_next(format!("can't look at {}: {error}", path.display()), next)
    })?;
    if !repo.is_dir() {
        let what = format!("{} is not a directory", repo.display());
        return Err(Failure::local_next(what, next));
    }
    if repo.to_str().is_none() {
        let what = format!("the path of {} is not UTF-8", repo.display());
        return Err(Failure::local_next(
            what,
            "move or link it to a path that is",
        ));
    }
    Ok(repo)
}

fn new_dir(prefix: &str) -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(|error| {
            Failure::local_next(
                format!("can't make a temporary directory: {error}"),
                "make room, or name another place with TMPDIR",
            )
        })
}

/// Starts the coordinator on a free port, and the workers that dial it.
async fn start(repo: &Path, data: &Path, sandbox: DriverKind) -> Result<Local, Failure> {
    let config = ganger_coordinator::Config::load(&ganger_coordinator::Args {
        addr: Some("127.0.0.1:0".into()),
        data_dir: Some(data.join("coordinator")),
        // The plan may be on the board before the first worker is there.
        expect_types: vec![AGENT_TYPE.into()],
        // A temporary directory may be small, or nearly full, and do for this.
        disk_floor_bytes: Some(DISK_FLOOR_BYTES),
        disk_floor_percent: Some(0),
        disk_reserve_bytes: Some(0),
        ..ganger_coordinator::Args::default()
    })
    .map_err(|error| Failure::local(error.to_string()))?;
    let mut local = Local::start(config).await?;
    for number in 1..=WORKERS {
        let name = format!("worker-{number}");
        local.work(ganger_worker::Config {
            coordinator: format!("http://{}", local.addr()),
            data_dir: data.join(&name),
            name,
            slots: SLOTS,
            sandbox,
            agent_types: BTreeMap::from([(AGENT_TYPE.to_owned(), agent_type(repo))]),
            ..ganger_worker::Config::default()
        });
    }
    Ok(local)
}

/// The shell type, with the code base in its sight.
fn agent_type(repo: &Path) -> AgentType {
    let mut agent_type = AgentType::shell();
    agent_type.mounts.push(Mount {
        source: repo.into(),
        target: REPO.into(),
    });
    // Without a sandbox nothing is mounted, and the worker puts the host's path here.
    agent_type
        .env
        .insert(script::REPO_VARIABLE.into(), REPO.into());
    agent_type
}

/// Everything as the user set it, but the coordinator and the team are the demo's.
fn settings(local: &Local, context: &Context) -> Settings {
    Settings {
        addr: local.addr().to_string(),
        token_file: None,
        team: Some(TEAM.into()),
        member: None,
        because_of: None,
        on_behalf_of: None,
        ..context.settings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_base_is_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();

        assert!(code_base(dir.path()).is_ok());
        for path in [file, dir.path().join("absent")] {
            let failure = code_base(&path).unwrap_err();
            assert_eq!(
                failure.next().as_deref(),
                Some("name a directory with --repo")
            );
        }
    }
}
