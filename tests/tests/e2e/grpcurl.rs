//! A client that knows nothing of Ganger but what reflection tells it, as grpcurl does.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    time::Duration,
};

use ganger_tests::{Caller, Client, patiently};
use prost::{Message, bytes::Buf};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// What a caller says, one message after the other.
type Says = Pin<Box<dyn Stream<Item = DynamicMessage> + Send>>;

/// A client of whatever reflection describes.
pub struct Grpcurl {
    caller: Caller,
    pool: DescriptorPool,
}

macro_rules! reflection {
    ($version:ident) => {
        pub mod $version {
            use tonic_reflection::pb::$version as pb;

            use super::*;
            use pb::server_reflection_request::MessageRequest as Asks;
            use pb::server_reflection_response::MessageResponse as Hears;

            /// Asks one thing.
            pub async fn ask(caller: &Caller, asks: Asks) -> Result<Hears, Status> {
                let mut client =
                    pb::server_reflection_client::ServerReflectionClient::new(caller.clone());
                let request = pb::ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(asks),
                };
                let asking = client.server_reflection_info(tokio_stream::once(request));
                let mut answers = patiently("reflection", asking).await?.into_inner();
                let answer = patiently("reflection answers", answers.message()).await?;
                Ok(answer.unwrap().message_response.unwrap())
            }

            /// The names of all services.
            pub async fn services(caller: &Caller) -> Result<Vec<String>, Status> {
                match ask(caller, Asks::ListServices(String::new())).await? {
                    Hears::ListServicesResponse(list) => Ok(list
                        .service
                        .into_iter()
                        .map(|service| service.name)
                        .collect()),
                    other => panic!("asked for services, and heard {other:?}"),
                }
            }

            /// The files that define these symbols, and all that they import.
            pub async fn files(caller: &Caller, symbols: &[String]) -> FileDescriptorSet {
                let mut files = BTreeMap::<String, FileDescriptorProto>::new();
                let wanted = symbols.iter().cloned().map(Asks::FileContainingSymbol);
                let mut wanted: Vec<Asks> = wanted.collect();
                let mut asked = BTreeSet::new();
                while let Some(asks) = wanted.pop() {
                    let told = ask(caller, asks.clone()).await.unwrap();
                    let Hears::FileDescriptorResponse(found) = told else {
                        panic!("asked for {asks:?}, and heard {told:?}");
                    };
                    for file in found.file_descriptor_proto {
                        let file = FileDescriptorProto::decode(&file[..]).unwrap();
                        for import in &file.dependency {
                            if asked.insert(import.clone()) {
                                wanted.push(Asks::FileByFilename(import.clone()));
                            }
                        }
                        files.insert(file.name().to_owned(), file);
                    }
                }
                FileDescriptorSet {
                    file: files.into_values().collect(),
                }
            }
        }
    };
}

reflection!(v1);
reflection!(v1alpha);

impl Grpcurl {
    /// Learns all services by the present protocol.
    pub async fn by_v1(client: &Client) -> Self {
        let caller = client.caller();
        let services = v1::services(&caller).await.unwrap();
        let files = v1::files(&caller, &services).await;
        Self::of(caller, files)
    }

    /// Learns all services by the old protocol.
    pub async fn by_v1alpha(client: &Client) -> Self {
        let caller = client.caller();
        let services = v1alpha::services(&caller).await.unwrap();
        let files = v1alpha::files(&caller, &services).await;
        Self::of(caller, files)
    }

    fn of(caller: Caller, files: FileDescriptorSet) -> Self {
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        Self { caller, pool }
    }

    /// The calls of Ganger's own services, with their comments.
    pub fn calls(&self) -> Vec<(MethodDescriptor, String)> {
        let services = self.pool.services();
        services
            .filter(|service| service.package_name() == "ganger.v1")
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| {
                let comment = comment_of(&method);
                (method, comment)
            })
            .collect()
    }

    /// Runs a command line as grpcurl does, and answers all that came before the end.
    pub async fn run(&self, line: &CommandLine) -> (Vec<DynamicMessage>, Result<(), Status>) {
        let (service, call) = line.method.rsplit_once('/').unwrap();
        let service = self.pool.get_service_by_name(service).unwrap();
        let method = service.methods().find(|method| method.name() == call);
        let method = method.unwrap_or_else(|| panic!("no call {}", line.method));
        let mut messages = line.messages(&method);
        if messages.is_empty() && !method.is_client_streaming() {
            messages.push(DynamicMessage::new(method.input()));
        }
        // What is typed by hand is open until the person ends it.
        let typed = tokio_stream::iter(messages);
        let request: Says = if line.is_typed {
            Box::pin(typed.chain(tokio_stream::pending()))
        } else {
            Box::pin(typed)
        };
        self.hear(&method, request, line.max_time, line.is_typed)
            .await
    }

    /// Says one message, and answers how that ended.
    pub async fn say(
        &self,
        method: &MethodDescriptor,
        message: DynamicMessage,
        max_time: Duration,
    ) -> Result<(), Status> {
        let request = Box::pin(tokio_stream::once(message));
        self.hear(method, request, Some(max_time), false).await.1
    }

    /// Hears a call out, or its first word alone.
    async fn hear(
        &self,
        method: &MethodDescriptor,
        request: Says,
        max_time: Option<Duration>,
        is_first_enough: bool,
    ) -> (Vec<DynamicMessage>, Result<(), Status>) {
        let mut request = Request::new(request);
        if let Some(max_time) = max_time {
            request.set_timeout(max_time);
        }
        let mut grpc = tonic::client::Grpc::new(self.caller.clone());
        patiently("a connection", grpc.ready()).await.unwrap();
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        let path = format!("/{name}").parse().unwrap();
        let codec = Dynamic(method.output());
        let answer = patiently(&name, grpc.streaming(request, path, codec)).await;
        let mut answers = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => return (Vec::new(), Err(status)),
        };
        let mut came = Vec::new();
        loop {
            match patiently(&name, answers.message()).await {
                Ok(Some(message)) => came.push(message),
                Ok(None) => return (came, Ok(())),
                Err(status) => return (came, Err(status)),
            }
            if is_first_enough {
                return (came, Ok(()));
            }
        }
    }
}

/// What stands before a call in its file, which is what `grpcurl describe` prints.
fn comment_of(method: &MethodDescriptor) -> String {
    let file = method.parent_file();
    let info = file.file_descriptor_proto().source_code_info.clone();
    let locations = info.expect("the files come with their comments").location;
    let found = locations
        .into_iter()
        .find(|location| location.path == method.path());
    found
        .and_then(|location| location.leading_comments)
        .unwrap_or_default()
}

/// A command line of grpcurl.
#[derive(Debug)]
pub struct CommandLine {
    /// `package.Service/Call`.
    pub method: String,
    /// What `-d` says, or what is typed after the line.
    pub data: String,
    /// Whether the data is typed by a person (`-d @`), who then keeps the stream open.
    pub is_typed: bool,
    /// After how long the client gives up.
    pub max_time: Option<Duration>,
}

impl CommandLine {
    /// Finds the command line in a comment.
    pub fn of(comment: &str) -> Option<Self> {
        let mut lines = comment.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with("grpcurl "))?;
        let mut words = split(line).into_iter().skip(1);
        let mut found = Self {
            method: String::new(),
            data: String::new(),
            is_typed: false,
            max_time: None,
        };
        let mut address = None;
        while let Some(word) = words.next() {
            match &word[..] {
                "-plaintext" => {}
                "-d" => found.data = words.next()?,
                "-max-time" => {
                    let seconds = words.next()?.parse().unwrap();
                    found.max_time = Some(Duration::from_secs(seconds));
                }
                _ if address.is_none() => address = Some(word),
                _ => found.method = word,
            }
        }
        assert_eq!(address.as_deref(), Some("localhost:50051"), "{line}");
        if found.data == "@" {
            found.is_typed = true;
            found.data = lines.filter(|line| line.starts_with('{')).collect();
        }
        Some(found)
    }

    /// What it says.
    pub fn messages(&self, method: &MethodDescriptor) -> Vec<DynamicMessage> {
        let said = serde_json::Deserializer::from_str(&self.data).into_iter::<serde_json::Value>();
        said.map(|json| DynamicMessage::deserialize(method.input(), json.unwrap()).unwrap())
            .collect()
    }
}

/// Splits as a shell does, as far as single quotes go.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words
            .last_mut()
            .unwrap()
            .push_str(pieces.next().unwrap_or(""));
        words.extend(pieces.map(ToOwned::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Messages as their descriptors say.
pub struct Dynamic(pub MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encoding;
    type Decoder = Dynamic;

    fn encoder(&mut self) -> Encoding {
        Encoding
    }

    fn decoder(&mut self) -> Dynamic {
        Dynamic(self.0.clone())
    }
}

pub struct Encoding;

impl Encoder for Encoding {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(to)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        DynamicMessage::decode(self.0.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
