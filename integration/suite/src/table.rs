//! A table of behaviours, a line each: what a test shows, and whether it is so. All lines are looked at before the test
//! fails.

/// What a look gives: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// Lines that are printed as they come.
#[derive(Debug, Default)]
pub struct Table {
    failed: Vec<String>,
}

impl Table {
    /// Prints a line.
    pub fn row(&mut self, what: &str, verdict: Verdict) {
        match verdict {
            Ok(()) => println!("{what:<78} ok"),
            Err(reason) => {
                println!("{what:<78} FAILED: {reason}");
                self.failed.push(what.to_owned());
            }
        }
    }

    /// Fails the test if a line has failed.
    ///
    /// # Panics
    ///
    /// With the lines that have.
    pub fn finish(self) {
        assert!(self.failed.is_empty(), "not so: {:#?}", self.failed);
    }
}

/// A verdict on a condition; `seen` is what there is instead.
///
/// # Errors
///
/// What was seen, if the condition is not met.
pub fn expect(condition: bool, seen: impl std::fmt::Display) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(seen.to_string())
    }
}
