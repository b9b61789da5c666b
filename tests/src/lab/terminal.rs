//! A terminal, as a user has one in front: what a command shows of its progress there, and Ctrl-C.

use super::{Lab, Running, scaled};
use rustix::{
    process::{ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{fd::BorrowedFd, unix::process::CommandExt as _},
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// What its user has in front.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

/// Wide enough for every line.
const SIZE: Winsize = Winsize { ws_row: 25, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
const STDERR: i32 = 2;

impl Lab {
    /// A command in the foreground of a terminal, where it reads and where its errors go; its standard output does not.
    pub fn start_on_a_terminal(&self, arguments: &[&str]) -> (Running, Terminal) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        unlockpt(&master).expect("it is ours");
        let end = ioctl_tiocgptpeer(&master, flags).expect("its other end");
        tcsetwinsize(&end, SIZE).expect("it has a size");
        let mut command = self.command(arguments);
        command.stdin(end.try_clone().expect("a descriptor")).stdout(Stdio::piped()).stderr(end);
        let lead = || {
            setsid()?;
            // SAFETY: a child has its standard error before it runs what is asked here.
            Ok(ioctl_tiocsctty(unsafe { BorrowedFd::borrow_raw(STDERR) })?)
        };
        // SAFETY: two system calls, and nothing is allocated.
        unsafe { command.env("TERM", "xterm").pre_exec(lead) };
        let running = Running(command.spawn().expect("netebpf runs"));
        (running, Terminal::new(File::from(master)))
    }
}

impl Terminal {
    fn new(keyboard: File) -> Self {
        let mut master = keyboard.try_clone().expect("a descriptor");
        let (sender, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Its end is an error: nobody has the other end any more.
            while let Ok(length @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard, screen, shown: String::new() }
    }

    /// Waits until this is shown; what was shown up to then is forgotten.
    #[track_caller]
    pub fn shows(&mut self, words: &str) {
        let deadline = Instant::now() + scaled(Duration::from_secs(60));
        loop {
            if let Some(place) = self.shown.find(words) {
                self.shown.drain(..place + words.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.screen.recv_timeout(left) else {
                panic!("{words:?} is not shown: {}", self.shown);
            };
            self.shown += &String::from_utf8_lossy(&bytes);
        }
    }

    /// Ctrl-C: an interruption of all that are in the foreground.
    pub fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").expect("somebody has the terminal");
    }

    /// What else is shown until nobody has it any more.
    pub fn rest(mut self) -> String {
        while let Ok(bytes) = self.screen.recv_timeout(scaled(Duration::from_secs(5))) {
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        self.shown
    }
}
