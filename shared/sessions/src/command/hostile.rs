//! Hostile names through every command under real bash: what arrives is exactly what was given, and nothing runs.
//!
//! Programs on `PATH` are stand-ins that write down their arguments. `HOSTILE_NAMES` sets the number of names.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;
use crate::repository::{BranchName, Repository};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A number generator with a fixed beginning, so that every run sees the same names.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const PIECES: &[&str] = &[
    "'",
    "\"",
    "\\",
    "\\'",
    "\n",
    "\r",
    "\t",
    " ",
    "$",
    "$(pwned)",
    "`pwned`",
    "${IFS}",
    "$'\\n'",
    "$((1))",
    ";pwned;",
    "|pwned",
    "&pwned&",
    "&&pwned",
    "||pwned",
    "\npwned\n",
    "'\npwned\n'",
    "';pwned;'",
    "\";pwned;\"",
    "'\"'\"'",
    ">pwned.out",
    "<(pwned)",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "~",
    "!",
    "!!",
    "#",
    "=",
    "%s",
    "\\n",
    "--",
    "-rf",
    "--upload-pack=pwned",
    "ext::pwned",
    "@{",
    "@{u}",
    "..",
    ".lock",
    "/",
    "//",
    "refs/heads/../x",
    "HEAD",
    ":",
    "^",
    "\u{1}",
    "\u{7f}",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "é",
    "日本",
    "🦀",
    "a\u{301}",
    "\u{85}",
    "main",
    "x",
    "AGENT_HEAD=y",
    "$AGENT_TOKEN",
    "EOF",
    "\0",
];

pub(super) fn hostile_name(numbers: &mut Numbers) -> String {
    match numbers.below(40) {
        0 => String::new(),
        1 => numbers.one_of(PIECES).repeat(1 + numbers.below(2_000)),
        2 => format!("-{}", numbers.one_of(PIECES)),
        3 => (0..numbers.below(60)).map(|_| char::from(u8::try_from(1 + numbers.below(127)).unwrap())).collect(),
        4 => (0..numbers.below(30))
            .filter_map(|_| char::from_u32(1 + u32::try_from(numbers.below(0x10_ffff)).unwrap()))
            .collect(),
        _ => (0..=numbers.below(8)).map(|_| numbers.one_of(PIECES)).collect(),
    }
}

/// A folder with stand-ins, for one test.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("sessions-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("work")).unwrap();
        // A login shell sets `PATH` itself, and reads this file afterwards.
        fs::write(root.join(".bash_profile"), format!("PATH={}\n", root.join("bin").display())).unwrap();
        let record = "{ printf '%s\\0' \"${0##*/}\" \"$#\" \"$@\"; } >>\"$RECORD\"\n";
        let git = format!(
            "case \"$*\" in 'rev-parse --is-inside-work-tree') echo true;; 'rev-parse HEAD') echo {COMMIT};; \
             'diff --cached --quiet') exit 1;; esac\n"
        );
        let stand_ins =
            ["git", "curl", "setsid", "mkdir", "chmod", "bash", "rm", "pkill", "pgrep", "sh", "sleep", "pwned"];
        for program in stand_ins {
            let rest = match program {
                "git" => git.as_str(),
                "curl" => "/bin/cat >>\"$RECORD\"; printf '\\0' >>\"$RECORD\"\n",
                "pwned" => ": >\"$CANARY\"\n",
                "pgrep" => "exit 1\n",
                _ => "",
            };
            let path = root.join("bin").join(program);
            fs::write(&path, format!("#!/bin/sh\n{record}{rest}")).unwrap();
            make_executable(&path);
        }
        Self(root)
    }

    fn canary(&self) -> PathBuf {
        self.0.join("canary")
    }

    /// A directory that exists and has a hostile name.
    fn directory(&self, name: &str) -> String {
        let name: String = name.chars().filter(|character| !matches!(character, '/' | '\0')).take(50).collect();
        let path = self.0.join("work").join(format!("-d{name}"));
        fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs texts in one bash, one after the other, and gives what each let the stand-ins write down.
    fn run(&self, texts: &[String], lengths: &[usize]) -> Vec<Vec<u8>> {
        let record = |index: usize| self.0.join(format!("record-{index}"));
        let mut script = String::new();
        for (index, text) in texts.iter().enumerate() {
            fs::write(record(index), "").unwrap();
            writeln!(script, "export RECORD={}\n{text} </dev/null >/dev/null 2>&1", record(index).display()).unwrap();
        }
        let path = self.0.join("script");
        fs::write(&path, script).unwrap();
        let status = std::process::Command::new("/bin/bash")
            .arg("--norc")
            .arg(&path)
            .env_clear()
            .env("HOME", &self.0)
            .env("TMPDIR", &self.0)
            .env("PATH", self.0.join("bin"))
            .env("CANARY", self.canary())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.0.join("work"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(status.code().is_some());
        let deadline = Instant::now() + Duration::from_secs(20);
        let read = |index: usize| {
            // What a command starts in the background may come a moment later.
            loop {
                let bytes = fs::read(record(index)).unwrap();
                if bytes.len() >= lengths[index] || Instant::now() > deadline {
                    return bytes;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        (0..texts.len()).map(read).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a stand-in writes down when it is called with these arguments.
fn call(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("{}\0{}\0", words[0], words.len() - 1).into_bytes();
    for word in &words[1..] {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Every command that takes a text from elsewhere, made of three names, with the calls that it must come to.
fn commands(bench: &Bench, names: [&str; 3]) -> Vec<(Command, Vec<u8>)> {
    let [first, second, third] = names;
    let directory = bench.directory(first);
    let work = bench.0.join("work");
    let work = work.to_str().unwrap();
    let branch = BranchName::unchecked(second);
    let reference = format!("refs/heads/{second}");
    let repository = Repository::parse("https://github.com/acme/app").unwrap();
    let port = 2468;
    let mut all = Vec::new();

    let mut expected = call(&["curl", "-fsS", "-H", "@-", "--", "http://localhost:2468/v1/health"]);
    expected.extend_from_slice(if first.is_empty() { "" } else { "authorization: Bearer " }.as_bytes());
    expected.extend_from_slice(format!("{first}\n\0").as_bytes());
    all.push((health(Some(first), port).unwrap(), expected));

    let server = AgentServer { token: Some(second), port, directory: third };
    let mut words = vec!["setsid", "nohup", "sandbox-agent", "server"];
    words.extend(if second.is_empty() { vec!["--no-token"] } else { vec!["--token", second] });
    words.extend_from_slice(&["--host", "0.0.0.0", "--port", "2468", "--no-telemetry"]);
    all.push((agent_server(&server).unwrap(), call(&words)));

    let what = Clone { repo_url: third, directory: &directory, branch: None };
    let made = call(&["mkdir", "-p", "--", work]);
    let opened = call(&["chmod", "-R", "u+rw", "--", &directory]);
    let plain = ["git", "clone", "--depth", "1", "--single-branch", "--no-tags"];
    let cloned = call(&[&plain[..], &["--", third, &directory]].concat());
    all.push((clone(&what).unwrap(), [made.clone(), cloned, opened.clone()].concat()));
    let cloned = call(&[&plain[..], &["--branch", second, "--", third, &directory]].concat());
    let what = Clone { branch: Some(&branch), ..what };
    all.push((clone(&what).unwrap(), [made, cloned, opened].concat()));

    let template = "git clone {repo_url} '{repo_dir}' \"{session_id}\" '{repo_url}x' \"x{repo_dir}\"";
    let url_x = format!("{third}x");
    let x_directory = format!("x{directory}");
    let expected = call(&["git", "clone", third, &directory, first, &url_x, &x_directory]);
    all.push((configured_clone(template, &what, first).unwrap(), expected));

    let fetched = [
        call(&["git", "status", "--porcelain"]),
        call(&["git", "fetch", "--depth", "1", "origin", &reference]),
        call(&["git", "checkout", "-B", second, "FETCH_HEAD", "--"]),
    ];
    all.push((update(&directory, &branch).unwrap(), fetched.concat()));

    all.push((run_init(&directory, third).unwrap(), call(&["bash", "-e", "-c", third])));

    let lease = Lease::Absent;
    let push = Push {
        directory: &directory,
        repository: &repository,
        head: &branch,
        message: third,
        force: Some(&lease),
        token: first,
    };
    let pushed = [
        call(&["git", "rev-parse", "--is-inside-work-tree"]),
        call(&["git", "checkout", "--quiet", "-B", second, "--"]),
        call(&["git", "add", "-A"]),
        call(&["git", "diff", "--cached", "--quiet"]),
        call(&[
            "git",
            "-c",
            "user.name=Logseq Agent",
            "-c",
            "user.email=agent@logseq.local",
            "commit",
            "--quiet",
            "-m",
            third,
        ]),
        call(&["git", "rev-parse", "HEAD"]),
        call(&[
            "git",
            "push",
            "--porcelain",
            &format!("--force-with-lease={reference}:"),
            "--",
            "https://github.com/acme/app.git",
            &format!("HEAD:{reference}"),
        ]),
    ];
    all.push((push.command().unwrap(), pushed.concat()));
    all
}

#[test]
pub(super) fn hostile_names_arrive_as_they_are_and_nothing_runs() {
    let count = std::env::var("HOSTILE_NAMES").map_or(1_000, |count| count.parse().unwrap());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut names, mut with_nul) = (Vec::new(), 0);
    while names.len() < count {
        let name = hostile_name(&mut numbers);
        if name.contains('\0') {
            assert_eq!(health(Some(&name), 1), Err(CommandError::Nul));
            assert_eq!(run_init("/", &name), Err(CommandError::Nul));
            assert_eq!(quote(&["git", &name]), Err(QuoteError::Nul));
            with_nul += 1;
        } else {
            names.push(name);
        }
    }
    assert!(with_nul > 0);
    let bench = Bench::new("hostile");
    for batch in names.chunks(60) {
        let mut texts = Vec::new();
        let mut expected = Vec::new();
        for chunk in batch.chunks(3) {
            let name = |index: usize| chunk.get(index).map_or("x", String::as_str);
            for (command, calls) in commands(&bench, [name(0), name(1), name(2)]) {
                texts.push(command.to_bash().unwrap());
                expected.push(calls);
            }
            let words = ["git", name(0), name(1), name(2)];
            texts.push(quote(&words).unwrap());
            expected.push(call(&words));
        }
        let lengths: Vec<usize> = expected.iter().map(Vec::len).collect();
        for (index, found) in bench.run(&texts, &lengths).into_iter().enumerate() {
            let text = &texts[index];
            assert!(
                found == expected[index],
                "{text}\nexpected {:?}\nfound    {:?}",
                String::from_utf8_lossy(&expected[index]),
                String::from_utf8_lossy(&found)
            );
        }
        assert!(!bench.canary().exists(), "a name ran in {batch:?}");
    }
}

#[test]
fn the_bench_notices_a_name_that_runs() {
    let bench = Bench::new("noticed");
    let name = "x$(pwned)";
    let found = bench.run(&[format!("git clone {name}")], &[5]);
    assert!(bench.canary().exists());
    assert_ne!(found[0], call(&["git", "clone", name]));
}

#[test]
fn an_agent_counts_as_stopped_only_when_that_was_seen() {
    let bench = Bench::new("stopped");
    let stop = stop_agent(4_242.try_into().unwrap()).unwrap().to_bash().unwrap();
    for (code, said) in [(1, "stopped"), (0, "running"), (2, "running"), (127, "running")] {
        fs::write(bench.0.join("bin/pgrep"), format!("#!/bin/sh\nexit {code}\n")).unwrap();
        let text = format!("if {stop}; then git stopped; else git running; fi");
        let found = bench.run(&[text], &[0]).remove(0);
        assert!(found.starts_with(&call(&["pkill", "-KILL", "-s", "4242"])));
        assert!(found.ends_with(&call(&["git", said])), "pgrep ended with {code}");
    }
}

#[test]
fn the_agent_of_a_snapshot_is_ended_by_what_was_noted_of_it() {
    let bench = Bench::new("restored");
    let end = end_restored().unwrap().to_bash().unwrap();
    let ended = || bench.run(std::slice::from_ref(&end), &[0]).remove(0);
    assert_eq!(ended(), b"", "nothing was noted");
    let kill = [call(&["pkill", "-KILL", "-s", "4242"]), call(&["pgrep", "-s", "4242", "-r", "D,R,S,T,t,I"])].concat();
    let others = ["", "0\n", "007\n", "-1\n", "1 2\n", "12345678\n", "$(pwned)\n", "`pwned`\n", "1;pwned\n"];
    for (note, expected) in others.map(|note| (note, &[][..])).into_iter().chain([("4242\n", &*kill)]) {
        fs::write(bench.0.join("sandbox-agent.sid"), note).unwrap();
        assert_eq!(ended(), expected, "{note}");
    }
    assert!(!bench.canary().exists());
}

#[test]
fn what_passes_the_door_is_a_branch_to_git() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let alphabet = ["a", "b", ".", "-", "/", "@", "#", "+", "_", ".lock", "HEAD", "@{", "..", " "];
    let mut passed = 0;
    while passed < 60 {
        let text: String = (0..=numbers.below(6)).map(|_| numbers.one_of(&alphabet)).collect();
        let Ok(name) = BranchName::parse(&text) else { continue };
        let status = std::process::Command::new("git")
            .args(["check-ref-format", "--branch", name.as_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git refuses {name}");
        passed += 1;
    }
}
