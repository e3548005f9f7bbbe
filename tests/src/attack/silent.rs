//! Connections that say nothing, half of a preface, or headers without an end: more of them than the
//! coordinator has descriptors.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::interval,
};

use super::{Attackers, Scale, Target, Verdict, by_turns};
use crate::{Programs, patiently};

/// Connections of an attack.
const SOCKETS: usize = 1_100;

/// The coordinator's limit of open files.
const OPEN_FILES: &str = "--nofile=1024:1024";

/// How often a connection that was closed is opened again, over all of them.
const AGAIN_EVERY: Duration = Duration::from_millis(5);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Headers of stream 1 that have no byte yet, and are not at their end.
const HEADERS: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0, 1];
/// One more byte of them, and not the last: an indexed field.
const CONTINUATION: &[u8] = &[0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82];

/// What a connection says.
#[derive(Clone, Copy)]
enum Says {
    Nothing,
    HalfAPreface,
    SlowHeaders,
}

/// 1,100 such connections to a coordinator that may have 1,024 open files.
pub async fn silent_sockets(programs: Programs, scale: Scale) -> Verdict {
    let target = Target::start(programs, &["prlimit", OPEN_FILES], &[]).await;
    let addr = target.cluster.addr();
    let mut verdict = by_turns(&target, scale, |_| async move {
        let mut attackers = Attackers::default();
        let open = Arc::new(Semaphore::new(0));
        let again = Arc::new(Semaphore::new(0));
        for number in 0..SOCKETS {
            let says = [Says::Nothing, Says::HalfAPreface, Says::SlowHeaders][number % 3];
            attackers.add(attack(addr, says, open.clone(), again.clone()));
        }
        attackers.add(async move {
            let mut beat = interval(AGAIN_EVERY);
            loop {
                beat.tick().await;
                again.add_permits(1);
            }
        });
        let all = open.acquire_many(SOCKETS as u32);
        patiently("every connection was opened once", all)
            .await
            .unwrap()
            .forget();
        attackers
    })
    .await;
    verdict.note(target.held().await);
    verdict
}

/// Opens a connection again and again.
async fn attack(addr: SocketAddr, says: Says, open: Arc<Semaphore>, again: Arc<Semaphore>) {
    loop {
        let connected = TcpStream::connect(addr).await;
        open.add_permits(1);
        if let Ok(mut stream) = connected {
            // However it ends.
            let _ = speak(&mut stream, says).await;
        }
        again.acquire().await.expect("nobody closes it").forget();
    }
}

/// Speaks until the coordinator closes the connection.
async fn speak(stream: &mut TcpStream, says: Says) -> std::io::Result<()> {
    match says {
        Says::Nothing => {}
        Says::HalfAPreface => stream.write_all(&PREFACE[..12]).await?,
        Says::SlowHeaders => {
            stream
                .write_all(&[PREFACE, SETTINGS, HEADERS].concat())
                .await?;
            let (mut hears, mut writes) = stream.split();
            let mut beat = interval(Duration::from_millis(500));
            let mut buffer = [0; 1_024];
            loop {
                tokio::select! {
                    heard = hears.read(&mut buffer) => match heard? {
                        0 => return Ok(()),
                        _ => continue,
                    },
                    _ = beat.tick() => writes.write_all(CONTINUATION).await?,
                }
            }
        }
    }
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

/// Waits until the coordinator has closed a connection with half of a preface.
pub(super) async fn half_a_preface(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    speak(&mut stream, Says::HalfAPreface).await
}
