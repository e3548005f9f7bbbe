//! Compiles `ganger/v1/*.proto` in pure Rust: no system protoc is wanted.

use std::{env, fs, io, path::PathBuf};

use prost::Message;

const FILES: &[&str] = &[
    "ganger/v1/artifact_service.proto",
    "ganger/v1/delegation_service.proto",
    "ganger/v1/fleet_service.proto",
    "ganger/v1/mailbox_service.proto",
    "ganger/v1/task_service.proto",
    "ganger/v1/team_service.proto",
    "ganger/v1/tool_service.proto",
    "ganger/v1/types.proto",
    "ganger/v1/worker_service.proto",
];

const WITH_SECRETS: [&str; 2] = [".ganger.v1.Assignment", ".ganger.v1.HeldVerdict"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=ganger");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let contract = protox::compile(FILES, ["."])?;
    let descriptors = contract.encode_to_vec();
    fs::write(out.join("ganger_descriptors.bin"), &descriptors)?;

    let mut config = tonic_prost_build::Config::new();
    // By its name a message finds its descriptor, from which its JSON is made.
    config.enable_type_names();
    tonic_prost_build::configure()
        // A client's own `connect()` would clash with the call WorkerService/Connect.
        .build_transport(false)
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .bytes(".ganger.v1")
        // They carry an attempt's secret: their `Debug` is written by hand, without it.
        .skip_debug(WITH_SECRETS)
        .compile_fds_with_config(contract, config)?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .build(&[".ganger.v1"])
        .map_err(io::Error::other)?;
    let serde = out.join("ganger.v1.serde.rs");
    let own = with_own_writing(&fs::read_to_string(&serde)?)?;
    fs::write(serde, own)?;
    Ok(())
}

/// What pbjson made, with its way to read messages and ours (`src/json.rs`) to write them: pbjson
/// puts oneofs last, leaves maps unsorted, and writes a time's zone as `+00:00`.
fn with_own_writing(made: &str) -> Result<String, Box<dyn std::error::Error>> {
    const HEAD: &str = "impl serde::Serialize for ";
    let mut own = String::with_capacity(made.len());
    let mut messages = 0;
    let mut parts = made.split(HEAD);
    own.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // An item ends with the first brace at a line's beginning.
        let (item, rest) = part.split_once("\n}\n").ok_or("an item without an end")?;
        own.push_str(HEAD);
        if item.contains("serialize_struct(") {
            let (path, _) = item.split_once(" {").ok_or("an item without a body")?;
            messages += 1;
            own.push_str(path);
            own.push_str(
                " {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::json::serialize(self, serializer)
    }",
            );
        } else {
            own.push_str(item);
        }
        own.push_str("\n}\n");
        own.push_str(rest);
    }
    match messages {
        0 => Err("pbjson writes messages in another way than it did".into()),
        _ => Ok(own),
    }
}
