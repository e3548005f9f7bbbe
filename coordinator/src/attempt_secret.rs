//! Attempts' secrets (DESIGN A5): what shows that a call in an attempt's name is its worker's.
//!
//! A fence is a number that every reader of the board sees. So whoever speaks as a sub-agent also
//! shows a secret: an HMAC-SHA-256 of the fence under a key that lies in the store, is left out of
//! backups, and is new on a board that was restored. Nothing is kept per attempt: a secret survives
//! a restart because the key does, and it is worth nothing once its attempt is over, because the
//! fence is looked up beside it.
//!
//! Neither type shows itself: `Debug` is redacted, and only [`AttemptSecret::reveal`] tells.

use std::fmt;

use board::id::Fence;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key of all attempts' secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct AttemptKey([u8; 32]);

impl AttemptKey {
    /// A key that nobody has.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        for half in bytes.chunks_exact_mut(16) {
            half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        }
        // A UUID has six fixed bits: hashed, what is random is spread over all of the key.
        Self(<Sha256 as sha2::Digest>::digest(bytes).into())
    }

    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the store alone.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret of an attempt.
    pub fn secret(&self, fence: &Fence) -> AttemptSecret {
        AttemptSecret(self.over(fence).finalize().into_bytes().into())
    }

    /// Whether a text is the secret of an attempt. Takes the same time whichever it is.
    pub fn is_right(&self, fence: &Fence, text: &str) -> bool {
        from_hex(text).is_some_and(|given| self.over(fence).verify_slice(&given).is_ok())
    }

    fn over(&self, fence: &Fence) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key's");
        // What is signed says what it is, and each part has one length: no two fences look alike.
        mac.update(b"ganger attempt 1");
        mac.update(&fence.epoch.0.to_be_bytes());
        mac.update(&fence.team.0.to_be_bytes());
        mac.update(&fence.task.0.to_be_bytes());
        mac.update(&fence.attempt.0.to_be_bytes());
        mac
    }
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptKey([redacted])")
    }
}

/// The secret of one attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct AttemptSecret([u8; 32]);

impl AttemptSecret {
    /// As its worker is told it: 64 hexadecimal digits in lower case.
    pub fn reveal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for AttemptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptSecret([redacted])")
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use board::id::{AttemptNumber, Epoch, TaskId, TeamUid};

    use super::*;

    fn fence() -> Fence {
        Fence {
            epoch: Epoch(1),
            team: TeamUid(2),
            task: TaskId(3),
            attempt: AttemptNumber(4),
        }
    }

    #[test]
    fn a_secret_is_of_one_key_and_one_attempt() {
        let key = AttemptKey::from_bytes([7; 32]);
        let right = key.secret(&fence()).reveal();
        assert!(key.is_right(&fence(), &right));

        let epoch = Epoch(2);
        let (team, task, attempt) = (TeamUid(3), TaskId(4), AttemptNumber(5));
        let others = [
            Fence { epoch, ..fence() },
            Fence { team, ..fence() },
            Fence { task, ..fence() },
            Fence { attempt, ..fence() },
        ];
        for other in others {
            assert!(!key.is_right(&other, &right), "{other:?}");
        }
        assert!(!AttemptKey::from_bytes([8; 32]).is_right(&fence(), &right));
        assert!(!AttemptKey::random().is_right(&fence(), &right));
    }

    #[test]
    fn what_is_no_secret_is_not_right() {
        let key = AttemptKey::from_bytes([7; 32]);
        let right = key.secret(&fence()).reveal();
        let (upper, longer) = (right.to_uppercase(), format!("{right}0"));
        for wrong in [
            "",
            &right[1..],
            &longer,
            &upper,
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(!key.is_right(&fence(), wrong), "{wrong:?}");
        }
    }

    #[test]
    fn no_key_is_made_twice_and_neither_key_nor_secret_shows_itself() {
        let key = AttemptKey::random();
        assert_ne!(key, AttemptKey::random());

        let secret = key.secret(&fence());
        let shown = format!("{key:?} {secret:?}");
        assert_eq!(shown, "AttemptKey([redacted]) AttemptSecret([redacted])");
    }
}
