//! What happens to one graph, as data: a seed makes a plan, a file holds one, and the shrinker takes things out of it.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::Result;
use crate::base::Base;

/// A whole graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// What the graph starts with.
    pub(crate) base: Base,
    /// Bytes of the caches of clean nodes.
    pub(crate) cache: usize,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A client sends a batch.
    Batch(Vec<Entry>),
    /// The graph object is dropped, and another one opened over the same database with so much cache.
    Reopen(usize),
    /// The rows are uploaded into a fresh graph, which takes the place of this one.
    Upload,
    /// The independent reader looks at the rows.
    Read,
}

/// One entry of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Transit texts of the items, without cache codes, so that each can be taken out alone.
    pub(crate) items: Vec<String>,
    /// `outliner-op`
    pub(crate) op: Option<String>,
}

impl Entry {
    /// Items that a client sends without saying what they are for.
    pub(crate) const fn new(items: Vec<String>) -> Self {
        Self { items, op: None }
    }

    /// The same with an operation.
    pub(crate) fn with_op(items: Vec<String>, op: &str) -> Self {
        Self { items, op: Some(op.to_owned()) }
    }

    /// The Transit text of the entry.
    pub(crate) fn tx(&self) -> String {
        format!("[{}]", self.items.join(","))
    }
}

impl Plan {
    /// The size of the plan: a smaller one is simpler.
    pub(crate) fn size(&self) -> usize {
        let of_step = |step: &Step| match step {
            Step::Batch(entries) => entries.iter().flat_map(|entry| &entry.items).map(|item| 8 + item.len()).sum(),
            Step::Reopen(_) | Step::Upload | Step::Read => 8,
        };
        self.steps.iter().map(|step| 8 + of_step(step)).sum()
    }

    /// One line for the start and one for each step.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let base = match self.base {
            Base::Empty => "empty",
            Base::Logseq => "logseq",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", json!({ "base": base, "cache": self.cache }));
        for step in &self.steps {
            let line = match step {
                Step::Batch(entries) => {
                    let entry = |entry: &Entry| json!({ "items": entry.items, "op": entry.op });
                    json!({ "batch": entries.iter().map(entry).collect::<Vec<_>>() })
                }
                Step::Reopen(cache) => json!({ "reopen": cache }),
                Step::Upload => json!("upload"),
                Step::Read => json!("read"),
            };
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Reads what [`Plan::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(|line| serde_json::from_str::<Json>(line).map_err(|error| error.to_string()));
        let start = lines.next().ok_or("an empty plan")??;
        let base = match start.get("base").and_then(Json::as_str) {
            Some("empty") => Base::Empty,
            Some("logseq") => Base::Logseq,
            other => return Err(format!("base {other:?}")),
        };
        let cache = number(start.get("cache"))?;
        let steps = lines.map(|line| step(&line?)).collect::<Result<_>>()?;
        Ok(Self { base, cache, steps })
    }
}

fn step(line: &Json) -> Result<Step> {
    match line.as_str() {
        Some("upload") => return Ok(Step::Upload),
        Some("read") => return Ok(Step::Read),
        _ => {}
    }
    if let Some(entries) = line.get("batch").and_then(Json::as_array) {
        return Ok(Step::Batch(entries.iter().map(entry).collect::<Result<_>>()?));
    }
    Ok(Step::Reopen(number(line.get("reopen"))?))
}

fn entry(entry: &Json) -> Result<Entry> {
    let items = entry.get("items").and_then(Json::as_array).ok_or("an entry without items")?;
    let items = items.iter().map(|item| item.as_str().map(str::to_owned).ok_or("an item is no text"));
    let op = entry.get("op").and_then(Json::as_str).map(str::to_owned);
    Ok(Entry { items: items.collect::<Result<_, _>>()?, op })
}

fn number(value: Option<&Json>) -> Result<usize> {
    value.and_then(Json::as_u64).and_then(|number| usize::try_from(number).ok()).ok_or("no number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odd::make;
    use crate::odd::shrink::shrink;

    #[test]
    fn a_seed_makes_one_plan_which_a_file_holds() {
        for seed in 0..300 {
            let plan = make::plan(seed);
            assert_eq!(plan, make::plan(seed));
            if plan.size() < 1 << 20 {
                assert_eq!(Plan::parse(&plan.to_text()), Ok(plan));
            }
        }
    }

    #[test]
    fn what_does_not_matter_is_taken_out() {
        let mut plan = make::plan(7);
        let item = r#"["~:db/add",3,"~:needle",["a","b",["c"]]]"#.to_owned();
        plan.steps.insert(plan.steps.len() / 2, Step::Batch(vec![Entry::new(vec![item.clone(), item])]));
        let small = shrink(plan, &mut |plan| plan.to_text().contains("needle"));
        let needle = vec![r#"["~:db/add",3,"~:needle",1]"#.to_owned()];
        assert_eq!(small.steps, [Step::Batch(vec![Entry::new(needle)])]);
    }
}
