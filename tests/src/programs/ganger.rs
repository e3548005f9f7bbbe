//! The person's tool, as the tests run it.

fn main() -> std::process::ExitCode {
    ganger_cli::main()
}
