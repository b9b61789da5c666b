//! What libtest prints, and the runner of the namespace tests in its manner, read line by line.
//!
//! **Invariant**: a program that ends without its summary line, or with an exit code that its summary
//! does not account for, has a failure in the tally.

/// How many tests passed, failed, were skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The output of one or more test programs, as it comes.
#[derive(Debug, Default)]
pub(crate) struct Report {
    tally: Tally,
    /// Summary lines that are still due.
    running: usize,
    /// Whose captured output is being printed.
    printing: Option<String>,
    /// Tests that found out by themselves that they cannot run, and were counted as passed: libtest has
    /// no word for that.
    passed_but_skipped: usize,
    /// What was skipped, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Report {
    /// Takes the next line; returns the test that it reports the end of.
    pub(crate) fn line<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if let Some(rest) = line.strip_prefix("running ")
            && (rest.ends_with(" tests") || rest.ends_with(" test"))
        {
            self.running += 1;
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            self.running = self.running.saturating_sub(1);
            self.printing = None;
            self.tally += summary(rest);
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----"))
        {
            self.printing = Some(name.trim_end_matches(" stdout").to_owned());
        } else if let Some(reason) = line.strip_prefix("skipped: ") {
            if let Some(test) = self.printing.clone() {
                self.passed_but_skipped += 1;
                self.skipped.push((test, reason.to_owned()));
            }
        } else if let Some((test, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            let reason = outcome.strip_prefix("skipped: ").or(outcome.strip_prefix("ignored, "));
            self.skipped.extend(reason.map(|reason| (test.to_owned(), reason.to_owned())));
            return Some(test);
        }
        None
    }

    /// The tally, when the output is over.
    pub(crate) fn finish(&self, exit_is_zero: bool) -> Tally {
        let mut tally = self.tally;
        let skipped = self.passed_but_skipped.min(tally.passed);
        tally.passed -= skipped;
        tally.skipped += skipped;
        tally.failed += self.running;
        if !exit_is_zero && tally.failed == 0 {
            tally.failed = 1;
        }
        tally
    }
}

/// Whether a line helps to understand a failure: all but the tests that passed.
pub(crate) fn matters(line: &str) -> bool {
    !(line.starts_with("test ") && line.contains(" ... ok"))
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s`.
fn summary(line: &str) -> Tally {
    let count = |what: &str| {
        line.split(['.', ';'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
            .unwrap_or(0)
    };
    Tally { passed: count("passed"), failed: count("failed"), skipped: count("ignored") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str, exit_is_zero: bool) -> Tally {
        let mut report = Report::default();
        for line in output.lines() {
            report.line(line);
        }
        report.finish(exit_is_zero)
    }

    fn tally(passed: usize, failed: usize, skipped: usize) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn programs_are_summed_up() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            running 1 test\ntest c ... ignored, why\n\
            test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(read(output, false), tally(1, 1, 1));
    }

    #[test]
    fn a_test_that_says_skipped_has_not_passed() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
            skipped: no root\n\n\nsuccesses:\n    a\n    b\n\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        assert_eq!(read(output, true), tally(1, 0, 1));
    }

    #[test]
    fn the_runner_of_namespace_tests_counts_them_itself() {
        let output = "running 2 tests\ntest a ... ok (0.1 s)\ntest b ... skipped: no iperf3\n\n\
            test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        assert_eq!(read(output, true), tally(1, 0, 1));
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        assert_eq!(read("running 2 tests\ntest a ... ok\n", false), tally(0, 1, 0));
        assert_eq!(read("", false), tally(0, 1, 0));
    }
}
