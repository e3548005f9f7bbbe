//! `Debug` of the messages that carry an attempt's secret: without it, so that no log line shows it.

use std::fmt;

use crate::v1::{Assignment, HeldVerdict};

/// What stands in the place of a secret; nothing where there is none.
fn mark(secret: &str) -> &'static str {
    match secret {
        "" => "",
        _ => "[redacted]",
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment")
            .field("fence", &self.fence)
            .field("team", &self.team)
            .field("subject", &self.subject)
            .field("prompt", &self.prompt)
            .field("agent_type", &self.agent_type)
            .field("member", &self.member)
            .field("secret", &mark(&self.secret))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HeldVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldVerdict")
            .field("fence", &self.fence)
            .field("keep", &self.keep)
            .field("reason", &self.reason)
            .field("kept_through", &self.kept_through)
            .field("secret", &mark(&self.secret))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{ConnectResponse, Welcome, connect_response::Message};

    #[test]
    fn no_message_shows_an_attempts_secret() {
        let assignment = Message::Assignment(Assignment {
            subject: "write".into(),
            secret: "s3cret".into(),
            ..Assignment::default()
        });
        let welcome = Message::Welcome(Welcome {
            verdicts: vec![HeldVerdict {
                keep: true,
                secret: "s3cret".into(),
                ..HeldVerdict::default()
            }],
            ..Welcome::default()
        });
        for message in [assignment, welcome] {
            let message = Some(message);
            let shown = format!(
                "{:?}",
                ConnectResponse {
                    session: 1,
                    message
                }
            );
            assert!(shown.contains("redacted"), "{shown}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
