//! `netebpf`: see `netebpf help`.

fn main() -> std::process::ExitCode {
    netebpf::cli::main()
}
