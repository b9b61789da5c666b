//! What is going on, on standard error: a bar with the time left on a terminal, else nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, time::Duration};

/// The bar.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// A step whose length nobody knows.
    pub(super) fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// So many measurements begin.
    pub(super) fn begin(&self, measurements: u64) {
        let shape = "{bar:30} {pos}/{len}, {eta} left  {wide_msg:.dim}";
        if let Ok(style) = ProgressStyle::with_template(shape) {
            self.0.set_style(style);
        }
        self.0.set_length(measurements);
        self.0.reset_eta();
    }

    /// One is done.
    pub(super) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
