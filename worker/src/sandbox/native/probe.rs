//! Finding out what the native driver holds here, by starting real sandboxes and trying to break out.

use std::{
    fs::DirBuilder,
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::{fs::DirBuilderExt, net},
    },
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    time::timeout,
};

use super::NativeDriver;
use crate::sandbox::{
    Assurance, Command, Control, Diagnosis, DriverKind, Level, Mount, ProbeReport, Sandbox,
    SandboxError, SandboxId, SandboxSpec,
    launcher::{
        CHECKS_PATH,
        checks::{self, Check},
    },
    tree,
};

/// The checks take milliseconds; one that hangs is a finding.
const CHECKS_SPAN_MAX: Duration = Duration::from_secs(20);

/// Runs every check, and judges.
pub(super) async fn probe(driver: &NativeDriver) -> ProbeReport {
    let mode = if driver.slots.is_some() {
        "root: each sandbox has a user of its own"
    } else {
        "ordinary user: each sandbox has a user namespace"
    };
    let (assurance, refusal) = match attempt(driver).await {
        Ok((assurance, refusal)) => (assurance, refusal),
        Err(error) => (Assurance::default(), Some(error.into_diagnosis())),
    };
    ProbeReport {
        driver: DriverKind::Native,
        mode: mode.to_owned(),
        assurance,
        refusal,
    }
}

/// What of the host the sandbox must not reach, and its workspace; all gone when dropped.
struct Bait {
    dir: PathBuf,
    listener: TcpListener,
    socket: String,
    _abstract: net::UnixListener,
}

impl Bait {
    fn lay() -> io::Result<Self> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let socket = format!("ganger-probe-{}-{}", std::process::id(), now.as_nanos());
        let dir = std::env::temp_dir().join(&socket);
        DirBuilder::new().mode(0o700).create(&dir)?;
        std::fs::create_dir(dir.join("workspace"))?;
        std::fs::write(dir.join("secret"), "secret")?;
        let address = net::SocketAddr::from_abstract_name(&socket)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        Ok(Self {
            dir,
            listener,
            socket,
            _abstract: net::UnixListener::bind_addr(&address)?,
        })
    }

    fn spec(&self) -> io::Result<SandboxSpec> {
        let id = SandboxId::try_from("probe".to_owned()).expect("a plain word is an id");
        let mut spec = SandboxSpec::new(id, self.dir.join("workspace"));
        spec.read_only.push(Mount {
            source: std::env::current_exe()?,
            target: CHECKS_PATH.into(),
        });
        spec.env = [
            (
                checks::SECRET_PATH,
                self.dir.join("secret").display().to_string(),
            ),
            (
                checks::HOST_PORT,
                self.listener.local_addr()?.port().to_string(),
            ),
            (checks::HOST_SOCKET, self.socket.clone()),
            (checks::OPEN_FILES, spec.limits.open_files.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        Ok(spec)
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // Left in the temporary directory at worst.
        let _ = tree::remove_tree(&self.dir);
    }
}

async fn attempt(driver: &NativeDriver) -> Result<(Assurance, Option<Diagnosis>), SandboxError> {
    let bait = Bait::lay().map_err(SandboxError::worker("prepare the probe"))?;
    let spec = bait
        .spec()
        .map_err(SandboxError::worker("prepare the probe"))?;
    let sandbox = driver.create(spec).await?;
    let mut assurance = sandbox.assurance().clone();
    let checking = timeout(CHECKS_SPAN_MAX, run_checks(&sandbox));
    let checks = checking
        .await
        .map_err(|_| SandboxError::Launcher("did not finish the checks"))??;
    let dies = timeout(CHECKS_SPAN_MAX, daemon_dies(&sandbox))
        .await
        .unwrap_or(Ok(false))?;
    if !dies {
        assurance.set(
            Control::Kill,
            Level::missing("a daemon outlived its sandbox", ""),
        );
    }

    let mut broken = Vec::new();
    for Check {
        control,
        claim,
        seen,
        may_lapse,
    } in checks
    {
        let Some(seen) = seen else { continue };
        let reason = format!("not so: {claim}: {seen}");
        if may_lapse {
            // Known and told: what would hold it is another wall.
            assurance.set(control, Level::degraded(reason));
        } else {
            assurance.set(control, Level::missing(reason.clone(), ""));
            broken.push(reason);
        }
    }
    if !dies {
        broken.push("a daemon outlived its sandbox".to_owned());
    }
    let refusal = (!broken.is_empty()).then(|| {
        Diagnosis::new(
            format!("the sandbox does not hold: {}", broken.join("; ")),
            &["report what `ganger doctor` prints"],
        )
    });
    Ok((assurance, refusal))
}

async fn run_checks(sandbox: &dyn Sandbox) -> Result<Vec<Check>, SandboxError> {
    let mut process = sandbox.exec(Command::new([CHECKS_PATH])).await?;
    let mut text = String::new();
    let stdout = process.stdout.as_mut().expect("nobody took it yet");
    stdout
        .read_to_string(&mut text)
        .await
        .map_err(SandboxError::worker("read the checks"))?;
    if !process.wait().await?.is_success() {
        return Err(SandboxError::Launcher("could not run the checks"));
    }
    text.lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(io::Error::from)
        .map_err(SandboxError::worker("read the checks"))
}

/// Leaves a daemon in the sandbox and kills it: its output ends only when it is dead.
async fn daemon_dies(sandbox: &dyn Sandbox) -> Result<bool, SandboxError> {
    let mut process = sandbox
        .exec(Command::new([CHECKS_PATH, checks::LINGER]))
        .await?;
    let mut stdout = BufReader::new(process.stdout.take().expect("nobody took it yet"));
    let mut line = String::new();
    let read = stdout
        .read_line(&mut line)
        .await
        .map_err(SandboxError::worker("read the daemon"))?;
    sandbox.kill().await?;
    let rest = stdout
        .read_line(&mut line)
        .await
        .map_err(SandboxError::worker("read the daemon"))?;
    Ok(read > 0 && rest == 0)
}
