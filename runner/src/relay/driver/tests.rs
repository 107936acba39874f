//! The command lines of docs/spec/session-mailbox.md 8.5, compared word by word.

use super::*;

fn line(command: &[OsString]) -> String {
    command.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn with<T>(network: &str, check: impl FnOnce(&Launch<'_>) -> T) -> T {
    let places = Places::of(Path::new("/state"), "s1");
    let (work, system, binds) =
        (places.work(), [PathBuf::from("/usr"), PathBuf::from("/no/such/path")], [PathBuf::from("/etc")]);
    check(&Launch {
        places: &places,
        cwd: "/home/user/workspace/s1",
        work: &work,
        share: Path::new("/state/share"),
        mailbox_id: "m1",
        generation: 7,
        name: "logseq-e8bc163c82ee-7",
        system: &system,
        binds: &binds,
        network,
        user: (1000, 1001),
    })
}

const FOLDER: &str = "/state/sessions/e8bc163c82eee18733288c7d4ac636db";
const RUN: &str = "/opt/logseq/agent-shim run --in /mailbox/in --out /mailbox/out --work /home/user/workspace/s1 \
                   --home /home/user --share /opt/logseq";

#[test]
fn a_plain_process_has_the_folders_as_they_are() {
    let command = with("host", |launch| Driver::Plain.commands(launch));
    let wanted = format!(
        "/state/share/agent-shim run --in {FOLDER}/in --out {FOLDER}/out --work {FOLDER}/work --home {FOLDER}/home \
         --share /state/share"
    );
    assert_eq!((line(&command.main), command.before, command.tells), (wanted, None, false));
}

#[test]
fn bubblewrap_shows_the_inside_read_only_and_the_home_before_the_work() {
    let driver = Driver::Bubblewrap { program: "/usr/bin/bwrap".into() };
    let wanted = |net: &str| {
        format!(
            "/usr/bin/bwrap --info-fd 3 --unshare-user --unshare-pid --unshare-ipc --unshare-uts {net}--new-session --clearenv \
             --proc /proc --dev /dev --tmpfs /tmp --ro-bind /usr /usr --ro-bind /etc /etc --ro-bind {FOLDER}/in /mailbox/in \
             --bind {FOLDER}/out /mailbox/out --bind {FOLDER}/home /home/user --bind {FOLDER}/work /home/user/workspace/s1 \
             --ro-bind /state/share /opt/logseq --chdir /home/user/workspace/s1 -- {RUN}"
        )
    };
    for (network, net) in [("host", ""), ("none", "--unshare-net ")] {
        let commands = with(network, |launch| driver.commands(launch));
        assert_eq!(line(&commands.main), wanted(net));
        assert!(commands.tells && commands.before.is_none());
    }
}

#[test]
fn a_container_is_made_with_labels_and_without_rights_and_started_by_its_name() {
    let driver = Driver::Container { runtime: "/usr/bin/podman".into(), image: "agents:1".into() };
    let commands = with("host", |launch| driver.commands(launch));
    let mounts = format!(
        "--mount type=bind,src={FOLDER}/in,dst=/mailbox/in,readonly --mount type=bind,src={FOLDER}/out,dst=/mailbox/out \
         --mount type=bind,src={FOLDER}/home,dst=/home/user --mount type=bind,src={FOLDER}/work,dst=/home/user/workspace/s1 \
         --mount type=bind,src=/state/share,dst=/opt/logseq,readonly --mount type=bind,src=/etc,dst=/etc,readonly"
    );
    let create = format!(
        "/usr/bin/podman create --interactive --name logseq-e8bc163c82ee-7 --label logseq.mailbox=m1 --label logseq.generation=7 \
         --init --user 1000:1001 --cap-drop ALL --security-opt no-new-privileges --pids-limit 512 --network host {mounts} \
         --workdir /home/user/workspace/s1 agents:1 {RUN}"
    );
    assert_eq!(line(&commands.before.unwrap()), create);
    let start = "/usr/bin/podman start --attach --interactive --sig-proxy=false logseq-e8bc163c82ee-7";
    assert_eq!(line(&commands.main), start);
}

#[test]
fn rolling_back_sees_nothing_but_the_agents_own_folder() {
    let recovery = |driver: &Driver| with("host", |launch| line(&driver.recovery(launch)));
    assert_eq!(recovery(&Driver::Plain), format!("/state/share/agent-shim recover --out {FOLDER}/out"));
    for driver in [
        Driver::Bubblewrap { program: "/usr/bin/bwrap".into() },
        Driver::Container { runtime: "/usr/bin/docker".into(), image: "i".into() },
    ] {
        let line = recovery(&driver);
        assert!(line.ends_with("/opt/logseq/agent-shim recover --out /mailbox/out"), "{line}");
        assert!(!line.contains("/in ") && !line.contains("/home"), "{line}");
    }
}

#[test]
fn a_walled_in_agent_works_where_its_conversation_was_or_at_a_place_of_its_own() {
    let wall = Driver::Bubblewrap { program: "bwrap".into() };
    let work = Path::new("/state/w");
    assert_eq!(wall.cwd("My Session!", None, work), "/home/user/workspace/my-session");
    assert_eq!(wall.cwd("s", Some("/home/user/workspace/x"), work), "/home/user/workspace/x");
    for odd in ["/etc", "/home/user", "/home/user/../x", "/home/user//x", "relative", "/home/user/a/"] {
        assert_eq!(wall.cwd("s", Some(odd), work), "/home/user/workspace/s", "{odd}");
    }
    assert_eq!(Driver::Plain.cwd("s", Some("/home/user/workspace/x"), work), "/state/w");
}

#[test]
fn a_network_that_a_driver_cannot_give_is_not_taken_for_another() {
    let bubblewrap = Driver::Bubblewrap { program: "/usr/bin/bwrap".into() };
    let container = Driver::Container { runtime: "/usr/bin/podman".into(), image: "debian".into() };
    let which = |network: &str| [&Driver::Plain, &bubblewrap, &container].map(|driver| driver.has_network(network));
    assert_eq!(which("host"), [true, true, true]);
    assert_eq!(which("none"), [false, true, true]);
    assert_eq!(which("agents"), [false, false, true]);
}
