//! Layer 3: netebpf from outside, with real sockets between throw-away namespaces.

use netebpf_tests::runner;

mod bad_input;
mod bench;
mod big_tcp;
mod bulk;
mod card;
mod commands;
mod compose;
mod daemon;
mod dns;
mod docker;
mod drivers;
mod events;
mod flows;
mod gateways;
mod hairpin;
mod isolation;
mod laboratory;
mod lifecycle;
mod local;
mod masquerade;
mod matrix;
mod nat;
mod neighbours;
mod netkit;
mod networks;
mod obscure;
mod peers;
mod published;
mod shortcut;
mod spoofing;
mod stop;
mod tools;
mod whole;
mod xdp;

fn main() -> std::process::ExitCode {
    let modules = [
        // The longest test: others are beside it.
        bench::TESTS,
        laboratory::TESTS,
        peers::TESTS,
        shortcut::TESTS,
        masquerade::TESTS,
        published::TESTS,
        gateways::TESTS,
        local::TESTS,
        hairpin::TESTS,
        nat::TESTS,
        isolation::TESTS,
        matrix::TESTS,
        neighbours::TESTS,
        spoofing::TESTS,
        obscure::TESTS,
        dns::TESTS,
        dns::files::TESTS,
        dns::forwarded::TESTS,
        flows::TESTS,
        whole::TESTS,
        big_tcp::TESTS,
        bulk::TESTS,
        tools::TESTS,
        daemon::TESTS,
        lifecycle::TESTS,
        stop::TESTS,
        events::TESTS,
        commands::TESTS,
        networks::TESTS,
        netkit::TESTS,
        drivers::TESTS,
        docker::TESTS,
        compose::TESTS,
        bad_input::TESTS,
        xdp::TESTS,
        card::TESTS,
    ];
    runner::main(&modules.concat())
}
