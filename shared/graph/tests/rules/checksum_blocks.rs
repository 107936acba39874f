//! sync.md 5.3, 22 (`checksum_test`).

use graph::rules::checksum::Checksum;
use graph::rules::checksum::blocks;

use crate::world::{after, full, kw, map, sample, uuid_text};

#[test]
fn blocks_in_the_order_of_their_uuids() {
    let db = sample();
    let is_e2ee = blocks::is_e2ee(&db).expect("a readable database");
    assert_eq!(blocks::attr_names(is_e2ee), ["name", "order", "page", "parent", "title", "uuid"]);
    let mut sum = Checksum::default();
    let mut texts = Vec::new();
    blocks::visit(&db, is_e2ee, None, |visited| {
        sum = sum.plus(visited.sum, 1);
        let Some(block) = &visited.block else { return true };
        let mut text = String::new();
        block.write_json(&mut text);
        texts.push(text);
        true
    })
    .expect("a readable database");
    assert_eq!(sum.to_string(), full(&db), "the blocks make the checksum");
    let [one, two, four] = [1, 2, 4].map(uuid_text);
    assert_eq!(texts.len(), 5);
    assert_eq!(
        texts[0],
        format!(r#"{{"uuid":"{one}","parent":null,"page":null,"order":null,"title":"Page A","name":"page a"}}"#)
    );
    assert_eq!(
        texts[1],
        format!(r#"{{"uuid":"{two}","parent":"{one}","page":"{one}","order":"a2","title":"Hello","name":null}}"#)
    );
    assert!(texts[3].contains(&four));
}

#[test]
fn encrypted_graphs_show_no_texts() {
    let flag = map(&[("db/ident", kw("logseq.kv/graph-rtc-e2ee?")), ("kv/value", true.into())]);
    let db = after(&sample(), &[&[flag]]);
    assert!(blocks::is_e2ee(&db).expect("a readable database"));
    assert_eq!(blocks::attr_names(true), ["order", "page", "parent", "uuid"]);
    let mut count = 0;
    blocks::visit(&db, true, None, |visited| {
        let Some(block) = &visited.block else { return true };
        let mut text = String::new();
        block.write_json(&mut text);
        assert!(!text.contains("title") && !text.contains("name"), "{text}");
        count += 1;
        count < 2
    })
    .expect("a readable database");
    assert_eq!(count, 2);
}
