//! Git of an agent asks the worker by way of its shim and the runner (docs/spec/session-mailbox.md 4.10, 8.5).

use super::machine::Machine;

const SECRET: &str = "s3cret-of-one-call";
/// What the worker tells git.
pub(crate) const GIVEN: &str = "protocol=https\nhost=github.com\nusername=x-access-token\npassword=s3cret-of-one-call\npassword_expiry_utc=4102444800\n";

#[test]
fn git_has_a_password_for_its_call_and_nothing_is_left_of_it() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say ready");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let script = "export GIT_TERMINAL_PROMPT=0
for path in acme/project.git acme/other.git; do
  printf 'protocol=https\\nhost=github.com\\npath=%s\\n\\n' $path | git credential fill 2>/dev/null | grep -c password=$(printf s3cret)-of-one-call
done";
    std::fs::write(machine.session("s1").home().join("ask.sh"), script).unwrap();
    plane.say("s1", "two", "run ask.sh");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert_eq!(plane.said("s1"), "ready1\n0\n");
    let questions: Vec<String> = {
        let state = plane.lock();
        let asked = state.asked.iter().filter(|(path, _)| path == "/sessions/s1/git-credentials");
        asked.map(|(_, question)| question.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(questions.len(), 2, "each was asked once: {questions:?}");
    runner.stop();
    for file in [machine.session("s1").inbound(), machine.session("s1").outbound()] {
        let content = std::fs::read(file).unwrap();
        let content = String::from_utf8_lossy(&content);
        assert!(!content.contains(SECRET) && !content.contains("run-token"));
    }
    assert!(!runner.log().contains(SECRET));
}
