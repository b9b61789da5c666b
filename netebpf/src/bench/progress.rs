//! What is going on, on standard error: a spinner on a terminal, a bar with the time left while there is something to count,
//! else nothing.
//!
//! **Invariant**: a bar stands as long as what it counts goes on: no full one is shown while something else is done.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal as _, time::Duration};

/// The spinner, or the bar.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

/// A bar: while it is there, so many measurements are counted.
#[derive(Debug)]
pub(super) struct Bar<'a>(&'a ProgressBar);

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

    /// So many measurements begin, in the place of the spinner.
    pub(super) fn begin(&self, measurements: u64) -> Bar<'_> {
        let shape = "{bar:30} {pos}/{len}, {eta} left  {wide_msg:.dim}";
        self.0.reset();
        self.0.set_length(measurements);
        if let Ok(style) = ProgressStyle::with_template(shape) {
            self.0.set_style(style);
        }
        Bar(&self.0)
    }
}

impl Bar<'_> {
    /// One is done.
    pub(super) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        // First: whatever else is changed is drawn at once.
        self.0.set_style(ProgressStyle::default_spinner());
        self.0.unset_length();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
