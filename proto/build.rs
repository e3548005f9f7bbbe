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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=ganger");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let contract = protox::compile(FILES, ["."])?;
    let descriptors = contract.encode_to_vec();
    fs::write(out.join("ganger_descriptors.bin"), &descriptors)?;

    tonic_prost_build::configure()
        // A client's own `connect()` would clash with the call WorkerService/Connect.
        .build_transport(false)
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .bytes(".ganger.v1")
        .compile_fds(contract)?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .build(&[".ganger.v1"])
        .map_err(io::Error::other)?;
    Ok(())
}
