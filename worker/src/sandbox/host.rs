//! Why a sandbox can't be made on this machine, and what a person can do about it.
//!
//! Reading the facts touches the file system; judging them is pure.

use std::{fmt, fs, path::Path};

use rustix::io::Errno;

use super::Step;

/// What the last resort always is.
const LAST_RESORT: &str =
    "or run without any isolation, only for agents you trust as yourself: --sandbox none";

/// What of the machine decides which sandboxes it allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The worker runs as uid 0.
    pub is_root: bool,
    /// It does so without CAP_SYS_ADMIN.
    pub root_lacks_sys_admin: bool,
    /// The worker runs in a container.
    pub in_container: bool,
    /// The worker itself is under a system-call filter.
    pub is_filtered: bool,
    /// AppArmor forbids user namespaces to unprivileged programs.
    pub apparmor_restricts_userns: bool,
    /// `kernel.unprivileged_userns_clone` is 0.
    pub userns_clone_off: bool,
    /// `user.max_user_namespaces`, where it can be read.
    pub userns_max: Option<u64>,
    /// Parts of `/proc` are covered, as container engines do.
    pub proc_is_masked: bool,
}

impl HostFacts {
    /// Reads them; what can't be read counts as absent.
    pub fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let is_root = rustix::process::geteuid().is_root();
        Self {
            is_root,
            root_lacks_sys_admin: is_root && lacks_sys_admin(&status),
            in_container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|mark| Path::new(mark).exists()),
            is_filtered: status.lines().any(|line| line == "Seccomp:\t2"),
            apparmor_restricts_userns: number(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ) == Some(1),
            userns_clone_off: number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0),
            userns_max: number("/proc/sys/user/max_user_namespaces"),
            proc_is_masked: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .any(|point| point.starts_with("/proc/") && point != "/proc/sys/fs/binfmt_misc"),
        }
    }
}

/// Whether the effective capabilities of a `/proc/PID/status` are known, and CAP_SYS_ADMIN is not one.
fn lacks_sys_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << CAP_SYS_ADMIN) == 0)
}

/// A cause, and what to do in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Why it can't be done, in one line.
    pub cause: String,
    /// What a person can do; the best first.
    pub fixes: Vec<String>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cause: {}", self.cause)?;
        for (index, fix) in self.fixes.iter().enumerate() {
            write!(
                f,
                "\n{} {fix}",
                if index == 0 { "fix:  " } else { "      " }
            )?;
        }
        Ok(())
    }
}

impl Diagnosis {
    /// A diagnosis that ends with the last resort.
    pub(super) fn new(cause: impl Into<String>, fixes: &[&str]) -> Self {
        let fixes = fixes
            .iter()
            .copied()
            .chain([LAST_RESORT])
            .map(str::to_owned)
            .collect();
        Self {
            cause: cause.into(),
            fixes,
        }
    }
}

/// Judges why a step of setting up a sandbox failed.
pub fn diagnose(step: Step, errno: Errno, facts: &HostFacts) -> Diagnosis {
    match step {
        Step::Unshare => unshare(errno, facts),
        Step::MapUser => map_user(errno, facts),
        Step::Proc if errno == Errno::PERM => Diagnosis::new(
            if facts.proc_is_masked {
                "the container masks parts of /proc, so a new /proc is not allowed in a user namespace"
            } else {
                "a new /proc is not allowed here"
            },
            &[
                "docker run --security-opt systempaths=unconfined (compose: security_opt: [systempaths=unconfined])",
            ],
        ),
        Step::Root | Step::Pivot | Step::ReadOnly | Step::Workspace
            if matches!(errno, Errno::PERM | Errno::ACCESS)
                && (facts.is_filtered || facts.in_container) =>
        {
            Diagnosis::new(
                "the container's seccomp or AppArmor profile refuses mounts",
                &[
                    "docker run --security-opt seccomp=deploy/worker-seccomp.json --security-opt systempaths=unconfined",
                    "on Ubuntu hosts also --security-opt apparmor=unconfined",
                ],
            )
        }
        Step::Workspace | Step::ReadOnly if errno == Errno::NOENT => {
            Diagnosis::new("the path does not exist", &["make it, or name another one"])
        }
        Step::Workspace | Step::ReadOnly if errno == Errno::ACCESS => Diagnosis::new(
            "the worker's user may not open the path",
            &["let the worker's user read it and enter every directory above it"],
        ),
        _ if errno == Errno::NOSYS => Diagnosis::new(
            "the kernel or a system-call filter lacks a call that is needed (open_tree, mount_setattr: Linux 5.12)",
            &[
                "use Linux 5.12 or newer",
                "in a container: --security-opt seccomp=deploy/worker-seccomp.json",
            ],
        ),
        _ => Diagnosis::new(
            "unexpected on this machine",
            &["run `ganger doctor` and report what it prints"],
        ),
    }
}

/// Root needs the capability for what an ordinary user gets by a user namespace.
pub(super) fn root_without_sys_admin() -> Diagnosis {
    Diagnosis::new(
        "the worker is root without CAP_SYS_ADMIN, which root needs to make namespaces",
        &[
            "run the worker as an ordinary user; in a container: docker run --user 1000 \
             --security-opt seccomp=deploy/worker-seccomp.json --security-opt systempaths=unconfined \
             --security-opt no-new-privileges --cap-drop ALL (see deploy/compose.yaml)",
            "or give root the capability: docker run --cap-add SYS_ADMIN",
        ],
    )
}

fn unshare(errno: Errno, facts: &HostFacts) -> Diagnosis {
    if errno == Errno::PERM && facts.root_lacks_sys_admin {
        return root_without_sys_admin();
    }
    if errno == Errno::NOSPC || facts.userns_max == Some(0) {
        return Diagnosis::new(
            "user namespaces are switched off, or all in use (user.max_user_namespaces)",
            &[
                "sysctl -w user.max_user_namespaces=15000",
                "run the worker as root",
            ],
        );
    }
    if facts.userns_clone_off && !facts.is_root {
        return Diagnosis::new(
            "user namespaces are switched off for ordinary users (kernel.unprivileged_userns_clone)",
            &[
                "sysctl -w kernel.unprivileged_userns_clone=1",
                "run the worker as root",
            ],
        );
    }
    if facts.is_filtered || facts.in_container {
        return Diagnosis::new(
            "the container's seccomp profile refuses to make namespaces",
            &[
                "docker run --security-opt seccomp=deploy/worker-seccomp.json --security-opt systempaths=unconfined \
                 --security-opt no-new-privileges --cap-drop ALL --user 1000",
                "compose: the same under security_opt, cap_drop and user; see deploy/compose.yaml",
            ],
        );
    }
    if facts.apparmor_restricts_userns {
        return apparmor();
    }
    Diagnosis::new(
        "namespaces are refused",
        &["run the worker as root with CAP_SYS_ADMIN, or allow user namespaces to its user"],
    )
}

fn map_user(errno: Errno, facts: &HostFacts) -> Diagnosis {
    if facts.apparmor_restricts_userns && matches!(errno, Errno::PERM | Errno::ACCESS) {
        return apparmor();
    }
    Diagnosis::new(
        "the user could not be mapped in its user namespace",
        &["allow unprivileged user namespaces for the worker's user, or run the worker as root"],
    )
}

fn apparmor() -> Diagnosis {
    Diagnosis::new(
        "AppArmor forbids user namespaces to unprivileged programs (Ubuntu 23.10 and newer)",
        &[
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            "or an AppArmor profile for the ganger binary with the rule `userns,`",
            "or run the worker as root",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_diagnosis_ends_with_the_last_resort() {
        for step in [
            Step::Unshare,
            Step::MapUser,
            Step::Proc,
            Step::Root,
            Step::Workspace,
            Step::Serve,
        ] {
            for errno in [
                Errno::PERM,
                Errno::ACCESS,
                Errno::NOSPC,
                Errno::NOSYS,
                Errno::NOENT,
                Errno::INVAL,
            ] {
                let diagnosis = diagnose(step, errno, &HostFacts::default());

                assert!(diagnosis.fixes.len() > 1, "{step} {errno}");
                assert_eq!(diagnosis.fixes.last().unwrap(), LAST_RESORT);
            }
        }
    }

    #[test]
    fn a_capability_is_looked_for_in_the_effective_set() {
        let status = |set: &str| format!("Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t{set}\n");

        assert!(!lacks_sys_admin(&status("000001ffffffffff")));
        assert!(lacks_sys_admin(&status("000001ffffdfffff")));
        assert!(
            lacks_sys_admin(&status("00000000a80425fb")),
            "docker's default"
        );
        assert!(!lacks_sys_admin("no such line"));
    }

    #[test]
    fn the_cause_follows_the_machine() {
        let filtered = HostFacts {
            is_filtered: true,
            ..HostFacts::default()
        };
        let ubuntu = HostFacts {
            apparmor_restricts_userns: true,
            ..HostFacts::default()
        };
        let off = HostFacts {
            userns_max: Some(0),
            ..HostFacts::default()
        };
        let masked = HostFacts {
            proc_is_masked: true,
            ..HostFacts::default()
        };
        // A container's engine filters as well: but with the capability its filter lets namespaces through.
        let bare_root = HostFacts {
            is_root: true,
            root_lacks_sys_admin: true,
            is_filtered: true,
            in_container: true,
            ..HostFacts::default()
        };
        let cases = [
            (Step::Unshare, Errno::PERM, &filtered, "worker-seccomp.json"),
            (
                Step::Unshare,
                Errno::PERM,
                &ubuntu,
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Step::MapUser,
                Errno::ACCESS,
                &ubuntu,
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (
                Step::Unshare,
                Errno::NOSPC,
                &off,
                "max_user_namespaces=15000",
            ),
            (Step::Proc, Errno::PERM, &masked, "systempaths=unconfined"),
            (
                Step::Unshare,
                Errno::PERM,
                &bare_root,
                "as an ordinary user",
            ),
        ];

        for (step, errno, facts, fix) in cases {
            let diagnosis = diagnose(step, errno, facts);

            assert!(diagnosis.fixes[0].contains(fix), "{step}: {diagnosis}");
        }
    }
}
