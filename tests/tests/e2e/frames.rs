//! Bytes that are no call: malformed and oversized frames over HTTP/2, and no HTTP/2 at all.

use bytes::Bytes;
use ganger_proto::v1;
use ganger_tests::{Cluster, HandWorker, hello, patiently, programs, refused};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Status};

const CREATE: &str = "/ganger.v1.TaskService/CreateTask";

/// A message with its prefix: whether it is compressed, and how long it says it is.
fn frame(flag: u8, len: u32, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &len.to_be_bytes(), message].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    frame(0, message.len() as u32, message)
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Posts a body to a path, and answers the status that came of it.
async fn post(cluster: &Cluster, path: &str, headers: Headers<'_>, body: Vec<u8>) -> Status {
    let stream = TcpStream::connect(cluster.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://{}{path}", cluster.addr()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, mut sending) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    let posted = async {
        // A server that has heard enough needs not hear it all.
        let _ = sending.send_data(Bytes::from(body), true);
        let answer = answer.await.unwrap();
        let (head, mut body) = answer.into_parts();
        while let Some(data) = body.data().await {
            let len = data.unwrap().len();
            body.flow_control().release_capacity(len).unwrap();
        }
        let trailers = body.trailers().await.unwrap().unwrap_or(head.headers);
        Status::from_header_map(&trailers).unwrap_or_else(|| panic!("{trailers:?} is no status"))
    };
    let status = patiently("an answer to raw bytes", posted).await;
    connection.abort();
    status
}

#[tokio::test]
async fn malformed_messages_are_refused_as_invalid_and_change_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let before = cluster.status().await;
    let gzip = &[("grpc-encoding", "gzip")][..];
    let table: &[(&str, Headers<'_>, Vec<u8>)] = &[
        ("nothing", &[], vec![]),
        ("half a prefix", &[], vec![0, 0]),
        ("no protobuf", &[], framed(&[0xff; 64])),
        ("no UTF-8", &[], framed(&[0x12, 2, 0xc3, 0x28])),
        ("shorter than it says", &[], frame(0, 100, b"\x12\x01x")),
        (
            "two messages",
            &[],
            [framed(b"\x12\x01x"), framed(&[0xff; 8])].concat(),
        ),
        ("flag 7", &[], frame(7, 3, b"\x12\x01x")),
        ("compressed by nothing", &[], frame(1, 3, b"\x12\x01x")),
        ("no gzip", gzip, frame(1, 8, b"notgzip!")),
        ("larger than all memory", &[], frame(0, u32::MAX, b"x")),
        ("deep", &[], framed(&nested(10_000))),
    ];

    for (what, headers, body) in table {
        let status = post(&cluster, CREATE, headers, body.clone()).await;
        println!("{what}: {status:?}");
        if *what == "two messages" && status.code() == Code::Ok {
            continue;
        }
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        ganger_tests::error_info(&status);
    }

    let after = cluster.status().await;
    assert!(
        after.commit <= before.commit + 1,
        "only the one whose first message is fine"
    );
}

/// A value of metadata within a list within a list…
fn nested(depth: usize) -> Vec<u8> {
    use prost::Message;
    let mut value = Vec::new();
    for _ in 0..depth {
        let list = [&[0x0a][..], &varint(value.len()), &value].concat();
        value = [&[0x32][..], &varint(list.len()), &list].concat();
    }
    let entry = [&[0x0a, 1, b'k', 0x12][..], &varint(value.len()), &value].concat();
    let object = [&[0x0a][..], &varint(entry.len()), &entry].concat();
    let subject = v1::CreateTaskRequest {
        subject: "deep".into(),
        ..v1::CreateTaskRequest::default()
    };
    [
        subject.encode_to_vec(),
        vec![0x42],
        varint(object.len()),
        object,
    ]
    .concat()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[tokio::test]
async fn messages_over_4_mib_are_refused_with_the_limit() {
    let cluster = Cluster::start(programs!()).await;
    let before = cluster.status().await.commit;
    let giant = |len: usize| v1::CreateTaskRequest {
        subject: "giant".into(),
        description: "x".repeat(len),
        ..v1::CreateTaskRequest::default()
    };

    let client = cluster.client();
    let info = refused(
        client.task().create_task(giant(4 << 20)).await,
        Code::InvalidArgument,
        "MESSAGE_TOO_LARGE",
    );
    assert_eq!(info.metadata["max"], (4 << 20).to_string());
    // Small on the wire, and giant when it is unpacked.
    let mut packed = client
        .task()
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let status = packed.create_task(giant(64 << 20)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    ganger_tests::error_info(&status);
    // Just under it is a call like any other, and too long by its field.
    refused(
        client.task().create_task(giant((4 << 20) - 64)).await,
        Code::InvalidArgument,
        "FIELD_TOO_LONG",
    );

    assert_eq!(cluster.status().await.commit, before);
}

#[tokio::test]
async fn oversized_and_malformed_frames_of_a_worker_end_its_stream_alone() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut bystander = HandWorker::connect(&client, hello("bystander"))
        .await
        .unwrap();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();

    worker.say(v1::connect_request::Message::Draining(v1::Draining {
        reason: "x".repeat(5 << 20),
    }));
    let ended = async {
        loop {
            if worker.hear().await?.is_none() {
                return Ok(());
            }
        }
    };
    refused(ended.await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let status = post(
        &cluster,
        "/ganger.v1.WorkerService/Connect",
        &[],
        framed(&[0xff; 9]),
    )
    .await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    ganger_tests::error_info(&status);
    let status = post(
        &cluster,
        "/ganger.v1.ArtifactService/UploadArtifact",
        &[],
        framed(&[0xff; 9]),
    )
    .await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    ganger_tests::error_info(&status);

    let task = v1::StartTaskRequest {
        agent_type: "by-hand".into(),
        prompt: "x".into(),
        ..v1::StartTaskRequest::default()
    };
    client.start_task(task).await;
    let fence = bystander.assignment().await.fence.unwrap();
    assert!(bystander.completed(&fence, "well").await.accepted);
}

#[tokio::test]
async fn calls_that_are_not_there_are_unimplemented() {
    let cluster = Cluster::start(programs!()).await;

    for path in [
        "/ganger.v1.TaskService/Fly",
        "/ganger.v1.Nothing/Get",
        "/",
        "/../../etc/passwd",
    ] {
        let status = post(&cluster, path, &[], framed(b"")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert_eq!(ganger_tests::error_info(&status).reason, "CALL_UNKNOWN");
    }
    let status = post(
        &cluster,
        CREATE,
        &[("grpc-encoding", "snappy")],
        frame(1, 1, b"x"),
    )
    .await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    ganger_tests::error_info(&status);
}

#[tokio::test]
async fn bytes_that_are_no_http2_do_not_disturb_the_coordinator() {
    let cluster = Cluster::start(programs!()).await;
    for noise in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0u8; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut stream = TcpStream::connect(cluster.addr()).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        // It may answer something or nothing, but it ends.
        let mut answer = Vec::new();
        let _ = patiently("the connection ends", stream.read_to_end(&mut answer)).await;
    }

    assert_eq!(cluster.status().await.team_count, 1);
}

#[tokio::test]
async fn nonsense_in_the_metadata_of_grpc_is_no_reason_to_fall_over() {
    let cluster = Cluster::start(programs!()).await;
    for timeout in ["", "S", "5", "999999999S", "-1S", "1X", "99999999H", "0n"] {
        let status = post(
            &cluster,
            "/ganger.v1.FleetService/GetStatus",
            &[("grpc-timeout", timeout)],
            framed(b""),
        )
        .await;
        let is_fine = matches!(status.code(), Code::Ok | Code::InvalidArgument)
            || (timeout == "0n" && status.code() == Code::DeadlineExceeded);
        assert!(is_fine, "{timeout:?}: {status:?}");
    }
    assert_eq!(cluster.status().await.team_count, 1);
}
