//! Random histories: whatever happens, no prompt comes twice, nothing that was stored is lost, and every session comes to rest.

use serde_json::json;

use crate::agent::Fate;
use crate::settings;
use crate::world::World;

/// A generator of small numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn fate(dice: &mut Dice) -> Fate {
    match dice.roll(8) {
        0 => Fate::NotReached,
        1 => Fate::Broken,
        2 => Fate::Missing,
        3 => Fate::Never,
        _ => Fate::Well,
    }
}

/// What was stored stays: the log only grows, and its cursors do.
fn assert_log_grows(world: &World, seen: &mut Vec<String>, seed: u64) {
    let events = world.events();
    let stored: Vec<_> = events.iter().filter(|event| event.get("cursor").is_some()).collect();
    let cursors: Vec<u64> = stored.iter().map(|event| event["cursor"].as_u64().unwrap()).collect();
    assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {cursors:?}");
    let ids: Vec<String> = stored.iter().map(|event| event["event-id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(&ids[..seen.len()], &seen[..], "seed {seed}");
    *seen = ids;
}

fn history(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let provider = if dice.roll(2) == 0 { "e2b" } else { "local-dev" };
    let mut world = World::new(settings(), provider);
    // Prompts that may be sent, in half of the histories.
    let turns = (dice.roll(2) == 0).then(|| dice.roll(4) + 1);
    world.create_within(turns.map(|turns| json!({"turns": turns})).as_ref());
    let mut seen = Vec::new();
    let mut messages = 0;
    for _ in 0..40 {
        match dice.roll(16) {
            0..=2 => {
                messages += 1;
                world.message(&format!("message {messages}"));
            }
            3 => drop(world.ask("POST", "pause", None)),
            4 => drop(world.ask("POST", "resume", None)),
            5 => drop(world.ask("POST", "interrupt", None)),
            6 if dice.roll(3) == 0 => drop(world.ask("POST", "cancel", None)),
            7 => world.crash(),
            8 => {
                let next = fate(&mut dice);
                world.agent.borrow_mut().next_prompt = next;
            }
            9 if dice.roll(2) == 0 => {
                let next = if dice.roll(2) == 0 { Fate::Broken } else { Fate::Never };
                world.agent.borrow_mut().next_provision = next;
            }
            10 => world.agent.borrow_mut().speak("text "),
            11 if dice.roll(2) == 0 => {
                let tokens = dice.roll(10_000);
                world.agent.borrow_mut().report(tokens, 0.5);
            }
            11 => world.agent.borrow_mut().use_tool(),
            12 => world.agent.borrow_mut().finish("end_turn"),
            13 if dice.roll(4) == 0 => world.agent.borrow_mut().exit(),
            13 => world.agent.borrow_mut().ask(),
            14 => {
                let (_, body) = world.ask("GET", "approvals", None);
                if let Some(id) = body["approvals"][0]["request-id"].as_str() {
                    let path = format!("approvals/{id}");
                    world.ask("POST", &path, Some(&json!({"decision": "granted"})));
                }
            }
            _ => {
                let ms = [10, 1_000, 70_000, 20 * 60_000][usize::try_from(dice.roll(4)).unwrap()];
                world.pass(ms);
            }
        }
        let heeds = dice.roll(2) == 0;
        world.agent.borrow_mut().heeds_cancel = heeds;
        assert_log_grows(&world, &mut seen, seed);
    }
    world.agent.borrow_mut().next_prompt = Fate::Well;
    world.agent.borrow_mut().next_provision = Fate::Well;
    if dice.roll(2) == 0 {
        world.crash();
        world.session.load().unwrap();
    }
    world.pass(24 * 60 * 60_000);
    assert_eq!(world.alarm(), None, "seed {seed} does not come to rest");
    assert_log_grows(&world, &mut seen, seed);
    let agent = world.agent.borrow();
    assert!(agent.prompts.values().all(|times| *times == 1), "seed {seed}: {:?}", agent.prompts);
    if let Some(turns) = turns {
        assert!(agent.prompts.len() as u64 <= turns, "seed {seed}: {:?}", agent.prompts);
    }
}

#[test]
fn every_history_comes_to_rest() {
    let seeds = std::env::var("SESSION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    for seed in 1..=seeds {
        history(seed);
    }
}
