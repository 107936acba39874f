//! Tools that the worker offers to the agents of a runner (docs/spec/pg-sync.md 4.12).

use mailbox::tools;

use super::machine::Machine;

/// The token goes from the item into a file of its own and to the agent; no record, no message, no configuration, no command line and no log holds it. It goes
/// when the session does.
#[test]
fn tools_reach_the_agent_and_their_token_lies_in_one_place() {
    let token = "opens.the-tools";
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    plane.lock().tools = Some(token.to_owned());
    let mut runner = machine.start(&[("AGENT_TOOLS", "1")]);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(machine.noted(&format!("Bearer {token}")), 1);
    let session = machine.session("s1");
    let mut holds = Vec::new();
    let mut folders = vec![session.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    let bytes = std::fs::read(entry.path()).unwrap();
                    if bytes.windows(token.len()).any(|window| window == token.as_bytes()) {
                        holds.push(entry.path());
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(holds, [session.inside().join(tools::NAME)]);
    for pid in machine.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains(token));
    }
    assert!(!runner.log().contains(token));
    plane.change("s1", |desk, decide| sessions::mailbox::desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
    plane.until("it is closed", |_| (!session.inside().join(tools::NAME).exists()).then_some(()));
    runner.stop();
}
