//! The desktop app's side (docs/spec/daemon.md 2.11): facts 46 to 50, and what holds after any events in any order.

use std::collections::BTreeMap;

use daemon_lifecycle::manager::{Action, Event, Manager, Window};
use proptest::prelude::*;

fn open(window: Window, repo: &str) -> Event {
    Event::Open { window, repo: repo.into() }
}

fn started(repo: &str, owned: bool) -> Event {
    Event::Started { repo: repo.into(), owned: Some(owned) }
}

fn ensure(repo: &str) -> Action {
    Action::Ensure { repo: repo.into() }
}

fn stop(repo: &str) -> Action {
    Action::Stop { repo: repo.into() }
}

fn play(manager: &mut Manager, events: Vec<Event>) -> Vec<Action> {
    events.into_iter().flat_map(|event| manager.handle(event)).collect()
}

#[test]
fn fact_46_one_start_for_a_graph_and_a_switch_stops_what_nobody_shows() {
    let mut manager = Manager::default();
    assert_eq!(play(&mut manager, vec![open(1, "a"), open(1, "a"), open(2, "a")]), [ensure("a")]);
    assert_eq!(play(&mut manager, vec![started("a", true), open(1, "b")]), [ensure("b")]);
    // The last window leaves: the daemon is stopped.
    assert_eq!(play(&mut manager, vec![open(2, "b")]), [stop("a")]);
    assert!(!manager.is_running("a"));
}

#[test]
fn fact_47_a_late_release_leaves_the_windows_present_graph_alone() {
    let mut manager = Manager::default();
    play(&mut manager, vec![open(1, "a"), open(2, "a"), started("a", true)]);
    let release = |window, repo: &str| Event::Release { window, repo: repo.into() };
    assert_eq!(manager.handle(release(1, "a")), []);
    assert_eq!((manager.shown(1), manager.shown(2)), (None, Some("a")));
    // Window 2 went on to b and back; the releases of its way come late.
    play(&mut manager, vec![open(2, "b"), started("b", true)]);
    assert_eq!(manager.handle(release(2, "a")), []);
    assert_eq!(manager.shown(2), Some("b"));
    let back = play(&mut manager, vec![open(2, "a"), release(2, "b")]);
    assert_eq!(back, [stop("b")]);
    assert_eq!(manager.shown(2), Some("a"));
    // a was being stopped when the window came back: it is had again.
    assert_eq!(manager.handle(Event::Stopped { repo: "a".into() }), [ensure("a")]);
}

#[test]
fn fact_48_a_daemon_of_others_is_never_stopped() {
    for end in [Event::Close { window: 1 }, Event::StopRepo { repo: "a".into() }, Event::StopAll, open(1, "b")] {
        let mut manager = Manager::default();
        play(&mut manager, vec![open(1, "a"), started("a", false)]);
        let actions = manager.handle(end);
        assert!(!actions.contains(&stop("a")), "{actions:?}");
    }
}

#[test]
fn fact_49_a_sick_daemon_is_had_again_and_stopped_before_only_if_it_is_ours() {
    let sick = || Event::Unhealthy { repo: "a".into() };
    let mut manager = Manager::default();
    play(&mut manager, vec![open(1, "a"), started("a", false)]);
    assert_eq!(play(&mut manager, vec![sick(), sick()]), [ensure("a")]);
    let mut manager = Manager::default();
    play(&mut manager, vec![open(1, "a"), started("a", true)]);
    assert_eq!(play(&mut manager, vec![sick(), sick()]), [stop("a")]);
    assert_eq!(manager.handle(Event::Stopped { repo: "a".into() }), [ensure("a")]);
}

#[test]
fn fact_50_stopping_a_graph_detaches_every_window_and_stops_once() {
    let mut manager = Manager::default();
    play(&mut manager, vec![open(1, "a"), open(2, "a"), started("a", true)]);
    let end = || Event::StopRepo { repo: "a".into() };
    assert_eq!(play(&mut manager, vec![end(), end()]), [stop("a")]);
    assert_eq!((manager.shown(1), manager.shown(2)), (None, None));
    assert_eq!(manager.handle(Event::Stopped { repo: "a".into() }), []);
}

#[test]
fn a_daemon_that_answers_when_nobody_needs_it_any_more_is_stopped() {
    let mut manager = Manager::default();
    play(&mut manager, vec![open(1, "a"), Event::Close { window: 1 }]);
    assert_eq!(manager.handle(started("a", true)), [stop("a")]);
}

fn event() -> impl Strategy<Value = Event> {
    let repo = || prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())];
    let window = || 0u64..4;
    prop_oneof![
        (window(), repo()).prop_map(|(window, repo)| Event::Open { window, repo }),
        (window(), repo()).prop_map(|(window, repo)| Event::Release { window, repo }),
        window().prop_map(|window| Event::Close { window }),
        repo().prop_map(|repo| Event::Failed { repo }),
        repo().prop_map(|repo| Event::Unhealthy { repo }),
        repo().prop_map(|repo| Event::TakenOver { repo }),
        repo().prop_map(|repo| Event::StopRepo { repo }),
        (repo(), any::<Option<bool>>()).prop_map(|(repo, owned)| Event::Started { repo, owned }),
        repo().prop_map(|repo| Event::Stopped { repo }),
        Just(Event::StopAll),
    ]
}

/// What the world knows of a graph's daemon.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct World {
    ensuring: bool,
    stopping: bool,
    /// Whether it runs, and whether it is the app's.
    running: Option<bool>,
}

proptest! {
    /// A daemon of others is never stopped; at most one start goes on for a graph; a window never shows a graph that it
    /// left; one of ours that no window shows is stopped exactly once.
    #[test]
    fn what_holds_after_any_events(events in proptest::collection::vec(event(), 1..60)) {
        let mut manager = Manager::default();
        let mut worlds: BTreeMap<String, World> = BTreeMap::new();
        let mut shown: BTreeMap<Window, String> = BTreeMap::new();
        for event in events {
            // The outside answers what it was asked, and nothing else.
            let world = |repo: &String| worlds.get(repo).copied().unwrap_or_default();
            match &event {
                Event::Started { repo, owned } => {
                    if !world(repo).ensuring { continue; }
                    worlds.insert(repo.clone(), World { running: Some(owned.unwrap_or(true)), ..World::default() });
                }
                Event::Failed { repo } => {
                    if !world(repo).ensuring { continue; }
                    worlds.insert(repo.clone(), World::default());
                    shown.retain(|_, shown| shown != repo);
                }
                Event::Stopped { repo } => {
                    if !world(repo).stopping { continue; }
                    worlds.insert(repo.clone(), World::default());
                }
                Event::TakenOver { repo } => {
                    let world = worlds.entry(repo.clone()).or_default();
                    if world.stopping || world.running.is_none() { continue; }
                    world.running = Some(false);
                }
                Event::Unhealthy { repo } if world(repo).running.is_none() => continue,
                Event::Open { window, repo } => { shown.insert(*window, repo.clone()); }
                Event::Release { window, repo } if shown.get(window) == Some(repo) => { shown.remove(window); }
                Event::Close { window } => { shown.remove(window); }
                Event::StopRepo { repo } => shown.retain(|_, shown| shown != repo),
                Event::StopAll => shown.clear(),
                _ => {}
            }
            for action in manager.handle(event) {
                match action {
                    Action::Ensure { repo } => {
                        let world = worlds.entry(repo).or_default();
                        prop_assert!(!world.ensuring && !world.stopping, "a second start");
                        *world = World { ensuring: true, ..World::default() };
                    }
                    Action::Stop { repo } => {
                        let world = worlds.entry(repo).or_default();
                        prop_assert_eq!(world.running, Some(true), "stopped what is not ours");
                        prop_assert!(!world.stopping, "stopped twice");
                        world.stopping = true;
                    }
                }
            }
            for window in 0..4 {
                prop_assert_eq!(manager.shown(window), shown.get(&window).map(String::as_str));
            }
            for (repo, world) in &worlds {
                let needed = shown.values().any(|shown| shown == repo);
                if !needed && world.running == Some(true) {
                    prop_assert!(world.stopping, "one of ours that nobody needs goes on");
                }
            }
        }
    }
}
