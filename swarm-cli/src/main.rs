//! `swarm`: brings Docker Swarm clusters up and looks after them. Arguments, files, wiring and output; the rules are in swarm-core.

mod args;
mod args_ca;
mod args_common;
mod args_stores;
mod args_swarm;
mod args_work;
mod commands;
mod complete;
mod failure;
mod fleet;
mod input;
mod logs;
mod operator;
mod output;
mod progress;
mod registry;
mod service_flags;
mod source;
mod terminal;

use args::Cli;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A shell that asks for completions gets them, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(Cli::command).var(complete::VARIABLE).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { failure::USAGE });
        }
    };
    logs::start(cli.verbose);
    let format = cli.format;
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if format == args_common::Format::Text {
                output::error(&failure.to_string());
            } else {
                failure.tell(format);
            }
            ExitCode::from(failure.code())
        }
    }
}
