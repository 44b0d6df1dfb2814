//! Process edge: arguments, exit status. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic on one rank must not leave the others waiting for it: the process ends, and the launcher ends the job.
    std::panic::set_hook(Box::new(|info| {
        dlio_rs::say(&format!(
            "dlio-rs: internal error: {info}\n  remedy: this is a defect of dlio-rs; report it with the command line and the workload"
        ));
        dlio_rs::remove_unfinished();
        std::process::abort();
    }));
    ExitCode::from(dlio_rs::main(std::env::args_os().collect()))
}
