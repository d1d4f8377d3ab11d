//! The `mbm` command. Only this crate prints, reads arguments or exits.

mod args;
mod command;
mod dataset;
mod duration;
mod explain;
mod generate;
mod interrupt;
mod output;
mod progress;
mod retrieval;
mod schema;
mod serve;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mbm_allocator::MiMalloc = mbm_allocator::MiMalloc;

fn main() -> ExitCode {
    mbm_allocator::keep_freed_memory();
    let args = args::Args::parse_from(args::with_dashes(std::env::args()));
    match interrupt::outlive_file_limits().and_then(|()| command::run(args.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {}", output::message(&error)));
            if error.is::<interrupt::Interrupted>() { interrupt::exit_status().into() } else { ExitCode::FAILURE }
        }
    }
}
