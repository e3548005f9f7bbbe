//! Whether sub-agents can be kept apart here: found out by doing.

use ganger_worker::sandbox::{DriverKind, HostFacts, Level, ProbeReport};

use super::{Finding, Verdict};
use crate::local::{LAST_RESORT, chain};

/// Makes real sandboxes, and tries to break out of them.
pub async fn look() -> Vec<Finding> {
    let mut findings = vec![ground(&HostFacts::read())];
    match DriverKind::Native.driver() {
        Ok(driver) => findings.extend(judged(&driver.probe().await)),
        Err(error) => findings.push(Finding::wrong("sandbox", chain(&error), &[LAST_RESORT])),
    }
    findings
}

/// What of the machine decides which sandboxes it allows.
fn ground(facts: &HostFacts) -> Finding {
    let mut seen = vec![match facts.is_root {
        true => "root".to_owned(),
        false => "an ordinary user".to_owned(),
    }];
    let mut add = |is_so: bool, words: &str| seen.extend(is_so.then(|| words.to_owned()));
    add(facts.root_lacks_sys_admin, "without CAP_SYS_ADMIN");
    add(facts.in_container, "in a container");
    add(facts.is_filtered, "under a system-call filter");
    add(
        facts.apparmor_restricts_userns,
        "AppArmor restricts user namespaces",
    );
    add(
        facts.userns_clone_off,
        "user namespaces are off for ordinary users",
    );
    add(facts.userns_max == Some(0), "user namespaces are off");
    add(facts.proc_is_masked, "/proc is masked");
    Finding::good("ground", seen.join(", "))
}

/// The driver, then each control that doesn't hold in full.
fn judged(report: &ProbeReport) -> Vec<Finding> {
    let driver = format!("sandbox {}", report.driver);
    let mut findings = vec![match &report.refusal {
        None => Finding::good(&driver, report.mode.clone()),
        Some(refusal) => Finding {
            what: driver,
            verdict: Verdict::Wrong,
            seen: refusal.cause.clone(),
            fixes: refusal.fixes.clone(),
        },
    }];
    let mut enforced = Vec::new();
    for (control, level) in report.assurance.iter() {
        let what = format!("  {}", control.as_str());
        match level {
            Level::Enforced => enforced.push(control.as_str()),
            Level::Degraded { reason } => {
                findings.push(Finding::note(&what, format!("in part: {reason}"), &[]));
            }
            Level::Missing { reason, hint } => {
                let fixes: Vec<&str> = [hint.as_str()]
                    .into_iter()
                    .filter(|h| !h.is_empty())
                    .collect();
                findings.push(Finding::note(
                    &what,
                    format!("does not hold: {reason}"),
                    &fixes,
                ));
            }
        }
    }
    if !enforced.is_empty() {
        findings.insert(1, Finding::good("  holds", enforced.join(", ")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use ganger_worker::sandbox::{Assurance, Control, Diagnosis};

    use super::*;

    fn report(refusal: Option<Diagnosis>) -> ProbeReport {
        let mut assurance = Assurance::default();
        assurance.set(Control::Files, Level::Enforced);
        assurance.set(Control::Memory, Level::degraded("per process"));
        assurance.set(Control::Syscalls, Level::missing("no filter", "wait"));
        ProbeReport {
            driver: DriverKind::Native,
            mode: "user namespace".into(),
            assurance,
            refusal,
        }
    }

    #[test]
    fn what_does_not_hold_is_worth_knowing_and_not_wrong() {
        let findings = judged(&report(None));

        assert_eq!(
            findings,
            [
                Finding::good("sandbox native", "user namespace"),
                Finding::good("  holds", "files"),
                Finding::note("  memory", "in part: per process", &[]),
                Finding::note("  syscalls", "does not hold: no filter", &["wait"]),
            ]
        );
    }

    #[test]
    fn sandbox_that_cannot_be_made_is_wrong_with_every_fix() {
        let refusal = Diagnosis {
            cause: "namespaces are refused".into(),
            fixes: vec!["allow them".into(), "--sandbox none".into()],
        };

        let findings = judged(&report(Some(refusal)));

        assert_eq!(
            findings[0],
            Finding::wrong(
                "sandbox native",
                "namespaces are refused",
                &["allow them", "--sandbox none"]
            )
        );
    }
}
