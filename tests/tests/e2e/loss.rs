//! A board that goes on without what a disk has lost (P3a).

use std::{fs, path::Path};

use ganger_proto::v1::EventType;
use ganger_tests::{Cluster, Daemon, new_task, programs};
use rustix::process::Signal;

async fn stop(coordinator: &mut Daemon) {
    coordinator.signal(Signal::TERM);
    assert!(coordinator.end().await.success());
}

/// Copies the files of a database.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn an_accepted_loss_is_an_event_of_each_team_and_nothing_is_handed_out_again() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(vec![new_task("kept")]).await;
    stop(&mut cluster.coordinator).await;
    let database = cluster.dir().join("coordinator/board/board-1");
    let older = cluster.dir().join("older");
    copy(&database, &older);
    cluster.restart_coordinator().await;
    let client = cluster.client();
    let lost = client.plan(vec![new_task("lost"), new_task("lost")]).await;
    let revision = client.get_team().await.unwrap().revision;
    let epoch = cluster.status().await.epoch;
    stop(&mut cluster.coordinator).await;
    fs::remove_dir_all(&database).unwrap();
    copy(&older, &database);

    cluster.restart_coordinator_with(&["--accept-loss"]).await;

    assert_ne!(cluster.status().await.epoch, epoch);
    let client = cluster.client();
    let made = client.plan(vec![new_task("new")]).await;
    assert!(made[0] > lost[1], "{made:?} after {lost:?}");
    let mut watch = client.watch().await;
    let told = watch.find("the loss", |event| {
        event.r#type() == EventType::LossAccepted
    });
    let told = told.await;
    assert!(told.revision > revision, "{told:?}");
    assert_eq!(told.actor, "coordinator");
    let missing = "are missing, which handed out 2 ids and 2 revisions";
    assert!(told.message.contains(missing), "{told:?}");
    assert!(cluster.coordinator.log().contains(missing));
    // Who has seen what is lost goes on from there.
    let mut later = client.watch_after(revision).await;
    later
        .find("the loss", |event| event.revision == told.revision)
        .await;
}
