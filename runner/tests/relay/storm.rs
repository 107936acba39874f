use std::time::Duration;

use super::machine::Machine;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Row of docs/spec/session-mailbox.md 6: "Kill -9 storm", with the runner as one of those that die. `LIFE_LONG=1` for ten times as many.
#[test]
fn runners_and_shims_that_are_killed_at_random_neither_lose_nor_repeat_a_message() {
    let times = if std::env::var_os("LIFE_LONG").is_some() { 10 } else { 1 };
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut runner = machine.start(&[]);
    let messages = 12 * times;
    for number in 0..messages {
        let id = format!("m{number}");
        plane.say("s1", &id, &format!("say word-{number}; wait {}; say end", dice.below(300)));
        std::thread::sleep(Duration::from_millis(dice.below(700)));
        match dice.below(3) {
            0 => {
                runner.kill();
                runner = machine.start(&[]);
            }
            1 => {
                for pid in machine.processes() {
                    // It may have ended meanwhile.
                    let _gone = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
                }
            }
            _ => {}
        }
        let how = plane.ended("s1", &id);
        assert!(matches!(how.as_str(), "end_turn" | "error: turn_interrupted" | "turn_interrupted"), "{id}: {how}");
    }
    let state = plane.lock();
    for number in 0..messages {
        let id = format!("m{number}");
        assert_eq!(state.sessions["s1"].endings(&id).len(), 1, "{id}");
        assert!(
            machine.noted(&format!("word-{number};")) <= 2,
            "{id} runs once, and once more when the agent had it and died"
        );
    }
    drop(state);
    runner.stop();
}
