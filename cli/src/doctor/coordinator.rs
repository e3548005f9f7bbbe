//! Whether a coordinator answers, and how it is.

use ganger_proto::v1;

use super::Finding;
use crate::{
    client::Client, config::ADDR_DEFAULT, context::Context, failure::Failure, output::words,
};

/// Asks it.
pub async fn look(client: Result<Client, Failure>, context: &Context) -> Finding {
    let answer = match client {
        Ok(client) => {
            let asked = client.ask(v1::GetStatusRequest {}, |client, request| async move {
                client.fleet().get_status(request).await
            });
            context.within(asked).await
        }
        Err(failure) => Err(failure),
    };
    judge(&context.settings.addr, answer)
}

fn judge(addr: &str, answer: Result<v1::GetStatusResponse, Failure>) -> Finding {
    match answer {
        Ok(status) => {
            let seen = format!(
                "{addr}: version {}, {} workers, {} of {} slots free, {} of disk free",
                status.version,
                status.worker_count,
                status.free_slots,
                status.slots,
                words::bytes(status.disk_free_bytes)
            );
            match status.version == env!("CARGO_PKG_VERSION") {
                true => Finding::good("coordinator", seen),
                false => Finding::note("coordinator", seen, &["use the same version everywhere"]),
            }
        }
        Err(failure) => {
            let next = failure.next().unwrap_or_default();
            let fixes: Vec<&str> = [next.as_str()]
                .into_iter()
                .filter(|n| !n.is_empty())
                .collect();
            let is_expected = addr != ADDR_DEFAULT;
            match failure {
                // Nobody said that one should be there.
                Failure::NoCoordinator { .. } if !is_expected => {
                    Finding::note("coordinator", failure.to_string(), &fixes)
                }
                Failure::NoCoordinator { ref cause, .. } => {
                    Finding::wrong("coordinator", format!("{failure}: {cause}"), &fixes)
                }
                failure => Finding::wrong("coordinator", format!("{addr}: {failure}"), &fixes),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    fn absent(addr: &str) -> Finding {
        let failure = Failure::NoCoordinator {
            addr: addr.into(),
            cause: "connection refused".into(),
        };
        judge(addr, Err(failure))
    }

    #[test]
    fn absent_coordinator_is_wrong_only_where_one_was_named() {
        assert_eq!(absent(ADDR_DEFAULT).verdict, Verdict::Note);
        assert_eq!(absent("coordinator:50051").verdict, Verdict::Wrong);
        assert_eq!(absent(ADDR_DEFAULT).fixes, ["start one with `ganger up`"]);
    }

    #[test]
    fn coordinator_that_wants_a_token_is_wrong_with_the_way_to_give_it() {
        let refused = tonic::Status::unauthenticated("no token").into();

        let finding = judge(ADDR_DEFAULT, Err(refused));

        assert_eq!(finding.verdict, Verdict::Wrong);
        assert!(finding.fixes[0].contains("--token-file"), "{finding:?}");
    }
}
