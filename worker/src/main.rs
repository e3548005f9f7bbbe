//! The worker daemon.

fn main() -> std::process::ExitCode {
    ganger_worker::main()
}
