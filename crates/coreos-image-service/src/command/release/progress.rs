//! How far a download is, for people: a bar on a terminal, else a line now and then.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Percent between two lines where there is no terminal.
const STEP: u64 = 10;

/// The progress of one file, on the standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    name: String,
    /// The percentage at which the next line is due; `None` where there is a bar.
    next_line: Option<u64>,
}

impl Progress {
    pub(super) fn new(name: &str) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        );
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style.expect("the template is well-formed"))
            .with_message(name.to_owned());
        Self { bar, name: name.to_owned(), next_line: (!is_terminal).then_some(0) }
    }

    /// How many bytes there will be. Begins anew.
    pub(super) fn begin(&mut self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(0);
        self.next_line = self.next_line.map(|_| 0);
        // Waiting for the first byte is no part of the rate.
        self.bar.reset_eta();
        self.add(0);
    }

    /// So many more bytes are there.
    pub(super) fn add(&mut self, count: u64) {
        self.bar.inc(count);
        let (here, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let percent = here.saturating_mul(100).checked_div(total).unwrap_or(100);
        if self.next_line.is_some_and(|next| percent >= next) {
            self.next_line = Some(percent - percent % STEP + STEP);
            tell(format_args!("{}: {}", self.name, self.line(percent, total)));
        }
    }

    fn line(&self, percent: u64, total: u64) -> String {
        let total = DecimalBytes(total);
        let left = self.bar.eta();
        if percent == 0 || left == Duration::ZERO {
            return format!("{percent} % of {total}");
        }
        // Indicatif's rate is a number of bytes, which has no use for its fraction.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rate = DecimalBytes(self.bar.per_sec() as u64);
        format!("{percent} % of {total}, {rate}/s, {} left", HumanDuration(left))
    }
}

/// Prints a line on the standard error. That nobody reads it any more is no reason to end a download.
pub(super) fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
