//! The worker daemon, as the tests run it.

fn main() -> std::process::ExitCode {
    ganger_worker::main()
}
