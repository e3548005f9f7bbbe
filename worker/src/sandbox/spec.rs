//! What a sandbox is asked to be: plain values, checked before anything is started.
//!
//! The same values travel to the launcher, so paths and strings are UTF-8.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Where a sandbox's workspace lies inside it.
pub const WORKSPACE: &str = "/workspace";

/// First path components that a mount may not take: the sandbox itself fills them, or an agent may write
/// there, and nothing is ever mounted beneath what an agent can write.
const RESERVED: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "nix",
    "proc",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "workspace",
];

/// Names a sandbox; unique among the live ones of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxId(String);

impl SandboxId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SandboxId {
    type Error = InvalidSpec;

    /// 1 to 128 of `A-Z a-z 0-9 . _ -`, not starting with a dot: it is a file name and a process argument.
    fn try_from(id: String) -> Result<Self, InvalidSpec> {
        let fits = (1..=128).contains(&id.len())
            && !id.starts_with('.')
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits {
            Ok(Self(id))
        } else {
            Err(InvalidSpec::Id(id))
        }
    }
}

impl From<SandboxId> for String {
    fn from(id: SandboxId) -> Self {
        id.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything a driver needs to make a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// Its name.
    pub id: SandboxId,
    /// The host directory that becomes [`WORKSPACE`], writable. Only this worker may write its parent.
    pub workspace: PathBuf,
    /// What else is visible, read-only: directories or single files.
    pub read_only: Vec<Mount>,
    /// The whole environment of every program in it.
    pub env: BTreeMap<String, String>,
    /// Bounds on what it may use.
    pub limits: Limits,
    /// What it may reach.
    pub net: NetPolicy,
}

/// A host path and where it is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The directory or file on the host.
    pub source: PathBuf,
    /// Its absolute path in the sandbox, such as `/repo`.
    pub target: PathBuf,
}

/// Bounds that the kernel holds by itself. Wall time and output are the runner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open descriptors per process.
    pub open_files: u64,
    /// Processes and threads of the sandbox.
    pub processes: u64,
    /// Bytes of one file.
    pub file_size: Option<u64>,
    /// Bytes of writable private memory per process.
    pub memory: Option<u64>,
    /// Processor seconds per process.
    pub cpu_seconds: Option<u64>,
    /// Bytes of `/tmp`, which lives in memory.
    pub tmp_size: u64,
    /// Bytes of `/dev/shm`, which lives in memory.
    pub shm_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_files: 1024,
            processes: 512,
            file_size: Some(4 << 30),
            memory: Some(4 << 30),
            cpu_seconds: None,
            tmp_size: 256 << 20,
            shm_size: 64 << 20,
        }
    }
}

/// What a sandbox may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetPolicy {
    /// Nothing but its own loopback.
    #[default]
    None,
}

/// A program to run in a sandbox, with the workspace as its working directory.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program and its arguments. A name without a slash is looked up in the spec's `PATH`.
    pub argv: Vec<String>,
    /// What the program reads.
    pub stdin: Stdin,
}

impl Command {
    /// A command that reads nothing.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Stdin::Null,
        }
    }
}

/// A program's standard input.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// What is written to [`super::Process::stdin`], and the end when that is dropped.
    Open,
}

/// Why a spec or command was refused before anything was started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// An id outside the alphabet.
    #[error("sandbox id {0:?} is not 1-128 of A-Z a-z 0-9 . _ - without a leading dot")]
    Id(String),
    /// A host path that is not absolute.
    #[error("path {0:?} is not absolute")]
    NotAbsolute(PathBuf),
    /// A mount target that is not a plain absolute path, or is one that the sandbox fills itself.
    #[error("mount target {0:?} is not a plain absolute path outside the system directories")]
    Target(PathBuf),
    /// Two mounts of which one lies at or beneath the other.
    #[error("mount target {0:?} lies at or beneath another mount's target")]
    Overlap(PathBuf),
    /// An environment name that is empty or holds `=` or NUL, or a value with NUL.
    #[error("environment variable {0:?} has a name or value that cannot be passed")]
    Env(String),
    /// A command without a program, or an argument with NUL.
    #[error("the command is empty or holds a NUL byte")]
    Argv,
    /// A limit that leaves nothing to run with.
    #[error("limits must allow at least 8 open files, 1 process and 1 byte of each size")]
    Limits,
}

impl SandboxSpec {
    /// A spec with default limits, no mounts and an empty environment.
    pub fn new(id: SandboxId, workspace: impl Into<PathBuf>) -> Self {
        Self {
            id,
            workspace: workspace.into(),
            read_only: Vec::new(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            net: NetPolicy::None,
        }
    }

    /// Checks everything that can be known without looking at the file system.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        if !self.workspace.is_absolute() {
            return Err(InvalidSpec::NotAbsolute(self.workspace.clone()));
        }
        for (index, mount) in self.read_only.iter().enumerate() {
            if !mount.source.is_absolute() {
                return Err(InvalidSpec::NotAbsolute(mount.source.clone()));
            }
            if !is_free_target(&mount.target) {
                return Err(InvalidSpec::Target(mount.target.clone()));
            }
            let nested = self.read_only[..index].iter().any(|earlier| {
                earlier.target.starts_with(&mount.target)
                    || mount.target.starts_with(&earlier.target)
            });
            if nested {
                return Err(InvalidSpec::Overlap(mount.target.clone()));
            }
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(InvalidSpec::Env(name.clone()));
            }
        }
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<(), InvalidSpec> {
        let sizes = [
            self.file_size,
            self.memory,
            self.cpu_seconds,
            Some(self.tmp_size),
            Some(self.shm_size),
        ];
        if self.open_files < 8
            || self.processes < 1
            || sizes.into_iter().flatten().any(|size| size < 1)
        {
            return Err(InvalidSpec::Limits);
        }
        Ok(())
    }
}

impl Command {
    /// Checks that the kernel can be given this command.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        let named = self.argv.first().is_some_and(|program| !program.is_empty());
        if !named || self.argv.iter().any(|argument| argument.contains('\0')) {
            return Err(InvalidSpec::Argv);
        }
        Ok(())
    }
}

fn is_free_target(target: &Path) -> bool {
    let mut components = target.components();
    if components.next() != Some(Component::RootDir) {
        return false;
    }
    let mut names = Vec::new();
    for component in components {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return false,
        }
    }
    names
        .first()
        .is_some_and(|first| !RESERVED.iter().any(|reserved| first == reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_with(target: &str) -> SandboxSpec {
        let id = SandboxId::try_from("t".to_owned()).unwrap();
        let mut spec = SandboxSpec::new(id, "/w");
        spec.read_only.push(Mount {
            source: "/src".into(),
            target: target.into(),
        });
        spec
    }

    #[test]
    fn mount_targets_keep_off_what_the_sandbox_fills_or_an_agent_writes() {
        for taken in [
            "/workspace",
            "/workspace/a",
            "/tmp/x",
            "/etc",
            "/usr/local",
            "/proc/1",
            "/",
            "repo",
            "/a/../tmp",
        ] {
            let refused = spec_with(taken).check();

            assert_eq!(refused, Err(InvalidSpec::Target(taken.into())), "{taken}");
        }
        for free in ["/repo", "/inputs/3", "/a.b/c"] {
            assert_eq!(spec_with(free).check(), Ok(()), "{free}");
        }
    }

    #[test]
    fn mounts_may_not_nest() {
        for (first, second) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
            let mut spec = spec_with(first);
            spec.read_only.push(Mount {
                source: "/src".into(),
                target: second.into(),
            });

            assert_eq!(spec.check(), Err(InvalidSpec::Overlap(second.into())));
        }
    }

    #[test]
    fn ids_are_file_names() {
        for bad in ["", ".", "..", "a/b", "a b", "ä"] {
            assert!(SandboxId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        for good in ["1", "team-1.task_2", "A"] {
            assert!(SandboxId::try_from(good.to_owned()).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn what_the_kernel_cannot_be_given_is_refused() {
        let mut spec = spec_with("/repo");
        spec.env.insert("A=B".into(), "c".into());
        assert_eq!(spec.check(), Err(InvalidSpec::Env("A=B".into())));
        assert_eq!(Command::new(["sh", "a\0b"]).check(), Err(InvalidSpec::Argv));
        assert_eq!(
            Command::new(Vec::<String>::new()).check(),
            Err(InvalidSpec::Argv)
        );
    }
}
