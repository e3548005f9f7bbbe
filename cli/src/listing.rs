//! Lists of tasks: fetched page by page, and who is at each task.

use ganger_proto::v1;

use crate::{client::Client, failure::Failure};

/// Lists page after page, until there are enough or no more. `next_page_token` says whether
/// there would be more.
///
/// # Errors
/// What the coordinator refused.
pub async fn pages(
    client: &Client,
    mut request: v1::ListTasksRequest,
    limit: usize,
) -> Result<v1::ListTasksResponse, Failure> {
    let mut all = v1::ListTasksResponse::default();
    loop {
        let wanted = limit.saturating_sub(all.tasks.len()).clamp(1, 1_000);
        request.page_size = i32::try_from(wanted).unwrap_or(1_000);
        request.page_token = all.next_page_token;
        let page = client
            .ask(request.clone(), |client, request| async move {
                client.tasks().list_tasks(request).await
            })
            .await?;
        all.tasks.extend(page.tasks);
        all.next_page_token = page.next_page_token;
        all.revision = page.revision;
        if all.next_page_token.is_empty() || all.tasks.len() >= limit {
            all.tasks.truncate(limit);
            return Ok(all);
        }
    }
}

/// Whose a task is, else who runs it.
pub fn who(task: &v1::Task) -> &str {
    let who = [&task.owner, &task.runner, &task.started_by]
        .into_iter()
        .find(|who| !who.is_empty())
        .map_or("", String::as_str);
    who.strip_prefix("worker:").unwrap_or(who)
}
