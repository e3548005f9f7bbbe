//! Attempts' secrets: what shows the coordinator that a call in an attempt's name is this worker's.
//!
//! They come with assignments and with the Welcome, go into the metadata of calls and nowhere else:
//! no log line, file, environment or prompt has one, and none is told to a sub-agent.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ganger_proto::{ATTEMPT_KEY, ATTEMPT_SECRET_KEY};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
};

use crate::fence::Fence;

/// The secrets of the attempts that are held. Cheap to clone: all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeMap<Fence, String>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets([redacted])")
    }
}

impl Secrets {
    /// Keeps an attempt's secret, in the place of an earlier one. A coordinator of an older version
    /// gives none, and asks for none.
    pub(crate) fn keep(&self, fence: &Fence, secret: String) {
        if !secret.is_empty() {
            self.known().insert(fence.clone(), secret);
        }
    }

    /// Forgets an attempt's secret.
    pub(crate) fn forget(&self, fence: &Fence) {
        self.known().remove(fence);
    }

    /// Has a call speak in an attempt's name.
    pub(crate) fn sign<T>(&self, request: &mut Request<T>, fence: &Fence) -> Result<(), Status> {
        let metadata = request.metadata_mut();
        metadata.insert(ATTEMPT_KEY, value(&fence.path())?);
        if let Some(secret) = self.known().get(fence) {
            let mut secret = value(secret)?;
            // HTTP/2 then keeps it out of its tables, and tracing shows no value of it.
            secret.set_sensitive(true);
            metadata.insert(ATTEMPT_SECRET_KEY, secret);
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Fence, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(text: &str) -> Result<MetadataValue<Ascii>, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument("what names the attempt is no plain text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::tests::fence;

    fn shown(secrets: &Secrets, fence: &Fence) -> Option<String> {
        let mut request = Request::new(());
        secrets.sign(&mut request, fence).unwrap();
        let metadata = request.metadata();
        assert_eq!(metadata.get(ATTEMPT_KEY).unwrap(), fence.path().as_str());
        let secret = metadata.get(ATTEMPT_SECRET_KEY);
        secret.map(|secret| secret.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_call_shows_the_newest_secret_of_its_own_attempt() {
        let secrets = Secrets::default();
        let (one, other) = (fence(1, 1), fence(2, 1));
        secrets.keep(&one, "first".into());
        secrets.keep(&other, "other".into());
        secrets.keep(&one, "second".into());
        secrets.keep(&one, String::new());

        assert_eq!(shown(&secrets, &one).as_deref(), Some("second"));
        secrets.forget(&one);
        assert_eq!(shown(&secrets, &one), None);
        assert_eq!(shown(&secrets, &other).as_deref(), Some("other"));
    }

    #[test]
    fn no_secret_shows_itself() {
        let secrets = Secrets::default();
        secrets.keep(&fence(1, 1), "s3cret".into());
        let mut request = Request::new(());
        secrets.sign(&mut request, &fence(1, 1)).unwrap();

        let shown = format!("{secrets:?} {request:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
