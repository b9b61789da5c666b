//! resolv.conf, as programs in an endpoint read it.

use super::*;
use std::path::Path;

netebpf_tests::tests![
    resolv_conf,
    resolv_conf_of_others_stays,
    resolv_conf_of_a_running_command,
    resolv_conf_replaced_under_a_running_command,
    resolv_conf_that_is_no_file,
    resolv_conf_half_written,
];

fn resolv_conf() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let path = lab.file("resolv.conf.seen", "");
    let path = path.to_str().expect("plain");
    let show = format!("cat /etc/resolv.conf > {path}; sleep 1000");
    lab.up_again(&topology().command("c2", &["sh", "-c", &show]), &[]).ok();
    let expected = ["nameserver 127.0.0.11", "search example.com", "options ndots:0 timeout:3"];
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let name = format!("{}.c1", lab.instance());
    let cat = ["cat", "/etc/resolv.conf"];
    let by_ip = lab.tool_with_etc("ip", &[&["netns", "exec", &name], &cat[..]].concat()).ok();
    assert_eq!(lines(&by_ip), expected);
    assert_eq!(lines(&lab.netebpf(&[&["exec", "c1", "--"], &cat[..]].concat()).ok()), expected);
    let run = ["run", "--rm", "--network", "front", "--"];
    assert_eq!(lines(&lab.netebpf(&[&run[..], &cat].concat()).ok()), expected);
    let seen = || std::fs::read_to_string(path).expect("our own file");
    eventually("the service to read it", || lines(&seen()) == expected);
    // The host's own is as it was.
    let host = lab.tool_with_etc("cat", &["/etc/resolv.conf"]).ok();
    assert!(host.starts_with("nameserver 198.51.100.9\n"), "{host}");
    // In a namespace of others.
    let other = Ns::create(format!("{}-app", lab.instance()));
    let netns = format!("/run/netns/{}", other.name());
    lab.run(&format!("create --name app --netns {netns} --network front")).ok();
    assert_eq!(lines(&lab.netebpf(&[&["exec", "app", "--"], &cat[..]].concat()).ok()), expected);
    assert_eq!(other.resolve("c1", "A").ok(), ["10.10.0.11"]);
    let its_own = format!("netns/{}/resolv.conf", other.name());
    assert_eq!(lab.read_etc_file(&its_own), None);
    lab.etc_file(&its_own, "nameserver 192.0.2.1\n");
    let text = lab.netebpf(&[&["exec", "app", "--"], &cat[..]].concat()).ok();
    assert_eq!(text, "nameserver 192.0.2.1\n", "what its owner wrote counts");
    lab.run("rm app").ok();
    assert!(other.try_resolve(Way::Udp, "c1", "A", moment()).is_err(), "nobody answers any more");
    // A link that leads elsewhere, as systemd-resolved has it.
    lab.etc_file("elsewhere", "nameserver 198.51.100.9\n");
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&format!("netns/{name}/resolv.conf")), None);
    lab.tool_with_etc("ln", &["-sf", "elsewhere", "/etc/resolv.conf"]).ok();
    lab.up_again(&topology(), &[]).ok();
    let text = lab.netebpf(&[&["exec", "c1", "--"], &cat[..]].concat()).ok();
    assert_eq!(lines(&text), ["nameserver 127.0.0.11", "options ndots:0"]);
    lab.tool_with_etc("rm", &["/etc/resolv.conf"]).ok();
    lab.run("exec c1 -- true").ok();
}

fn resolv_conf_of_others_stays() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let file = format!("netns/{}.c1/resolv.conf", lab.instance());
    let text = "nameserver 192.0.2.1\n";
    lab.etc_file(&file, text);
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains(&file) && said.contains("not ours"), "{said}");
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&file).as_deref(), Some(text));
}

/// A script that writes down what it sees, over and over.
fn show_always(path: &Path) -> String {
    let path = path.display();
    format!("while sleep 0.05; do cat /etc/resolv.conf > {path}.new; mv {path}.new {path}; done")
}

/// The host's file is replaced while commands run, as systemd-resolved and NetworkManager do: theirs stays what it is.
fn resolv_conf_of_a_running_command() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let seen = ["service", "run", "exec"].map(|name| lab.file(name, ""));
    let show = seen.each_ref().map(|path| show_always(path));
    lab.up_again(&topology().command("c2", &["sh", "-c", &show[0]]), &[]).ok();
    let _run = lab.start(&["run", "--rm", "--network", "front", "--", "sh", "-c", &show[1]]);
    let _exec = lab.start(&["exec", "c1", "--", "sh", "-c", &show[2]]);
    let all_see = |domain: &str| {
        let expected = [
            "nameserver 127.0.0.11".to_owned(),
            format!("search {domain}"),
            "options ndots:0".to_owned(),
        ];
        for path in &seen {
            eventually(&format!("{} to see {domain}", path.display()), || {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>() == expected
            });
        }
    };
    let text = |domain: &str| format!("nameserver 198.51.100.9\nsearch {domain}\n");
    lab.etc_file("resolv.conf", &text("first.example"));
    all_see("first.example");
    let replace = |with: &str| lab.tool_with_etc("mv", &["-T", with, "/etc/resolv.conf"]).ok();
    for domain in ["second.example", "third.example"] {
        lab.etc_file("resolv.conf.new", &text(domain));
        replace("/etc/resolv.conf.new");
        all_see(domain);
    }
    // A link to a file in its place, which is replaced; and then a file again.
    lab.etc_file("run/stub", &text("link.example"));
    lab.tool_with_etc("ln", &["-s", "run/stub", "/etc/link"]).ok();
    replace("/etc/link");
    all_see("link.example");
    lab.etc_file("run/new", &text("linked.example"));
    lab.tool_with_etc("mv", &["/etc/run/new", "/etc/run/stub"]).ok();
    all_see("linked.example");
    // The link leads elsewhere: to a file that was there, and to one that comes later.
    lab.etc_file("run/other", &text("other.example"));
    for (name, domain) in [("run/other", "other.example"), ("later/file", "later.example")] {
        lab.tool_with_etc("ln", &["-s", name, "/etc/link"]).ok();
        replace("/etc/link");
        lab.etc_file(name, &text(domain));
        all_see(domain);
    }
    lab.etc_file("resolv.conf.new", &text("file.example"));
    replace("/etc/resolv.conf.new");
    all_see("file.example");
    // While nobody keeps the service's.
    lab.kill_daemon();
    lab.etc_file("resolv.conf.new", &text("last.example"));
    replace("/etc/resolv.conf.new");
    lab.run("ps").ok();
    all_see("last.example");
}

/// Somebody gives an endpoint files of his own while commands run there.
fn resolv_conf_replaced_under_a_running_command() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let seen = ["service", "exec", "own"].map(|name| lab.file(name, ""));
    let [service, exec, own] = seen.each_ref().map(|path| show_always(path));
    lab.up_again(&topology().command("c1", &["sh", "-c", &service]), &[]).ok();
    let directory = format!("netns/{}.c1", lab.instance());
    lab.etc_file("hosts", "");
    let _exec = lab.start(&["exec", "c1", "--", "sh", "-c", &exec]);
    let mounts = "echo nameserver 192.0.2.99 > /etc/own; mount --bind /etc/own /etc/resolv.conf";
    let _own = lab.start(&["exec", "c1", "--", "sh", "-c", &format!("{mounts}; {own}")]);
    let sees = |path: &Path, line: &str| {
        eventually(&format!("{} to see {line}", path.display()), || {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.lines().any(|seen| seen == line)
        });
    };
    let all_see = |line: &str| seen.iter().for_each(|path| sees(path, line));
    seen[..2].iter().for_each(|path| sees(path, "nameserver 127.0.0.11"));
    // What a command mounts itself stays, until the file is replaced that it mounted it on: ours.
    sees(&seen[2], "nameserver 192.0.2.99");
    lab.etc_file(&format!("{directory}/hosts"), "192.0.2.7 somebody\n");
    let has_hosts = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/root/etc/hosts")).is_ok_and(|text| !text.is_empty())
    };
    eventually("the new file in all", || lab.endpoint("c1").processes().iter().all(has_hosts));
    std::fs::write(&seen[2], "").expect("our own file");
    sees(&seen[2], "nameserver 192.0.2.99");
    let text = |number: u32| format!("nameserver 192.0.2.{number}\n");
    let shell = |script: &str| {
        lab.tool_with_etc("sh", &["-c", &format!("cd /etc/{directory}; {script}")]).ok();
    };
    for number in [1, 2] {
        lab.etc_file(&format!("{directory}/new"), &text(number));
        shell("mv new resolv.conf");
        all_see(text(number).trim_end());
    }
    // By way of a copy, as editors do.
    lab.etc_file(&format!("{directory}/new"), &text(3));
    shell("mv resolv.conf resolv.conf~; mv new resolv.conf");
    all_see(text(3).trim_end());
    lab.kill_daemon();
    lab.etc_file(&format!("{directory}/new"), &text(4));
    shell("mv new resolv.conf");
    lab.run("ps").ok();
    all_see(text(4).trim_end());
    // One that is taken away is followed by the next.
    shell("rm resolv.conf");
    lab.etc_file(&format!("{directory}/resolv.conf"), &text(5));
    all_see(text(5).trim_end());
    let mounted = |pid: &u32| {
        let list = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        list.lines().filter(|line| line.contains(" /etc/resolv.conf ")).count()
    };
    let most = lab.endpoint("c1").processes().iter().map(mounted).max();
    assert_eq!(most, Some(1), "one in the place of the other");
}

/// A link, a pipe or a directory in the place of a file: named, left alone, and nobody waits for it.
fn resolv_conf_that_is_no_file() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let ours = format!("# netebpf:{}:\n", lab.instance());
    lab.etc_file("elsewhere", &ours);
    let place = |name: &str| format!("/etc/netns/{}.{name}/resolv.conf", lab.instance());
    for name in ["c1", "c2"] {
        lab.etc_file(&format!("netns/{}.{name}/hosts", lab.instance()), "");
    }
    lab.tool_with_etc("ln", &["-s", "/etc/elsewhere", &place("c1")]).ok();
    lab.tool_with_etc("mkfifo", &[&place("c2")]).ok();
    lab.tool_with_etc("mkdir", &["-p", &place("d1")]).ok();
    let said = lab.up_again(&topology(), &[]).ok();
    for name in ["c1", "c2", "d1"] {
        let line = said.lines().find(|line| line.contains(&place(name)));
        assert!(line.is_some_and(|line| line.contains("no regular file")), "{name}: {said}");
    }
    assert_eq!(lab.read_etc_file("elsewhere"), Some(ours));
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
    lab.run("down").ok();
    // What was there stays, and what was made for us is gone.
    let left = lab.tool_with_etc("sh", &["-c", "cd /etc/netns; find . -type d | sort"]).ok();
    let of = |name: &str| format!("./{}.{name}\n", lab.instance());
    let d1 = format!("{}{}resolv.conf\n", of("d1"), of("d1").trim_end().to_owned() + "/");
    assert_eq!(left, format!(".\n{}{}{d1}", of("c1"), of("c2")));
}

/// What was begun is ended; a directory that somebody made stays, one that was made for us goes.
fn resolv_conf_half_written() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let file = |name: &str| format!("netns/{}.{name}/resolv.conf", lab.instance());
    lab.etc_file(&file("c1"), "#");
    // Somebody wants no resolver.
    lab.etc_file(&file("i1"), "");
    lab.etc_file(&file("c2"), "# netebpf:");
    // Of a daemon that was killed while it made one.
    lab.etc_file(&format!("netns/.netebpf.{}./resolv.conf", lab.instance()), "# net");
    lab.up_again(&topology(), &[]).ok();
    for name in ["c1", "c2", "d1"] {
        let text = lab.read_etc_file(&file(name)).expect("a file");
        assert!(
            text.contains("nameserver 127.0.0.11\n") && text.starts_with("# netebpf:"),
            "{text}"
        );
    }
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&file("i1")).as_deref(), Some(""));
    lab.tool_with_etc("sh", &["-c", "rm /etc/netns/*.i1/resolv.conf; rmdir /etc/netns/*.i1"]).ok();
    let left = lab.tool_with_etc("sh", &["-c", "cd /etc/netns; find . | sort"]).ok();
    let of = |name: &str| format!("./{}.{name}\n", lab.instance());
    assert_eq!(left, format!(".\n{}{}", of("c1"), of("c2")), "the directories of others");
    // Where there was none, none stays.
    lab.tool_with_etc("sh", &["-c", "rmdir /etc/netns/*; rmdir /etc/netns"]).ok();
    lab.up_again(&topology(), &[]).ok();
    assert!(lab.read_etc_file(&file("c1")).is_some());
    lab.run("down").ok();
    let left = lab.tool_with_etc("ls", &["-A", "/etc"]).ok();
    assert!(!left.contains("netns"), "{left}");
}
