//! Which daemons a desktop app needs, by its windows (docs/spec/daemon.md 2.11). Pure: events come in, and what comes back is
//! to be done; whoever does it tells how it came out by another event.

use std::collections::{BTreeMap, BTreeSet};

/// A window.
pub type Window = u64;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A window shows a graph.
    Open {
        /// The window.
        window: Window,
        /// The graph.
        repo: String,
    },
    /// A window shows this graph no more. It may come late, when the window shows another already.
    Release {
        /// The window.
        window: Window,
        /// The graph.
        repo: String,
    },
    /// A window is gone.
    Close {
        /// The window.
        window: Window,
    },
    /// A daemon answers.
    Started {
        /// Its graph.
        repo: String,
        /// Whether it is this app's. One that does not say is.
        owned: Option<bool>,
    },
    /// A daemon could not be had.
    Failed {
        /// Its graph.
        repo: String,
    },
    /// A daemon that answered does not any more.
    Unhealthy {
        /// Its graph.
        repo: String,
    },
    /// A daemon now belongs to somebody else.
    TakenOver {
        /// Its graph.
        repo: String,
    },
    /// A daemon is gone, as was wanted.
    Stopped {
        /// Its graph.
        repo: String,
    },
    /// The app wants no window to show this graph.
    StopRepo {
        /// The graph.
        repo: String,
    },
    /// The app ends.
    StopAll,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Have a daemon: [`Event::Started`] or [`Event::Failed`] follows.
    Ensure {
        /// Its graph.
        repo: String,
    },
    /// Stop a daemon: [`Event::Stopped`] follows.
    Stop {
        /// Its graph.
        repo: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being had.
    Starting,
    /// It answers.
    Running { owned: bool },
    /// It is being stopped.
    Stopping,
}

#[derive(Clone, Debug)]
struct Entry {
    phase: Phase,
    windows: BTreeSet<Window>,
}

/// The daemons and windows of an app.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    repos: BTreeMap<String, Entry>,
    windows: BTreeMap<Window, String>,
}

impl Manager {
    /// The graph that a window shows.
    pub fn shown(&self, window: Window) -> Option<&str> {
        self.windows.get(&window).map(String::as_str)
    }

    /// Whether a graph's daemon answers.
    pub fn is_running(&self, repo: &str) -> bool {
        self.repos.get(repo).is_some_and(|entry| matches!(entry.phase, Phase::Running { .. }))
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Open { window, repo } => self.open(window, repo),
            Event::Release { window, repo } => {
                if self.windows.get(&window) == Some(&repo) {
                    self.windows.remove(&window);
                }
                self.leave(window, &repo)
            }
            Event::Close { window } => match self.windows.remove(&window) {
                Some(repo) => self.leave(window, &repo),
                None => Vec::new(),
            },
            Event::Started { repo, owned } => self.started(&repo, owned.unwrap_or(true)),
            Event::Failed { repo } => {
                self.forget(&repo);
                Vec::new()
            }
            Event::Unhealthy { repo } => self.unhealthy(repo),
            Event::TakenOver { repo } => {
                if let Some(Entry { phase: Phase::Running { owned }, .. }) = self.repos.get_mut(&repo) {
                    *owned = false;
                }
                Vec::new()
            }
            Event::Stopped { repo } => self.stopped(repo),
            Event::StopRepo { repo } => self.stop_repo(&repo),
            Event::StopAll => {
                let repos: Vec<String> = self.repos.keys().cloned().collect();
                repos.iter().flat_map(|repo| self.stop_repo(repo)).collect()
            }
        }
    }

    fn open(&mut self, window: Window, repo: String) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.windows.insert(window, repo.clone()) {
            Some(before) if before != repo => actions.extend(self.leave(window, &before)),
            _ => {}
        }
        if let Some(entry) = self.repos.get_mut(&repo) {
            // One that is being stopped is had again once it is gone.
            entry.windows.insert(window);
        } else {
            let entry = Entry { phase: Phase::Starting, windows: BTreeSet::from([window]) };
            self.repos.insert(repo.clone(), entry);
            actions.push(Action::Ensure { repo });
        }
        actions
    }

    /// A window leaves a graph; with the last one goes the daemon.
    fn leave(&mut self, window: Window, repo: &str) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(repo) else {
            return Vec::new();
        };
        if !entry.windows.remove(&window) || !entry.windows.is_empty() {
            return Vec::new();
        }
        self.drop_unused(repo)
    }

    /// Stops a daemon that answers and that no window needs, if it is ours.
    fn drop_unused(&mut self, repo: &str) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(repo) else {
            return Vec::new();
        };
        match entry.phase {
            Phase::Running { owned: true } => {
                entry.phase = Phase::Stopping;
                vec![Action::Stop { repo: repo.to_owned() }]
            }
            Phase::Running { owned: false } => {
                self.repos.remove(repo);
                Vec::new()
            }
            // How it comes out decides.
            Phase::Starting | Phase::Stopping => Vec::new(),
        }
    }

    fn started(&mut self, repo: &str, owned: bool) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(repo) else {
            return Vec::new();
        };
        if entry.phase != Phase::Starting {
            return Vec::new();
        }
        entry.phase = Phase::Running { owned };
        if entry.windows.is_empty() { self.drop_unused(repo) } else { Vec::new() }
    }

    fn forget(&mut self, repo: &str) {
        if let Some(entry) = self.repos.remove(repo) {
            for window in entry.windows {
                self.windows.remove(&window);
            }
        }
    }

    fn unhealthy(&mut self, repo: String) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(&repo) else {
            return Vec::new();
        };
        match entry.phase {
            Phase::Running { owned: true } => {
                entry.phase = Phase::Stopping;
                vec![Action::Stop { repo }]
            }
            Phase::Running { owned: false } => {
                entry.phase = Phase::Starting;
                vec![Action::Ensure { repo }]
            }
            Phase::Starting | Phase::Stopping => Vec::new(),
        }
    }

    fn stopped(&mut self, repo: String) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(&repo) else {
            return Vec::new();
        };
        if entry.phase != Phase::Stopping {
            return Vec::new();
        }
        if entry.windows.is_empty() {
            self.repos.remove(&repo);
            return Vec::new();
        }
        entry.phase = Phase::Starting;
        vec![Action::Ensure { repo }]
    }

    fn stop_repo(&mut self, repo: &str) -> Vec<Action> {
        let Some(entry) = self.repos.get_mut(repo) else {
            return Vec::new();
        };
        for window in std::mem::take(&mut entry.windows) {
            self.windows.remove(&window);
        }
        self.drop_unused(repo)
    }
}
