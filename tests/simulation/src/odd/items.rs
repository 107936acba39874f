//! Transaction items at random.

use super::make::Flavour;
use super::plan::Entry;
use super::{names, schema, told, valid, values};
use crate::rng::Rng;

/// Makes items, and remembers them so that later items touch the same facts.
pub(crate) struct Maker {
    pub(crate) rng: Rng,
    pub(crate) flavour: Flavour,
    /// Attributes in use.
    attrs: Vec<String>,
    /// Facts that were added at some time: entity, attribute, value.
    facts: Vec<(u32, String, String)>,
    /// New names so far.
    named: usize,
    pub(crate) valid: valid::Known,
}

/// Facts that later items use again.
const REMEMBERED: usize = 60;

impl Maker {
    pub(crate) fn new(mut rng: Rng, flavour: Flavour) -> Self {
        let attrs = names::few(&mut rng);
        Self { rng, flavour, attrs, facts: Vec::new(), named: 0, valid: valid::Known::default() }
    }

    /// An entry.
    pub(crate) fn entry(&mut self) -> Entry {
        if self.flavour == Flavour::Valid && self.rng.percent(85) {
            return valid::entry(self);
        }
        if self.flavour == Flavour::Told {
            return told::entry(self);
        }
        let many = self.flavour == Flavour::Names && self.rng.percent(30);
        let count = match self.rng.below(100) {
            _ if self.flavour == Flavour::Long => 1 + self.rng.below(6),
            _ if many => 70 + self.rng.below(631),
            0 => 500 + self.rng.below(60),
            1..10 => 8 + self.rng.below(40),
            _ => 1 + self.rng.below(6),
        };
        let mut items: Vec<String> = (0..count).map(|_| if many { self.named() } else { self.item() }).collect();
        if self.rng.percent(6) {
            // After good items, or before them.
            let place = if self.rng.percent(70) { items.len() } else { self.rng.below(items.len()) };
            items.insert(place, self.bad());
        }
        match self.rng.below(30) {
            0 => Entry::with_op(items, "db-migrate"),
            1 => Entry::with_op(items, "rebase"),
            2 => Entry::with_op(items, "delete-blocks"),
            _ => Entry::new(items),
        }
    }

    /// More names than a graph keeps, in an entry whose operation allows it to fail.
    pub(crate) fn flood(&mut self) -> Entry {
        let first = self.rng.below(1000);
        let mut items: Vec<String> =
            (0..50_100).map(|n| add(1, &format!("f{:03}/n{n}", (n * 7 + first) % 997), "1")).collect();
        items.push(r#"["~:db/add",["~:block/uuid","~u66b8d8f0-0000-4000-8000-00000000ffff"],"~:a",1]"#.to_owned());
        let op = if self.rng.percent(80) { "rebase" } else { "save-block" };
        Entry::with_op(items, op)
    }

    /// A fact with a new attribute.
    fn named(&mut self) -> String {
        self.named += 1;
        let name = names::new(&mut self.rng, self.named);
        let e = self.eid();
        let value = if self.rng.percent(90) { self.rng.below(5).to_string() } else { values::value(&mut self.rng) };
        if self.rng.percent(2) {
            self.attrs.push(name.clone());
        }
        add(e, &name, &value)
    }

    /// An item.
    fn item(&mut self) -> String {
        let (schema, blocks) = match self.flavour {
            Flavour::Schema => (35, 4),
            Flavour::Blocks => (4, 70),
            Flavour::Values => (6, 2),
            Flavour::Names | Flavour::Long | Flavour::Flood => (3, 3),
            Flavour::Mixed | Flavour::Valid | Flavour::Told => (14, 18),
        };
        let choice = self.rng.below(100);
        if choice < schema {
            let attr = self.attr();
            return schema::item(&mut self.rng, &attr);
        }
        if choice < schema + blocks {
            return names::block_item(&mut self.rng);
        }
        match self.rng.below(100) {
            0..52 => self.plain_add(),
            52..62 => self.repeated(),
            62..72 => self.retraction(),
            72..75 => format!(r#"["~:db/retractEntity",{}]"#, self.eid()),
            75..78 => self.cas(),
            78..86 => self.map(),
            86..91 => self.by_tempid(),
            91..95 => self.by_reference(),
            95..96 => self.named(),
            _ => self.with_tx(),
        }
    }

    fn plain_add(&mut self) -> String {
        let (e, attr) = (self.eid(), self.attr());
        let value = self.value(&attr);
        if self.facts.len() >= REMEMBERED {
            let place = self.rng.below(REMEMBERED);
            self.facts.swap_remove(place);
        }
        self.facts.push((e, attr.clone(), value.clone()));
        add(e, &attr, &value)
    }

    /// A fact that was added before, again, perhaps spelled in another way.
    fn repeated(&mut self) -> String {
        let Some((e, attr, value)) = self.rng.pick(&self.facts).cloned() else { return self.plain_add() };
        let value = if self.rng.percent(50) { values::respelled(&mut self.rng, &value) } else { value };
        let e = if self.rng.percent(20) { self.eid() } else { e };
        add(e, &attr, &value)
    }

    fn retraction(&mut self) -> String {
        let Some((e, attr, value)) = self.rng.pick(&self.facts).cloned() else { return self.plain_add() };
        match self.rng.below(8) {
            0 => format!(r#"["~:db/retract",{e},"~:{attr}"]"#),
            1 => format!(r#"["~:db.fn/retractAttribute",{e},"~:{attr}"]"#),
            2 => format!(r#"["~:db/retract",{e},"~:{attr}",{}]"#, values::respelled(&mut self.rng, &value)),
            _ => format!(r#"["~:db/retract",{e},"~:{attr}",{value}]"#),
        }
    }

    fn cas(&mut self) -> String {
        let Some((e, attr, old)) = self.rng.pick(&self.facts).cloned() else { return self.plain_add() };
        let new = self.value(&attr);
        let old = if self.rng.percent(20) { "null" } else { &old };
        format!(r#"["~:db/cas",{e},"~:{attr}",{old},{new}]"#)
    }

    fn map(&mut self) -> String {
        let id = match self.rng.below(4) {
            0 => String::new(),
            1 => format!(r#","~:db/id","t{}""#, self.rng.below(3)),
            2 => format!(r#","~:db/id",-{}"#, 1 + self.rng.below(3)),
            _ => format!(r#","~:db/id",{}"#, self.eid()),
        };
        let mut keys: Vec<String> = (0..=self.rng.below(4)).map(|_| self.attr()).collect();
        keys.sort_unstable();
        keys.dedup();
        let entries: Vec<String> = keys.iter().map(|attr| format!(r#","~:{attr}",{}"#, self.value(attr))).collect();
        format!(r#"["^ "{id}{}]"#, entries.concat())
    }

    fn by_tempid(&mut self) -> String {
        let attr = self.attr();
        let value = self.value(&attr);
        if self.rng.percent(50) {
            format!(r#"["~:db/add",-{},"~:{attr}",{value}]"#, 1 + self.rng.below(3))
        } else {
            format!(r#"["~:db/add","t{}","~:{attr}",{value}]"#, self.rng.below(3))
        }
    }

    fn by_reference(&mut self) -> String {
        let attr = self.attr();
        let value = self.value(&attr);
        let reference = match self.rng.below(3) {
            0 => format!(r#"["~:block/uuid","~u{}"]"#, names::uuid(self.rng.below(8))),
            1 => format!(r#"["~:db/ident","~:{}"]"#, names::ident(&mut self.rng)),
            _ => format!(r#""~:{}""#, names::ident(&mut self.rng)),
        };
        format!(r#"["~:db/add",{reference},"~:{attr}",{value}]"#)
    }

    /// With a transaction number of the client's own.
    fn with_tx(&mut self) -> String {
        let (e, attr) = (self.eid(), self.attr());
        let value = self.value(&attr);
        let tx = ["1", "0", "-5", "536870912", "536870913", "536870990", "2147483647", "2147483648", "1.5", "null"];
        let tx = self.rng.pick(&tx).copied().unwrap_or("1");
        format!(r#"["~:db/add",{e},"~:{attr}",{value},{tx}]"#)
    }

    /// An item that must be refused.
    fn bad(&mut self) -> String {
        let attr = self.attr();
        let bad = [
            format!(r#"["~:db/add",1,"~:{attr}",null]"#),
            format!(r#"["~:db/add",1,"{attr}",1]"#),
            r#"["~:no/such-operation",1]"#.to_owned(),
            format!(r#"["~:db/add",["~:block/uuid","~u{}"],"~:{attr}",1]"#, names::uuid(99)),
            format!(r#"["~:db/add",2147483648,"~:{attr}",1]"#),
            format!(r#"["~:db/retract","t","~:{attr}",1]"#),
            r#"["~:db/cas",1,"~:odd/never","x","y"]"#.to_owned(),
            "true".to_owned(),
        ];
        self.rng.pick(&bad).cloned().unwrap_or_default()
    }

    fn attr(&mut self) -> String {
        // The first ones are chosen more often.
        let bound = 1 + self.rng.below(self.attrs.len());
        let place = self.rng.below(bound);
        self.attrs.get(place).cloned().unwrap_or_default()
    }

    /// An entity: one of few.
    fn eid(&mut self) -> u32 {
        let most = if matches!(self.flavour, Flavour::Long | Flavour::Names) { 40 } else { 8 };
        let number = 1 + self.rng.below(most);
        match self.rng.below(100) {
            0 => 536_870_912,
            1 => 2_147_483_647,
            _ => u32::try_from(number).unwrap_or(1),
        }
    }

    /// A value that suits the graph.
    pub(crate) fn value(&mut self, attr: &str) -> String {
        let rng = &mut self.rng;
        if attr.ends_with("ref") && rng.percent(90) {
            return (1 + rng.below(12)).to_string();
        }
        if attr == "block/uuid" {
            return names::uuid_value(rng);
        }
        match self.flavour {
            Flavour::Long if rng.percent(50) => values::long_text(rng),
            Flavour::Values if rng.percent(30) => values::disordered(rng),
            Flavour::Schema | Flavour::Blocks | Flavour::Valid if rng.percent(60) => values::number(rng),
            _ if rng.percent(20) => values::text(rng),
            _ => values::value(rng),
        }
    }
}

/// `[:db/add e a v]`
pub(crate) fn add(e: u32, attr: &str, value: &str) -> String {
    format!(r#"["~:db/add",{e},"~:{attr}",{value}]"#)
}
