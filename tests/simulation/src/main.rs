//! Plays many seeds, or one again: `simulation [--seeds N] [--from N] [--seed N [--trace]] [--random] [--threads N]`.
//! `simulation odd` does so with odd graphs instead of clients.

mod odd_command;

use std::process::ExitCode;

struct Options {
    from: u64,
    count: u64,
    threads: usize,
    trace: bool,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|first| first == "odd").is_some() {
        return odd_command::run(args);
    }
    match parse(args) {
        Ok(options) => play(&options),
        Err(error) => {
            eprintln!(
                "{error}\nusage: simulation [--seeds N] [--from N] [--seed N [--trace]] [--random] [--threads N]"
            );
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { from: 0, count: 1000, threads, trace: false };
    while let Some(arg) = args.next() {
        let mut number =
            || args.next().and_then(|text| text.parse::<u64>().ok()).ok_or(format!("{arg} takes a number"));
        match arg.as_str() {
            "--seeds" => options.count = number()?,
            "--from" => options.from = number()?,
            "--random" => options.from = odd_command::seed_of_the_moment()?,
            "--seed" => (options.from, options.count) = (number()?, 1),
            "--threads" => options.threads = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--trace" => options.trace = true,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

fn play(options: &Options) -> ExitCode {
    let seeds = options.from..options.from.saturating_add(options.count);
    println!("seeds from {} on", seeds.start);
    match simulation::run_all(seeds, options.threads, options.trace) {
        Ok(stats) => {
            println!("{stats}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
