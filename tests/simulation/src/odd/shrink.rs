//! Makes a failing plan smaller while it goes on failing in the same way.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::plan::{Entry, Plan, Step};

/// The most plans that are tried, and the longest time; then the plan counts as small enough.
const TRIES: usize = 3000;
const TIME: Duration = Duration::from_secs(20);

/// What a value is replaced with.
const SIMPLE: [&str; 3] = ["1", "\"\"", "[]"];

/// Takes out batches, entries and items, then simplifies what is left. `fails` plays a plan.
pub(crate) fn shrink(plan: Plan, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut shrinker = Shrinker { plan, tries: TRIES, until: Instant::now() + TIME, fails };
    loop {
        let size = shrinker.plan.size();
        shrinker.steps();
        shrinker.entries();
        shrinker.items();
        shrinker.values();
        if shrinker.plan.size() >= size {
            return shrinker.plan;
        }
    }
}

struct Shrinker<'f> {
    plan: Plan,
    tries: usize,
    until: Instant,
    fails: &'f mut dyn FnMut(&Plan) -> bool,
}

impl Shrinker<'_> {
    /// Whether the time is over: even making plans takes long when they are large.
    fn is_over(&self) -> bool {
        self.tries == 0 || Instant::now() > self.until
    }

    /// Keeps a smaller plan if it fails as well.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.is_over() || plan == self.plan {
            return false;
        }
        self.tries -= 1;
        let fails = (self.fails)(&plan);
        if fails {
            self.plan = plan;
        }
        fails
    }

    /// Takes pieces out of a list of `length`, large ones first; `without` gives the plan without a range.
    fn cut(&mut self, mut length: usize, without: impl Fn(&Plan, std::ops::Range<usize>) -> Option<Plan>) {
        let mut piece = length;
        while piece > 0 && !self.is_over() {
            // From the end: later things depend on earlier ones.
            let mut end = length;
            while end > 0 && !self.is_over() {
                let start = end.saturating_sub(piece);
                if let Some(plan) = without(&self.plan, start..end)
                    && self.try_plan(plan)
                {
                    length -= end - start;
                }
                end = start;
            }
            piece /= 2;
        }
    }

    fn steps(&mut self) {
        self.cut(self.plan.steps.len(), |plan, range| {
            let mut plan = plan.clone();
            plan.steps.drain(range);
            Some(plan)
        });
    }

    fn entries(&mut self) {
        for at in 0..self.plan.steps.len() {
            let Some(Step::Batch(entries)) = self.plan.steps.get(at) else { continue };
            self.cut(entries.len(), |plan, range| changed(plan, at, |entries| drop(entries.drain(range))));
        }
        for at in 0..self.plan.steps.len().saturating_sub(1) {
            // Two batches as one.
            let mut plan = self.plan.clone();
            if let (Some(Step::Batch(_)), Some(Step::Batch(_))) = (plan.steps.get(at), plan.steps.get(at + 1))
                && let Step::Batch(more) = plan.steps.remove(at + 1)
                && let Some(Step::Batch(entries)) = plan.steps.get_mut(at)
            {
                entries.extend(more);
                self.try_plan(plan);
            }
        }
    }

    fn items(&mut self) {
        for (at, nth) in self.places() {
            let count = self.entry(at, nth).map_or(0, |entry| entry.items.len());
            self.cut(count, |plan, range| {
                changed(plan, at, |entries| {
                    if let Some(entry) = entries.get_mut(nth) {
                        entry.items.drain(range);
                    }
                })
            });
            if let Some(plan) = changed(&self.plan, at, |entries| {
                if let Some(entry) = entries.get_mut(nth) {
                    entry.op = None;
                }
            }) {
                self.try_plan(plan);
            }
        }
    }

    /// Simplifies the values of items of the form `[op e a v …]`, halves long texts.
    fn values(&mut self) {
        for (at, nth) in self.places() {
            let count = self.entry(at, nth).map_or(0, |entry| entry.items.len());
            for place in 0..count.min(200) {
                while let Some(item) = self.entry(at, nth).and_then(|entry| entry.items.get(place)).cloned() {
                    let smaller = simpler(&item);
                    let found = smaller.into_iter().any(|text| {
                        text.len() < item.len()
                            && !self.is_over()
                            && changed(&self.plan, at, |entries| {
                                if let Some(slot) = entries.get_mut(nth).and_then(|entry| entry.items.get_mut(place)) {
                                    *slot = text;
                                }
                            })
                            .is_some_and(|plan| self.try_plan(plan))
                    });
                    if !found {
                        break;
                    }
                }
            }
        }
    }

    fn places(&self) -> Vec<(usize, usize)> {
        let steps = self.plan.steps.iter().enumerate();
        steps
            .flat_map(|(at, step)| match step {
                Step::Batch(entries) => (0..entries.len()).map(|nth| (at, nth)).collect(),
                Step::Reopen(_) | Step::Upload | Step::Read => Vec::new(),
            })
            .collect()
    }

    fn entry(&self, at: usize, nth: usize) -> Option<&Entry> {
        match self.plan.steps.get(at) {
            Some(Step::Batch(entries)) => entries.get(nth),
            _ => None,
        }
    }
}

fn changed(plan: &Plan, at: usize, change: impl FnOnce(&mut Vec<Entry>)) -> Option<Plan> {
    let mut plan = plan.clone();
    match plan.steps.get_mut(at) {
        Some(Step::Batch(entries)) => change(entries),
        _ => return None,
    }
    Some(plan)
}

/// Simpler forms of an item: another value, or less of it.
fn simpler(item: &str) -> Vec<String> {
    let Ok(Json::Array(parts)) = serde_json::from_str(item) else { return Vec::new() };
    let mut simpler = Vec::new();
    let is_map = parts.first().and_then(Json::as_str) == Some("^ ");
    if is_map {
        // Without one of its pairs.
        for key in (1..parts.len()).step_by(2) {
            let rest = parts.iter().enumerate().filter(|(at, _)| *at != key && *at != key + 1);
            simpler.push(Json::Array(rest.map(|(_, part)| part.clone()).collect()).to_string());
        }
    }
    let (first, step) = if is_map { (2, 2) } else { (3, 1) };
    for place in (first..parts.len()).step_by(step) {
        let values = parts.get(place).map(simpler_values).unwrap_or_default();
        simpler.extend(values.into_iter().map(|value| {
            let mut parts = parts.clone();
            if let Some(slot) = parts.get_mut(place) {
                *slot = value;
            }
            Json::Array(parts).to_string()
        }));
    }
    if parts.len() > 4 && !is_map {
        simpler.push(Json::Array(parts.iter().take(4).cloned().collect()).to_string());
    }
    simpler
}

fn simpler_values(value: &Json) -> Vec<Json> {
    let mut values: Vec<Json> = SIMPLE.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    match value {
        Json::String(text) if !text.starts_with('~') => {
            values.push(text.chars().take(text.chars().count() / 2).collect::<String>().into());
        }
        Json::Array(items) => {
            for out in 0..items.len() {
                let rest = items.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, item)| item.clone());
                values.push(rest.collect());
            }
            values.extend(items.iter().cloned());
        }
        _ => {}
    }
    values
}
