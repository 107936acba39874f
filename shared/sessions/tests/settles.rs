//! A search through all small histories of a session (agents.md 3.14): whatever happens, in whatever order, with the object dying at
//! any moment, no prompt is sent twice and every session settles.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::collections::{HashSet, VecDeque};

use serde_json::json;
use sessions::acp::PermissionRequest;
use sessions::event::Draft;
use sessions::legacy::Dialect;
use sessions::runtime::{BuildState, Building, Made, ProviderKind, Runtime, RuntimeError, RuntimeSecrets, Stopped};
use sessions::session::budget::Budget;
use sessions::session::decide::{self, Decide, Decision, Keep, NotReached, Policy};
use sessions::session::{ApprovalState, Effect, Job, Notices, State, Status, Times};
use sessions::settings::SessionSettings;

fn settings() -> SessionSettings {
    SessionSettings {
        idle_timeout_ms: 900_000,
        snapshot_on_stop: false,
        push_to_base: false,
        chat_publish: true,
        protected_branches: sessions::publish::ProtectedBranches::default(),
        max_event_rows: 200_000,
        max_events_bytes: 1 << 28,
        max_event_bytes: 256 << 10,
        max_orders: 50,
        max_active_sessions: 20,
        max_bundle_bytes: 64 << 20,
        prompt_post_ms: 30_000,
        turn_silence_ms: 1_800_000,
        stop_grace_ms: 30_000,
        approval_timeout_ms: 1_800_000,
        budget_session: Budget::default(),
        budget_user_day: Budget::default(),
        order_ttl_ms: 604_800_000,
        runner_offline_turn_ms: 86_400_000,
        runner_open_wait_ms: 10_000,
        deadline_divisor: 1,
    }
}

fn runtime(number: u64, kind: ProviderKind) -> Runtime {
    let is_sandbox = kind == ProviderKind::E2b;
    Runtime {
        provider: kind,
        base_url: "https://agent.test".into(),
        server_id: "s".into(),
        session_id: format!("r{number}"),
        dialect: Dialect::Acp,
        directory: "/home/user/workspace".into(),
        runner_id: (!is_sandbox).then(|| "runner".to_owned()),
        sandbox_id: is_sandbox.then(|| format!("box{number}")),
        transport: sessions::runtime::Transport::default(),
        sandbox_domain: None,
        sandbox_port: None,
        template: None,
        snapshot_id: None,
        agent_sid: None,
        github_token_at: None,
        broker_at: None,
        egress: Vec::new(),
        server_ended: false,
        agent_exited: false,
        can_load: true,
        has_tools: false,
        secrets: RuntimeSecrets::default(),
    }
}

/// A prompt that was sent, or may have been.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    turn: u64,
    rpc_id: u64,
    order: u64,
    /// Whether the sender still waits for the answer of the request.
    posting: bool,
}

/// A session and what goes on around it.
#[derive(Clone)]
struct World {
    kind: ProviderKind,
    state: State,
    now: i64,
    /// Work that was begun and has not come back.
    jobs: Vec<Job>,
    /// Prompts whose end is open.
    prompts: Vec<Sent>,
    /// Orders whose prompt the agent got, or may have got.
    delivered: Vec<u64>,
    /// Orders by how often the agent got them for certain.
    made: u64,
    asked: u64,
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Message,
    Pause,
    Resume,
    Interrupt,
    Cancel,
    Alarm,
    Crash,
    /// Job number so-and-so comes back in one of its ways.
    Back(usize, usize),
    /// The request of a prompt comes back in one of its ways.
    Posted(usize, usize),
    /// The agent answers a prompt on the stream.
    Answer(usize),
    /// The agent asks for permission.
    Ask,
    Decide,
    Exit,
    Completed,
}

impl World {
    fn new(kind: ProviderKind) -> Self {
        Self {
            kind,
            state: State::new("s", "ann", 0),
            now: 0,
            jobs: Vec::new(),
            prompts: Vec::new(),
            delivered: Vec::new(),
            made: 0,
            asked: 0,
        }
    }

    /// A copy whose numbers that only ever grow are left out, so that equal situations are recognised.
    fn fingerprint(&self) -> String {
        let mut state = serde_json::to_value(&self.state).unwrap();
        let shift = |value: &mut serde_json::Value, now: i64| shift_times(value, now);
        shift(&mut state, self.now);
        let approvals: Vec<_> = self.state.approvals.iter().map(|approval| approval.state).collect();
        format!("{state} {:?} {:?} {:?} {:?}", self.state.orders, approvals, self.jobs, self.prompts)
    }

    fn decide<R>(&mut self, happen: impl FnOnce(&mut State, &mut Decide<'_>) -> R) -> R {
        let times = Times::of(&settings());
        let mut decide = Decide::new(self.now, &times);
        let result = happen(&mut self.state, &mut decide);
        // Notifications are another matter (tests/life/webhooks.rs): here they are sent at once.
        decide::on_notified(&mut self.state, None);
        self.state.notices = Notices::default();
        for effect in decide.effects {
            if let Effect::Start(
                job @ (Job::Provision { .. }
                | Job::PollBuild
                | Job::Prompt { .. }
                | Job::Answer { .. }
                | Job::Kill { .. }
                | Job::Keep { .. }
                | Job::End { .. }),
            ) = effect
            {
                self.jobs.push(job);
            }
        }
        self.check();
        result
    }

    fn check(&self) {
        let times = Times::of(&settings());
        let state = &self.state;
        let waits = state.turn.is_some()
            || state.provisioning.is_some()
            || state.build.is_some()
            || state.ending.is_some()
            || state.transcript.keeping.is_some()
            || !state.approvals.is_empty();
        if waits {
            assert!(decide::next_alarm(state, &Decide::new(self.now, &times)).is_some(), "nobody wakes {state:?}");
        }
        let mut delivered = self.delivered.clone();
        delivered.sort_unstable();
        delivered.dedup();
        assert_eq!(delivered.len(), self.delivered.len(), "an order was delivered twice: {:?}", self.delivered);
    }

    fn happenings(&self) -> Vec<Happening> {
        let mut all = vec![Happening::Alarm, Happening::Crash];
        if self.state.next_order <= 2 {
            all.push(Happening::Message);
        }
        all.extend([Happening::Pause, Happening::Resume, Happening::Interrupt, Happening::Cancel]);
        for (at, job) in self.jobs.iter().enumerate() {
            let ways = match job {
                Job::Provision { .. } | Job::Prompt { .. } | Job::PollBuild => 3,
                Job::Kill { .. } | Job::End { .. } | Job::Keep { .. } => 2,
                _ => 1,
            };
            all.extend((0..ways).map(|way| Happening::Back(at, way)));
        }
        for (at, sent) in self.prompts.iter().enumerate() {
            all.push(Happening::Answer(at));
            if sent.posting {
                all.extend((0..4).map(|way| Happening::Posted(at, way)));
            }
        }
        if self.state.turn.is_some() && self.asked < 1 {
            all.push(Happening::Ask);
        }
        if self.state.approvals.iter().any(|approval| approval.state == ApprovalState::Open) {
            all.push(Happening::Decide);
        }
        if self.state.runtime.is_some() && !self.prompts.is_empty() {
            all.extend([Happening::Exit, Happening::Completed]);
        }
        all
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Message => {
                let seq = self.state.next_order;
                self.state.next_order += 1;
                let logged = Draft::user_message("ann", None, "text");
                self.decide(|state, decide| decide::on_message(state, decide, "ann", seq, logged));
            }
            Happening::Pause => {
                let _ = self.decide(|state, decide| decide::pause(state, decide, "ann"));
            }
            Happening::Resume => {
                let _ = self.decide(|state, decide| decide::resume(state, decide, "ann"));
            }
            Happening::Interrupt => {
                let _ = self.decide(|state, decide| decide::interrupt(state, decide, "ann"));
            }
            Happening::Cancel => self.decide(|state, decide| decide::cancel(state, decide, "ann")),
            Happening::Alarm => self.alarm(),
            Happening::Crash => {
                self.jobs.clear();
                for prompt in &mut self.prompts {
                    prompt.posting = false;
                }
                self.decide(decide::on_wake);
            }
            Happening::Back(at, way) => {
                let job = self.jobs.remove(*at);
                self.back(&job, *way);
            }
            Happening::Posted(at, way) => self.posted(*at, *way),
            Happening::Answer(at) => {
                let sent = self.prompts.remove(*at);
                let session = self.state.runtime.as_ref().map(|runtime| runtime.session_id.clone());
                self.decide(|state, decide| {
                    decide::on_heard(state, decide, session.as_deref());
                    decide::on_turn_ended(state, decide, Some(sent.rpc_id), "end_turn", None, None);
                });
            }
            Happening::Ask => {
                self.asked += 1;
                let params = json!({"sessionId": "r1", "toolCall": {"toolCallId": "t"}, "options":
                    [{"optionId": "y", "name": "Yes", "kind": "allow_once"}]});
                let request = PermissionRequest::read(&params);
                self.decide(|state, decide| {
                    decide::on_permission(state, decide, "ask", json!(7), request, Policy::Ask);
                });
            }
            Happening::Decide => {
                let _ = self.decide(|state, decide| {
                    decide::on_decision(state, decide, "ask", Decision::Granted, None, "ann", None)
                });
            }
            Happening::Exit => {
                self.prompts.clear();
                self.decide(decide::on_agent_gone);
            }
            Happening::Completed => {
                self.prompts.clear();
                self.decide(|state, decide| {
                    decide.append(state, Draft::new(sessions::event::Kind::SessionCompleted, json!({})));
                    decide::on_task_completed(state, decide);
                });
            }
        }
    }

    fn alarm(&mut self) {
        let times = Times::of(&settings());
        if let Some(next) = decide::next_alarm(&self.state, &Decide::new(self.now, &times)) {
            self.now = self.now.max(next);
            self.decide(decide::on_alarm);
        }
    }

    fn back(&mut self, job: &Job, way: usize) {
        match job {
            Job::Provision { generation } => {
                self.made += 1;
                let made = match way {
                    0 => Ok(Made::Ready(Box::new(runtime(self.made, self.kind)))),
                    1 => Err(RuntimeError::Failed("no".into())),
                    _ => Ok(Made::Building(Building {
                        name: "t".into(),
                        template_id: "t".into(),
                        build_id: "b".into(),
                        again: false,
                    })),
                };
                self.decide(|state, decide| decide::on_provisioned(state, decide, *generation, made));
            }
            Job::PollBuild => {
                let seen = match way {
                    0 => Ok(BuildState::Ready),
                    1 => Ok(BuildState::Running),
                    _ => Ok(BuildState::Failed("no".into())),
                };
                self.decide(|state, decide| decide::on_build(state, decide, "b", seen));
            }
            Job::Prompt { turn } => match way {
                0 => self.prepared(*turn),
                1 => {
                    let error = RuntimeError::Unavailable("no".into());
                    self.decide(|state, decide| decide::on_prompt_failed(state, decide, *turn, &error));
                }
                _ => {
                    let error = RuntimeError::SandboxMissing("gone".into());
                    self.decide(|state, decide| decide::on_prompt_failed(state, decide, *turn, &error));
                }
            },
            Job::Kill { turn } => {
                let how = if way == 0 { Stopped::Killed } else { Stopped::Unproven };
                self.prompts.retain(|sent| sent.turn != *turn || way != 0);
                self.decide(|state, decide| decide::on_killed(state, decide, *turn, how));
            }
            Job::End { generation, .. } => {
                let result = if way == 0 { Ok(()) } else { Err(RuntimeError::TimedOut) };
                self.decide(|state, decide| decide::on_ended(state, decide, *generation, &result));
            }
            Job::Keep { generation } => {
                let outcome = if way == 0 { Keep::Nothing } else { Keep::Failed("no".into()) };
                self.decide(|state, decide| decide::on_kept(state, decide, *generation, outcome));
            }
            Job::Answer { request_id } => {
                self.decide(|state, decide| decide::on_answered(state, decide, request_id, true));
            }
            _ => {}
        }
    }

    fn prepared(&mut self, turn: u64) {
        let Some(runtime) = self.state.runtime.clone() else { return };
        let order = self.state.turn.as_ref().map(|turn| turn.order);
        let sent = self.decide(|state, decide| decide::on_prepared(state, decide, turn, runtime));
        if let (Some(rpc_id), Some(order)) = (sent, order) {
            // From here on the agent may have it.
            self.delivered.push(order);
            self.prompts.push(Sent { turn, rpc_id, order, posting: true });
            self.check();
        }
    }

    fn posted(&mut self, at: usize, way: usize) {
        let turn = self.prompts[at].turn;
        match way {
            0 => {
                self.prompts[at].posting = false;
                self.decide(|state, decide| decide::on_sent(state, decide, turn));
            }
            1 => {
                self.prompts[at].posting = false;
                let error = RuntimeError::Failed("broken".into());
                self.decide(|state, decide| decide::on_prompt_failed(state, decide, turn, &error));
            }
            _ => {
                // It demonstrably did not reach the agent.
                let sent = self.prompts.remove(at);
                self.delivered.retain(|order| *order != sent.order);
                let error = match way {
                    2 => RuntimeError::NotReached("404".into()),
                    _ => RuntimeError::RunnerOffline("off".into()),
                };
                let next = self.decide(|state, decide| decide::on_not_reached(state, decide, turn, &error));
                if next == NotReached::Refresh {
                    self.jobs.push(Job::Prompt { turn });
                }
            }
        }
    }

    /// From here on nobody answers, and only time goes on: the session has to come to rest.
    fn assert_settles(mut self, history: &[Happening]) {
        self.jobs.clear();
        let times = Times::of(&settings());
        for _ in 0..500 {
            if decide::next_alarm(&self.state, &Decide::new(self.now, &times)).is_none() {
                break;
            }
            self.alarm();
            self.jobs.clear();
        }
        let state = &self.state;
        let rests = state.turn.is_none()
            && state.provisioning.is_none()
            && state.build.is_none()
            && state.ending.is_none()
            && state.approvals.is_empty();
        assert!(rests, "{history:?} does not settle: {state:#?}");
        let is_waiting = !state.orders.is_empty();
        let waits_for_person = state.status == Status::Paused || state.stalled || state.status.is_terminal();
        assert!(!is_waiting || waits_for_person, "{history:?}: orders wait for nobody: {state:#?}");
    }
}

/// Times become distances from now, so that the same situation at another time is the same.
fn shift_times(value: &mut serde_json::Value, now: i64) {
    const TIMES: [&str; 9] = [
        "expires",
        "until",
        "deadline",
        "poll-at",
        "active-at",
        "tick-at",
        "created-at",
        "next-rpc-id",
        "next-generation",
    ];
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                match member.as_i64() {
                    Some(_) if key.starts_with("next-") => *member = json!(0),
                    Some(time) if TIMES.contains(&key.as_str()) => *member = json!(time - now),
                    _ => shift_times(member, now),
                }
            }
        }
        serde_json::Value::Array(members) => members.iter_mut().for_each(|member| shift_times(member, now)),
        _ => {}
    }
}

fn search(kind: ProviderKind, depth: usize) -> usize {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(World::new(kind), Vec::new())]);
    while let Some((world, history)) = queue.pop_front() {
        if !seen.insert(world.fingerprint()) {
            continue;
        }
        world.clone().assert_settles(&history);
        if history.len() == depth {
            continue;
        }
        for happening in world.happenings() {
            let mut next = world.clone();
            let mut history: Vec<Happening> = history.clone();
            history.push(happening.clone());
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next.happen(&happening)));
            assert!(happened.is_ok(), "{history:?}");
            queue.push_back((next, history));
        }
    }
    seen.len()
}

fn depth() -> usize {
    std::env::var("SESSION_HISTORY").ok().and_then(|depth| depth.parse().ok()).unwrap_or(7)
}

#[test]
fn every_small_history_in_a_sandbox_settles() {
    let situations = search(ProviderKind::E2b, depth());
    println!("{situations} situations");
    assert!(situations > 500);
}

#[test]
fn every_small_history_on_a_runner_settles() {
    let situations = search(ProviderKind::LocalRunner, depth());
    println!("{situations} situations");
    assert!(situations > 500);
}
