use super::*;

/// A process that is looked at every second.
struct Scene {
    watch: Watch,
    clocks: Clocks,
    wall: Millis,
    beats: bool,
    heartbeat: Option<i128>,
    state: Option<RuntimeState>,
    claims: Vec<(&'static str, i64)>,
    limits: Limits,
}

fn clocks(seconds: u64) -> Clocks {
    Clocks { monotonic: Duration::from_secs(seconds), boot: Duration::from_secs(seconds) }
}

impl Scene {
    fn new(phase: Phase) -> Self {
        let state = RuntimeState { phase, ..RuntimeState::starting(7) };
        Self {
            watch: Watch::new(7, clocks(1_000)),
            clocks: clocks(1_000),
            wall: 1_000_000,
            beats: true,
            heartbeat: Some(0),
            state: Some(state),
            claims: Vec::new(),
            limits: Limits::default(),
        }
    }

    fn state(&mut self) -> &mut RuntimeState {
        self.state.as_mut().unwrap()
    }

    fn look(&mut self) -> Option<Decision> {
        let sight = Sight {
            generation: 7,
            heartbeat: self.heartbeat,
            state: self.state.as_ref(),
            claims: &self.claims,
            now: self.wall,
        };
        self.watch.look(&sight, self.clocks, self.limits)
    }

    /// The first decision within so many seconds, and after how many.
    fn within(&mut self, seconds: u64) -> Option<(u64, Decision)> {
        (1..=seconds).find_map(|second| {
            self.clocks.monotonic += Duration::from_secs(1);
            self.clocks.boot += Duration::from_secs(1);
            self.wall += 1_000;
            if self.beats && second % 5 == 0 {
                self.heartbeat = self.heartbeat.map(|beat| beat + 1);
            }
            self.look().map(|decision| (second, decision))
        })
    }
}

const HOUR: u64 = 3_600;

#[test]
fn fact_4_a_fresh_heartbeat_without_work_is_fine() {
    let mut scene = Scene::new(Phase::Idle);
    assert_eq!(scene.look(), None);
    assert_eq!(scene.within(3 * HOUR), None);
}

#[test]
fn fact_5_a_heartbeat_older_than_its_limit_is_death_and_one_at_it_is_not() {
    let mut scene = Scene::new(Phase::Idle);
    scene.beats = false;
    scene.look();
    assert_eq!(scene.within(40), Some((31, Decision::Kill(Reason::ShimDead))));
}

/// Row of docs/spec/session-mailbox.md 5: "Container that never beats is exempt for ever".
#[test]
fn facts_6_and_7_a_process_that_never_beats_is_fine_for_a_minute_and_dead_afterwards() {
    let mut scene = Scene::new(Phase::Idle);
    (scene.beats, scene.heartbeat, scene.state) = (false, None, None);
    scene.look();
    assert_eq!(scene.within(90), Some((61, Decision::Kill(Reason::ShimDead))));
}

#[test]
fn fact_8_a_tools_declared_limit_goes_beyond_the_usual_one() {
    let mut scene = Scene::new(Phase::Running);
    scene.look();
    let usual = (30 * 60 + 1, Decision::Interrupt(Reason::NoProgress));
    assert_eq!(scene.within(3 * HOUR), Some(usual));
    let mut scene = Scene::new(Phase::Running);
    scene.state = scene.state.take().map(|state| state.with_tool("shell", Some(7_200_000), 0));
    scene.look();
    assert_eq!(scene.within(3 * HOUR), Some((2 * HOUR + 61, Decision::Interrupt(Reason::NoProgress))));
    // A short limit takes nothing away, and none is longer than a day.
    for (limit, seconds) in [(90_000, 30 * 60 + 1), (i64::MAX, 24 * HOUR + 61), (-5, 30 * 60 + 1)] {
        let mut scene = Scene::new(Phase::Running);
        scene.state = scene.state.take().map(|state| state.with_tool("shell", Some(limit), 0));
        scene.look();
        assert_eq!(scene.within(30 * HOUR), Some((seconds, Decision::Interrupt(Reason::NoProgress))), "{limit}");
    }
}

/// Row of docs/spec/session-mailbox.md 5: "Old tool limit survives restart".
#[test]
fn an_old_tool_limit_does_not_survive_a_restart_nor_the_tool() {
    let mut scene = Scene::new(Phase::Running);
    scene.state = scene.state.take().map(|state| state.with_tool("shell", Some(7_200_000), 0).without_tool());
    scene.look();
    assert_eq!(scene.within(HOUR), Some((30 * 60 + 1, Decision::Interrupt(Reason::NoProgress))));
    let mut scene = Scene::new(Phase::Running);
    scene.state = scene.state.take().map(|state| state.with_tool("shell", Some(7_200_000), 0));
    scene.state().generation = 6;
    scene.claims = vec![("m", 1)];
    scene.look();
    let killed = Some((301, Decision::Kill(Reason::StartTimeout)));
    assert_eq!(scene.within(3 * HOUR), killed, "an older generation's state says nothing: this one has not spoken");
}

#[test]
fn fact_9_a_claim_that_is_ignored_for_a_minute_ends_the_process_and_work_on_it_does_not() {
    let mut scene = Scene::new(Phase::Idle);
    scene.claims = vec![("m", 1)];
    scene.look();
    assert_eq!(scene.within(90), Some((61, Decision::Kill(Reason::ClaimIgnored))));
    let mut scene = Scene::new(Phase::Running);
    scene.claims = vec![("m", 1)];
    scene.look();
    assert_eq!(scene.within(90), None);
    // A new attempt has a minute of its own, and so has a process that has just become idle.
    let mut scene = Scene::new(Phase::Idle);
    scene.claims = vec![("m", 1)];
    scene.look();
    assert_eq!(scene.within(50), None);
    scene.claims = vec![("m", 2)];
    assert_eq!(scene.within(90), Some((62, Decision::Kill(Reason::ClaimIgnored))));
}

#[test]
fn fact_10_times_that_make_no_sense_change_nothing() {
    for progress in [None, Some(i64::MIN), Some(i64::MAX), Some(0)] {
        let mut scene = Scene::new(Phase::Running);
        scene.state().progress_at = progress;
        scene.look();
        assert_eq!(scene.within(30 * 60), None, "{progress:?}");
    }
}

#[test]
fn an_interrupt_that_does_not_help_is_followed_by_a_kill() {
    let mut scene = Scene::new(Phase::Running);
    scene.look();
    assert_eq!(scene.within(HOUR), Some((30 * 60 + 1, Decision::Interrupt(Reason::NoProgress))));
    assert_eq!(scene.within(HOUR), Some((31, Decision::Kill(Reason::NoProgress))));
}

#[test]
fn an_interrupt_that_helps_is_forgotten() {
    let mut scene = Scene::new(Phase::Running);
    scene.look();
    assert!(scene.within(HOUR).is_some());
    scene.state().phase = Phase::Idle;
    assert_eq!(scene.within(60), None);
    scene.state().phase = Phase::Running;
    assert_eq!(scene.within(HOUR), Some((30 * 60 + 2, Decision::Interrupt(Reason::NoProgress))));
}

/// Row of docs/spec/session-mailbox.md 5: "Heartbeat only on provider events: kills during rate limits and slow local models".
#[test]
fn rate_limits_and_questions_are_waited_for() {
    let mut scene = Scene::new(Phase::RateLimited);
    scene.state().until = Some(scene.wall + 600_000);
    scene.look();
    assert_eq!(scene.within(HOUR), Some((661, Decision::Interrupt(Reason::NoProgress))));
    let mut endless = Scene::new(Phase::RateLimited);
    endless.state().until = Some(i64::MAX);
    endless.look();
    assert_eq!(endless.within(24 * HOUR), Some((6 * HOUR + 61, Decision::Interrupt(Reason::NoProgress))));
    let mut asking = Scene::new(Phase::WaitingUser);
    asking.claims = vec![("m", 1)];
    asking.look();
    assert_eq!(asking.within(48 * HOUR), None);
}

#[test]
fn starting_and_stopping_have_ends() {
    let mut scene = Scene::new(Phase::Starting);
    scene.look();
    assert_eq!(scene.within(HOUR), Some((301, Decision::Kill(Reason::StartTimeout))));
    let mut scene = Scene::new(Phase::Stopping);
    scene.look();
    assert_eq!(scene.within(HOUR), Some((31, Decision::Kill(Reason::StopTimeout))));
    assert!(Reason::StartTimeout.is_crash() && !Reason::StopTimeout.is_crash());
}

#[test]
fn a_turn_has_an_end_where_a_person_sets_one() {
    let mut scene = Scene::new(Phase::Running);
    scene.limits.turn = Some(Duration::from_secs(100));
    scene.claims = vec![("m", 1)];
    scene.look();
    assert_eq!(scene.within(200), Some((101, Decision::Interrupt(Reason::TurnLimit))));
}

#[test]
fn a_machine_that_slept_and_processes_that_were_stopped_are_not_punished() {
    for gap in [Clocks { monotonic: Duration::ZERO, boot: Duration::from_hours(8) }, clocks(8 * HOUR)] {
        let mut scene = Scene::new(Phase::Running);
        scene.beats = false;
        scene.claims = vec![("m", 1)];
        scene.look();
        assert_eq!(scene.within(25), None);
        scene.clocks.monotonic += gap.monotonic;
        scene.clocks.boot += gap.boot;
        scene.wall += 8 * 3_600_000;
        assert_eq!(scene.look(), None, "{gap:?}");
        // What does not come back is still noticed.
        assert_eq!(scene.within(HOUR).map(|(_, decision)| decision), Some(Decision::Kill(Reason::ShimDead)));
    }
}

#[test]
fn a_runner_that_often_looks_late_still_finds_the_dead() {
    let mut scene = Scene::new(Phase::Idle);
    scene.beats = false;
    scene.look();
    let mut looks = 0;
    let decision = loop {
        // Three quick looks, and then one that comes four seconds late.
        scene.clocks.monotonic += Duration::from_secs(4);
        scene.clocks.boot += Duration::from_secs(4);
        assert_eq!(scene.look(), None);
        looks += 1;
        if let Some((_, decision)) = scene.within(3) {
            break decision;
        }
        assert!(looks < 100);
    };
    assert_eq!((decision, looks), (Decision::Kill(Reason::ShimDead), 11));
}

#[test]
fn the_time_of_day_may_jump() {
    for jump in [-10 * 365 * 86_400_000, 10 * 365 * 86_400_000] {
        let mut scene = Scene::new(Phase::Running);
        scene.look();
        scene.wall += jump;
        assert_eq!(scene.within(30 * 60), None, "{jump}");
    }
}

#[test]
fn a_process_that_beats_and_says_nothing_of_itself_has_as_long_as_for_its_start() {
    let killed = Some((301, Decision::Kill(Reason::StartTimeout)));
    let mut scene = Scene::new(Phase::Running);
    scene.state = None;
    assert_eq!(scene.within(HOUR), killed, "it never said anything");
    let mut scene = Scene::new(Phase::Running);
    assert_eq!(scene.within(100), None);
    scene.state = None;
    assert_eq!(scene.within(HOUR), killed, "it has taken back what it said");
    let mut scene = Scene::new(Phase::Running);
    scene.state().generation = 6;
    assert_eq!(scene.within(HOUR), killed, "what another process said does not count");
}
