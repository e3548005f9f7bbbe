use std::{
    pin::{Pin, pin},
    task::{Context, Waker},
};

use super::*;

fn is_ready(future: Pin<&mut impl Future>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    future.poll(&mut context).is_ready()
}

fn peers(connections: usize, per_address: usize) -> Peers {
    let bounds = Bounds {
        connections,
        per_address,
        transfers: 3,
        unread: 1_000,
    };
    Peers::making(bounds, 2)
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// So many of an address, which have begun to speak.
fn greeted(peers: &Peers, address: IpAddr, count: usize) -> Vec<Arc<Peer>> {
    let admitted = (0..count).map(|_| peers.admit(address).unwrap());
    let admitted: Vec<_> = admitted.collect();
    admitted.iter().for_each(|peer| peer.greet());
    admitted
}

async fn turn_of(peer: &Arc<Peer>) -> Turn {
    peer.turn(peer.own_turn().await).await
}

fn leaving(of: &[Arc<Peer>]) -> Vec<bool> {
    of.iter().map(|peer| peer.leave.is_cancelled()).collect()
}

#[test]
fn who_has_been_without_a_call_for_longest_makes_room() {
    let peers = peers(3, 100);
    let there = greeted(&peers, LOOPBACK, 3);
    let _call = there[0].call();
    drop(there[1].call());

    let newcomer = greeted(&peers, LOOPBACK, 1);
    assert_eq!(leaving(&there), [false, false, true]);
    let another = peers.admit(LOOPBACK).unwrap();
    assert_eq!(leaving(&there), [false, true, true]);
    // Who has said nothing yet goes before those who did.
    let _last = peers.admit(LOOPBACK).unwrap();
    assert!(another.leave.is_cancelled() && !newcomer[0].leave.is_cancelled());
}

#[test]
fn where_all_have_calls_nobody_is_taken() {
    let peers = peers(2, 100);
    let there = greeted(&peers, LOOPBACK, 2);
    let mut calls: Vec<Call> = there.iter().map(Peer::call).collect();

    assert_eq!(peers.admit(LOOPBACK).err(), Some(Full::Connections));
    calls.pop();
    assert!(peers.admit(LOOPBACK).is_ok());
    assert_eq!(leaving(&there), [false, true]);
}

#[test]
fn an_address_has_its_share_and_takes_it_from_nobody_else() {
    let peers = peers(10, 2);
    let others = greeted(&peers, address(1), 1);
    let own = greeted(&peers, address(2), 2);
    let _calls: Vec<Call> = own.iter().map(Peer::call).collect();

    assert_eq!(peers.admit(address(2)).err(), Some(Full::Address));
    let mapped = IpAddr::V6(std::net::Ipv4Addr::new(192, 0, 2, 2).to_ipv6_mapped());
    assert_eq!(peers.admit(mapped).err(), Some(Full::Address));
    assert!(peers.admit(address(1)).is_ok());
    assert_eq!(leaving(&others), [false]);
    // Loopback is this machine.
    assert!((0..5).all(|_| peers.admit(LOOPBACK).is_ok()));
    peers.ended(&own[0]);
    assert!(peers.admit(address(2)).is_ok());
}

#[tokio::test]
async fn those_that_leave_are_bounded_too() {
    let peers = peers(8, 100);
    let there = greeted(&peers, LOOPBACK, 8);
    peers.room().await;
    let _more = greeted(&peers, LOOPBACK, 1);

    let mut room = pin!(peers.room());
    assert!(!is_ready(room.as_mut()));
    peers.ended(&there[0]);
    room.await;
    assert_eq!(peers.0.table().peers.len(), 8);
}

#[tokio::test]
async fn a_crowd_that_says_nothing_waits_until_who_came_before_it_could_speak() {
    let peers = peers(3, 100);
    let there: Vec<_> = (0..3).map(|_| peers.admit(LOOPBACK).unwrap()).collect();

    let mut room = pin!(peers.room());
    assert!(!is_ready(room.as_mut()));
    there[0].greet();
    assert!(!is_ready(room.as_mut()));
    there[1].had_time();
    room.await;
    let newcomer = peers.admit(LOOPBACK).unwrap();
    assert_eq!(leaving(&there), [false, true, false]);

    peers.ended(&there[1]);
    let mut room = pin!(peers.room());
    assert!(!is_ready(room.as_mut()));
    // Where all have spoken, one of them can be asked to leave at once.
    there[2].greet();
    newcomer.greet();
    room.await;
}

#[test]
fn waiting_calls_and_transfers_have_bounds_and_give_their_places_back() {
    let peers = peers(8, 100);
    let there = greeted(&peers, LOOPBACK, 2);

    let mut places: Vec<Place> = (0..WAITING_MAX).map(|_| there[0].wait().unwrap()).collect();
    assert!(there[0].wait().is_none());
    assert!(there[1].wait().is_some());
    places.pop();
    assert!(there[0].wait().is_some());

    let mut uploads: Vec<Place> = (0..3).map(|_| there[0].upload().unwrap()).collect();
    assert_eq!(there[1].upload().err(), Some((3, "the coordinator")));
    uploads.pop();
    assert!(there[1].upload().is_ok());
    assert!(there[1].download().is_ok());
}

#[test]
fn one_connection_has_few_uploads() {
    let peers = Peers::new(Bounds {
        connections: 8,
        per_address: 8,
        transfers: 1_000,
        unread: 1_000,
    });
    let there = greeted(&peers, LOOPBACK, 2);

    let uploads: Vec<Place> = (0..UPLOADS_PER_CONNECTION_MAX)
        .map(|_| there[0].upload().unwrap())
        .collect();

    let full = Some((UPLOADS_PER_CONNECTION_MAX, "the connection"));
    assert_eq!(there[0].upload().err(), full);
    assert!(there[1].upload().is_ok());
    drop(uploads);
    assert!(there[0].upload().is_ok());
}

#[test]
fn the_connection_with_most_unread_bytes_is_cut_and_no_other() {
    let peers = peers(8, 100);
    let there = greeted(&peers, LOOPBACK, 3);
    let answer = |len: usize| Bytes::from(vec![7; len]);
    let few = there[0].hold_answer(answer(300), true);
    let most = there[1].hold_answer(answer(500), true);

    let _read = there[2].hold_answer(answer(200), false);
    assert!(there.iter().all(|peer| !peer.cut.is_cancelled()));
    let over = there[0].hold_answer(answer(1), true);
    let more = there[2].hold_answer(answer(1), true);

    let cut: Vec<bool> = there.iter().map(|peer| peer.cut.is_cancelled()).collect();
    assert_eq!(cut, [false, true, false]);
    assert_eq!(most.len(), 500);
    peers.ended(&there[1]);
    drop((few, most, over, more));
    assert_eq!(peers.0.unread.load(Ordering::Relaxed), 200);
}

#[tokio::test]
async fn a_connection_that_does_not_read_has_no_further_calls() {
    let peers = Peers::new(Bounds {
        unread: usize::MAX,
        ..peers(8, 100).0.bounds
    });
    let there = greeted(&peers, LOOPBACK, 2);
    let answer = Bytes::from(vec![7; UNREAD_PER_CONNECTION_MAX]);
    let first = there[0].hold_answer(answer, true);
    assert!(there[0].reads().await);
    let second = there[0].hold_answer(Bytes::from_static(b"7"), true);

    assert!(there[1].reads().await);
    let mut reads = pin!(there[0].reads());
    assert!(!is_ready(reads.as_mut()));
    drop(first);
    assert!(reads.await);
    drop(second);
}

#[tokio::test]
async fn one_list_of_a_connection_is_made_at_a_time() {
    let peers = peers(8, 100);
    let there = greeted(&peers, LOOPBACK, 2);
    let turn = turn_of(&there[0]).await;

    let mut second = pin!(turn_of(&there[0]));
    assert!(!is_ready(second.as_mut()));
    let _other = turn_of(&there[1]).await;
    drop(turn);
    drop(second.await);
}

#[tokio::test]
async fn who_has_left_least_unread_has_its_list_made_first() {
    let peers = peers(10, 100);
    let there = greeted(&peers, LOOPBACK, 5);
    let _unread = there[2].hold(500, true);
    let first = turn_of(&there[0]).await;
    let second = turn_of(&there[1]).await;
    let mut greedy = pin!(turn_of(&there[2]));
    let mut honest = pin!(turn_of(&there[3]));
    assert!(!is_ready(greedy.as_mut()) && !is_ready(honest.as_mut()));
    {
        // One that stops waiting has no turn.
        let mut gone = pin!(turn_of(&there[4]));
        assert!(!is_ready(gone.as_mut()));
    }

    drop(first);
    assert!(!is_ready(greedy.as_mut()) && is_ready(honest.as_mut()));
    drop(second);
    assert!(is_ready(greedy.as_mut()));
}
