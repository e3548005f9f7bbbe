//! Two machines with a router between them, each a network namespace: a cut there drops packets
//! in silence, and neither end sees its own link go down.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the near machine, where the test and the coordinator live.
pub const NEAR: &str = "10.77.0.1";

/// Which packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of them.
    Both,
    /// Those to the far machine: it is deaf.
    ToFar,
    /// Those to the near machine: the far one is dumb.
    ToNear,
}

/// See the head of this file. All of it is gone with the processes that hold it.
pub struct Net {
    router: Namespace,
    far: Namespace,
}

/// A network namespace, held by a process that waits for the end of its input.
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo there; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let answer = holder.stdout.as_mut().expect("its output is a pipe");
        BufReader::new(answer).read_line(&mut said).unwrap();
        let namespace = Self { holder };
        if said == "there\n" {
            Ok(namespace)
        } else {
            Err("this user can't make network namespaces".into())
        }
    }

    /// Where it can be entered.
    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// The command that runs another one in it.
    fn enter(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net={}", self.path())]
    }

    fn run(&self, script: &str) -> Result<(), String> {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).args(["sh", "-ec", script]);
        let done = command.output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        done.status.success().then_some(()).ok_or(told)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

impl Net {
    fn new(near: &Namespace) -> Result<Self, String> {
        let (router, far) = (Namespace::new()?, Namespace::new()?);
        near.run(&format!(
            "ip link add n0 type veth peer name r0
            ip link set r0 netns {}
            ip addr add {NEAR}/30 dev n0
            ip link set n0 up
            ip route add 10.77.1.0/30 via 10.77.0.2",
            router.holder.id()
        ))?;
        router.run(&format!(
            "ip addr add 10.77.0.2/30 dev r0
            ip link set r0 up
            ip link add r1 type veth peer name f0
            ip link set f0 netns {}
            ip addr add 10.77.1.1/30 dev r1
            ip link set r1 up
            echo 1 > /proc/sys/net/ipv4/ip_forward",
            far.holder.id()
        ))?;
        far.run(
            "ip addr add 10.77.1.2/30 dev f0
            ip link set f0 up
            ip route add default via 10.77.1.1",
        )?;
        Ok(Self { router, far })
    }

    /// The command that runs another one on the far machine.
    pub fn far(&self) -> Vec<String> {
        self.far.enter()
    }

    /// Drops packets from now on.
    pub fn cut(&self, cut: Cut) {
        for interface in cut.from() {
            let rule = format!("ip rule add pref 1 iif {interface} blackhole");
            self.router.run(&rule).unwrap();
        }
    }

    /// Drops nothing any more.
    pub fn mend(&self, cut: Cut) {
        for interface in cut.from() {
            let rule = format!("ip rule del pref 1 iif {interface} blackhole");
            self.router.run(&rule).unwrap();
        }
    }
}

impl Cut {
    /// Where the packets that it drops come in.
    fn from(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["r0", "r1"],
            Self::ToFar => &["r0"],
            Self::ToNear => &["r1"],
        }
    }
}

/// Runs a test on the near machine, on a thread of its own: a namespace is a thread's.
pub fn between_two_machines(test: impl AsyncFnOnce(&Net) + Send + 'static) {
    let near = Namespace::new().and_then(|near| Ok((Net::new(&near)?, near)));
    let (net, near) = match near {
        Ok(made) => made,
        Err(why) => return eprintln!("SKIPPED: no network of two machines here: {why}"),
    };
    let running = thread::spawn(move || {
        let namespace = File::open(near.path()).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(&net));
    });
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
