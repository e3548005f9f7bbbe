//! Every type of message, whole, as the real grpcurl and jq print it.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value,
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, ServerStreamingService},
    transport::Server,
};

use super::{jq, printed, program, tool};
use crate::grpcurl::Dynamic;

/// How deep messages in messages are filled.
const DEPTH: usize = 4;

/// How often each message is printed, with other values each time.
const VARIANTS: usize = 12;

/// The contract, and a service that answers with each of its messages.
fn pool() -> DescriptorPool {
    let mut files = FileDescriptorSet::decode(ganger_proto::DESCRIPTORS).unwrap();
    let contract = DescriptorPool::from_file_descriptor_set(files.clone()).unwrap();
    let ours = contract
        .all_messages()
        .filter(|message| message.package_name() == "ganger.v1" && !message.is_map_entry());
    let fields = ours.enumerate().map(|(at, message)| FieldDescriptorProto {
        name: Some(format!("m{at}")),
        number: Some(i32::try_from(at).unwrap() + 1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::Message.into()),
        type_name: Some(format!(".{}", message.full_name())),
        ..FieldDescriptorProto::default()
    });
    let messages = vec![
        DescriptorProto {
            name: Some("Asks".into()),
            ..DescriptorProto::default()
        },
        DescriptorProto {
            name: Some("Any".into()),
            field: fields.collect(),
            ..DescriptorProto::default()
        },
    ];
    let method = MethodDescriptorProto {
        name: Some("All".into()),
        input_type: Some(".print.Asks".into()),
        output_type: Some(".print.Any".into()),
        server_streaming: Some(true),
        ..MethodDescriptorProto::default()
    };
    files.file.push(FileDescriptorProto {
        name: Some("print.proto".into()),
        package: Some("print".into()),
        syntax: Some("proto3".into()),
        dependency: contract.files().map(|file| file.name().into()).collect(),
        message_type: messages,
        service: vec![ServiceDescriptorProto {
            name: Some("Print".into()),
            method: vec![method],
            ..ServiceDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    });
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// Each message with all its fields set, several times with other values.
fn all(pool: &DescriptorPool) -> Vec<DynamicMessage> {
    let any = pool.get_message_by_name("print.Any").unwrap();
    let mut all = Vec::new();
    for field in any.fields() {
        for variant in 0..VARIANTS {
            let mut one = DynamicMessage::new(any.clone());
            one.set_field(&field, single(&field, variant, 0));
            all.push(one);
        }
    }
    all
}

fn filled(kind: &MessageDescriptor, variant: usize, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    let json = |text: &str| {
        let mut json = serde_json::Deserializer::from_str(text);
        DynamicMessage::deserialize(kind.clone(), &mut json).unwrap()
    };
    match kind.full_name() {
        "google.protobuf.Timestamp" => {
            let times = [
                "1970-01-01T00:00:00Z",
                "2026-11-29T19:13:00.5Z",
                "2026-11-29T19:13:00.000001Z",
                "9999-12-31T23:59:59.999999999Z",
            ];
            return json(&format!("{:?}", times[variant % times.len()]));
        }
        "google.protobuf.Duration" => {
            let spans = ["0s", "90s", "0.250s", "-1.000000001s"];
            return json(&format!("{:?}", spans[variant % spans.len()]));
        }
        "google.protobuf.Struct" => {
            let objects = [
                r#"{"z": "<a href='x'>&", "a": {"é": null, "E": [1, -2.5, true, "\u007f"], "e": {}}}"#,
                r#"{"10": 0, "9": 1e15, "b": 1e16, "c": 123456789012345680000, "d": -1.25e-7}"#,
                r#"{"nothing": [], "small": 0.0001, "smaller": 0.00001, "zero": -0.0, "pi": 3.141592653589793}"#,
            ];
            return json(objects[variant % objects.len()]);
        }
        _ if depth == DEPTH => return message,
        _ => {}
    }
    let variant_of = |at: usize| variant + at;
    for (at, field) in kind.fields().enumerate() {
        if let Some(oneof) = field.containing_oneof() {
            // Of a oneof one is set, each in its turn; what is optional is one of its own.
            let members = oneof.fields().collect::<Vec<_>>();
            if members[variant % members.len()] != field {
                continue;
            }
        }
        let value = if field.is_list() {
            let values = (0..3).map(|more| single(&field, variant_of(at) + more, depth));
            Value::List(values.collect())
        } else if field.is_map() {
            map(&field, variant, depth)
        } else {
            single(&field, variant_of(at), depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn map(field: &FieldDescriptor, variant: usize, depth: usize) -> Value {
    let Kind::Message(entry) = field.kind() else {
        unreachable!("a map's entries are messages");
    };
    let value = entry.map_entry_value_field();
    let keys = match entry.map_entry_key_field().kind() {
        Kind::String => ["zone", "a", "Z", "10", "9", "é", ""]
            .map(|key| MapKey::String(key.into()))
            .to_vec(),
        Kind::Int32 => [10, 9, -1].map(MapKey::I32).to_vec(),
        Kind::Int64 => [10, 9, -1].map(MapKey::I64).to_vec(),
        Kind::Uint32 => [10, 9, 100].map(MapKey::U32).to_vec(),
        Kind::Uint64 => [10, 9, 100].map(MapKey::U64).to_vec(),
        other => panic!("{}: no keys of {other:?} are known", field.full_name()),
    };
    let entries = keys
        .into_iter()
        .map(|key| (key, single(&value, variant, depth)));
    Value::Map(entries.collect::<HashMap<_, _>>())
}

/// One value. Every third is the default: where a field is optional, it is written all the same.
fn single(field: &FieldDescriptor, variant: usize, depth: usize) -> Value {
    let is_default = variant % 3 == 2;
    let number = u32::try_from(variant).unwrap() + 1;
    match field.kind() {
        Kind::Message(message) => Value::Message(filled(&message, variant, depth + 1)),
        _ if is_default => Value::default_value(&field.kind()),
        Kind::String => {
            let texts = ["plain", "<b> & \u{7f}\u{1}\t\n\"\\/ \u{2028} é 😀", " "];
            Value::String(texts[variant % texts.len()].into())
        }
        Kind::Bytes => Value::Bytes([0, 0xff, b'~', 0x3e][..1 + variant % 4].to_vec().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(if variant.is_multiple_of(2) {
            i32::MIN
        } else {
            i32::MAX
        }),
        Kind::Int64 => Value::I64(if variant.is_multiple_of(2) {
            i64::MIN
        } else {
            i64::MAX
        }),
        Kind::Uint32 => Value::U32(u32::MAX - number),
        Kind::Uint64 => Value::U64(u64::MAX - u64::from(number)),
        Kind::Double => Value::F64(f64::from(number) / 8.0),
        Kind::Float => Value::F32(0.125),
        Kind::Enum(values) => {
            let numbers: Vec<i32> = values.values().map(|value| value.number()).collect();
            // One that this version doesn't know is among them.
            let known = variant % (numbers.len() + 1);
            Value::EnumNumber(numbers.get(known).copied().unwrap_or(4_711))
        }
        other => panic!("{}: no values of {other:?} are known", field.full_name()),
    }
}

/// Answers with messages.
#[derive(Clone)]
struct Print(Arc<Vec<DynamicMessage>>);

impl NamedService for Print {
    const NAME: &'static str = "print.Print";
}

impl Service<http::Request<Body>> for Print {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let print = self.clone();
        Box::pin(async move {
            // What it is asked has no fields, so any descriptor reads it.
            let mut grpc = Grpc::new(Dynamic(print.0[0].descriptor()));
            Ok(grpc.server_streaming(print, request).await)
        })
    }
}

impl ServerStreamingService<DynamicMessage> for Print {
    type Response = DynamicMessage;
    type ResponseStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, _: Request<DynamicMessage>) -> Self::Future {
        let messages: Vec<_> = self.0.iter().cloned().map(Ok).collect();
        let stream = tokio_stream::iter(messages);
        Box::pin(async move { Ok(Response::new(Box::pin(stream) as Self::ResponseStream)) })
    }
}

async fn serve(pool: &DescriptorPool, messages: Vec<DynamicMessage>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let files = pool.encode_to_vec();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&files)
        .build_v1alpha()
        .unwrap();
    let server = Server::builder()
        .add_service(reflection)
        .add_service(Print(Arc::new(messages)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    addr
}

#[tokio::test]
async fn every_type_of_message_is_written_as_grpcurl_and_jq_write_it() {
    let Some(grpcurl) = tool("bin/grpcurl") else {
        return;
    };
    let pool = pool();
    let messages = all(&pool);
    let types = messages.len() / VARIANTS;
    assert!(types > 100, "{types} types are not the whole contract");
    let addr = serve(&pool, messages.clone()).await;

    let mut command = program(grpcurl);
    command.args(["-plaintext", &addr.to_string(), "print.Print/All"]);
    let theirs = printed(&mut command).await;
    let Some(theirs) = jq(".", &theirs).await else {
        return;
    };

    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs.len(), messages.len());
    for (message, theirs) in messages.iter().zip(theirs) {
        let ours = ganger_proto::json::of_dynamic(message);
        assert_eq!(ganger_proto::json::to_line(&ours).unwrap(), theirs);
    }
}
