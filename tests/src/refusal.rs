//! What every error of Ganger carries, whatever it is about.

use std::fmt::Debug;

use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};

/// Exactly one `ErrorInfo`, of this domain, with a stable reason and a word on what to do next.
#[track_caller]
pub fn error_info(status: &Status) -> ErrorInfo {
    let details = status
        .check_error_details_vec()
        .unwrap_or_else(|error| panic!("details of {status:?} can't be read: {error}"));
    let mut infos = details.into_iter().filter_map(|detail| match detail {
        tonic_types::ErrorDetail::ErrorInfo(info) => Some(info),
        _ => None,
    });
    let info = infos.next();
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert!(infos.next().is_none(), "two ErrorInfos in {status:?}");

    assert_eq!(info.domain, ganger_proto::ERROR_DOMAIN, "{status:?}");
    let is_reason = info
        .reason
        .starts_with(|first: char| first.is_ascii_uppercase())
        && info
            .reason
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    assert!(is_reason, "reason {:?}", info.reason);
    let next = info.metadata.get("next");
    assert!(next.is_some_and(|next| !next.is_empty()), "{info:?}");
    assert!(!status.message().is_empty(), "{info:?} has no message");
    info
}

/// That a call was refused with this code and this reason.
#[track_caller]
pub fn refused<T: Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> ErrorInfo {
    let status = match answer {
        Err(status) => status,
        Ok(answer) => panic!("not refused with {reason}, but: {answer:?}"),
    };
    let told = format!("{status:?}");
    assert_eq!(status.code(), code, "{told}");
    let info = error_info(&status);
    assert_eq!(info.reason, reason, "{told}");
    info
}
