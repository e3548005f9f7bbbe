//! The coordinator daemon.

fn main() -> std::process::ExitCode {
    ganger_coordinator::main()
}
