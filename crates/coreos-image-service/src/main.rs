//! The front door: settings, telemetry, the life of the process, and one file per subcommand.

mod command;
mod crypto;
mod settings;
mod telemetry;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use coreos_names::WithCauses;

/// The settings or the command line cannot be used (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    crypto::install_provider();
    match command::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Tells the admin what went wrong, on the channel that is in use by then.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        // Asking for help is no error, though clap reports it as one. If the terminal is gone there is nobody to tell.
        let _ = error.print();
        return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
    }
    if telemetry::is_initialized() && !io::stderr().is_terminal() {
        tracing::error!(error = %WithCauses(error.as_ref()), "the service has failed");
    } else {
        eprintln!("error: {}", WithCauses(error.as_ref()));
    }
    if error.is::<settings::InvalidSettings>() {
        ExitCode::from(USAGE)
    } else if let Some(error) = error.downcast_ref::<pull_secret_sync::Error>() {
        ExitCode::from(error.exit_code())
    } else {
        ExitCode::FAILURE
    }
}
