//! Whether a process is the one that metadata names (docs/spec/daemon.md 4.3). Pure: what was seen comes in.

/// Where the asking process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// This start of this machine.
    pub boot_id: String,
    /// This process's pid namespace, by inode.
    pub pid_ns: u64,
    /// This process's user.
    pub uid: u32,
    /// Name of the machine.
    pub host: String,
}

/// What metadata says about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim<'a> {
    /// When it started, in clock ticks since the machine did.
    pub start: Option<u64>,
    /// Which start of which machine.
    pub boot_id: Option<&'a str>,
    /// Its pid namespace.
    pub pid_ns: Option<u64>,
}

/// What the process table says about a pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No such process.
    Gone,
    /// A process.
    Process(Process),
}

/// A process of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The state's letter, as in `/proc/<pid>/stat`.
    pub state: char,
    /// Pid of its parent.
    pub parent: u32,
    /// Clock ticks it computed.
    pub cpu: u64,
    /// When it started, in clock ticks since the machine did.
    pub start: u64,
    /// Whether its clock since the start of the machine is another one than ours, so that `start` compares with nothing.
    pub other_clock: bool,
    /// Whether it has the scope's lock file open, and a lock on it.
    pub holds_lock: bool,
    /// Whether we may send it signals.
    pub signalable: bool,
}

/// Why a process cannot be managed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It runs in a container of this machine.
    Namespace,
    /// It runs on another machine.
    Host,
    /// It belongs to another user.
    Permission,
}

impl Reason {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Host => "host",
            Self::Permission => "permission",
        }
    }
}

/// Whether the process that metadata names is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, and may be managed as far as the system is asked.
    Same,
    /// It is gone, or its pid belongs to another process now.
    Dead,
    /// It runs, or may, where it cannot be managed.
    Elsewhere(Reason),
}

/// A process's start may be read with this difference, in ticks: it is rounded on the way.
const TOLERANCE: u64 = 2;

/// Judges. `held` says whether somebody holds the lock that the metadata belongs to.
pub fn judge(claim: &Claim<'_>, here: &Here, seen: &Seen, held: bool) -> Verdict {
    let legacy = claim.start.is_none() || claim.boot_id.is_none() || claim.pid_ns.is_none();
    if !legacy {
        let reason = if claim.boot_id != Some(here.boot_id.as_str()) {
            Some(Reason::Host)
        } else if claim.pid_ns != Some(here.pid_ns) {
            Some(Reason::Namespace)
        } else {
            None
        };
        if let Some(reason) = reason {
            return if held { Verdict::Elsewhere(reason) } else { Verdict::Dead };
        }
    }
    let Seen::Process(process) = seen else {
        return Verdict::Dead;
    };
    if is_dead(process.state) {
        return Verdict::Dead;
    }
    let same = match claim.start {
        Some(start) if !legacy && !process.other_clock => start.abs_diff(process.start) <= TOLERANCE,
        // The clocks do not compare: the open lock is the proof.
        _ => process.holds_lock,
    };
    match (same, process.signalable) {
        (false, _) => Verdict::Dead,
        (true, true) => Verdict::Same,
        (true, false) => Verdict::Elsewhere(Reason::Permission),
    }
}

/// Whether a state's letter means that nothing runs any more: a zombie waits for its parent only.
pub fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

/// Reads `/proc/<pid>/stat`: state, parent, computed ticks and start. The fields are counted after the last parenthesis, for a
/// program's name may hold blanks and parentheses.
pub fn read_stat(stat: &str) -> Option<(char, u32, u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Fields 3, 4, 14, 15 and 22 of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let state = fields.first()?.chars().next()?;
    let parent = u32::try_from(number(4)?).ok()?;
    Some((state, parent, number(14)?.saturating_add(number(15)?), number(22)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn here() -> Here {
        Here { boot_id: "boot".into(), pid_ns: 1, uid: 0, host: "h".into() }
    }

    fn claim() -> Claim<'static> {
        Claim { start: Some(100), boot_id: Some("boot"), pid_ns: Some(1) }
    }

    fn process() -> Process {
        Process { state: 'S', parent: 1, cpu: 0, start: 100, other_clock: false, holds_lock: true, signalable: true }
    }

    #[test]
    fn the_same_process_is_told_by_its_start() {
        let judged = |start| judge(&claim(), &here(), &Seen::Process(Process { start, ..process() }), true);
        assert_eq!([98, 100, 102].map(judged), [Verdict::Same; 3]);
        assert_eq!([97, 103, 0].map(judged), [Verdict::Dead; 3]);
    }

    #[test]
    fn a_zombie_and_a_gone_process_are_dead() {
        for state in ['Z', 'X'] {
            assert_eq!(judge(&claim(), &here(), &Seen::Process(Process { state, ..process() }), true), Verdict::Dead);
        }
        assert_eq!(judge(&claim(), &here(), &Seen::Gone, true), Verdict::Dead);
    }

    #[test]
    fn elsewhere_is_never_managed_while_the_lock_is_held_and_dead_once_it_is_free() {
        let other_boot = Claim { boot_id: Some("other"), ..claim() };
        let other_space = Claim { pid_ns: Some(2), ..claim() };
        let seen = Seen::Process(process());
        assert_eq!(judge(&other_boot, &here(), &seen, true), Verdict::Elsewhere(Reason::Host));
        assert_eq!(judge(&other_space, &here(), &seen, true), Verdict::Elsewhere(Reason::Namespace));
        assert_eq!(judge(&other_boot, &here(), &seen, false), Verdict::Dead);
        assert_eq!(judge(&other_space, &here(), &seen, false), Verdict::Dead);
        let foreign = Seen::Process(Process { signalable: false, ..process() });
        assert_eq!(judge(&claim(), &here(), &foreign, true), Verdict::Elsewhere(Reason::Permission));
    }

    #[test]
    fn where_clocks_do_not_compare_the_open_lock_decides() {
        let legacy = Claim::default();
        let shifted = Process { start: 5, other_clock: true, ..process() };
        for (claim, process) in [(legacy, process()), (claim(), shifted)] {
            let without = Process { holds_lock: false, ..process.clone() };
            assert_eq!(judge(&claim, &here(), &Seen::Process(process), true), Verdict::Same);
            assert_eq!(judge(&claim, &here(), &Seen::Process(without), true), Verdict::Dead);
        }
    }

    #[test]
    fn a_programs_name_does_not_shift_the_fields() {
        let tail = "S 7 1 1 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 5555 1 1";
        for name in ["a", "a) R 1 (b", "a b c", ") S 1 ("] {
            assert_eq!(read_stat(&format!("42 ({name}) {tail}")), Some(('S', 7, 7, 5555)));
        }
        assert_eq!(read_stat("42 (a) S 7"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,80}") {
            let _ = read_stat(&text);
        }
    }
}
