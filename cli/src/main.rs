//! The `ganger` binary: one tool with many faces.

fn main() -> std::process::ExitCode {
    ganger_cli::main()
}
