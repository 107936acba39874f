//! Some seeds in `cargo test`: 100, or as many as `SIMULATION_SEEDS` says. The test command plays 1,000 with the program.

#[test]
fn all_seeds_agree() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    match simulation::run_all(0..seeds, threads, false) {
        Ok(stats) => println!("{stats}"),
        Err(failure) => panic!("{failure}"),
    }
}
