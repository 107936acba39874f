//! Values that once broke a graph, or took far more time than their length: one example of each class, as words for the
//! dictionaries of the targets that read Transit.

/// A text ten times.
macro_rules! ten {
    ($text:expr) => {
        concat!($text, $text, $text, $text, $text, $text, $text, $text, $text, $text)
    };
}

/// A text a hundred times: two such values inside each other are deeper than the limit of 200 levels, one is not.
macro_rules! hundred {
    ($text:expr) => {
        ten!(ten!($text))
    };
}

/// The words.
pub(crate) const WORDS: &[&str] = &[
    // Deep values, in each form that is deeper when written than when read.
    concat!(hundred!("["), "1", hundred!("]")),
    concat!(hundred!("[\"~#set\",["), hundred!("]]")),
    concat!(hundred!("[\"~#list\",["), hundred!("]]")),
    concat!(hundred!("[\"^ \",\"~:a\","), "1", hundred!("]")),
    concat!(hundred!("[\"~#cmap\",[[],"), "1", hundred!("]]")),
    // Maps and sets of the same length, which a weak hash puts into one bucket.
    "[\"~#set\",[[\"^ \",\"~:a\",1],[\"^ \",\"~:a\",2],[\"^ \",\"~:b\",1],[\"~#set\",[1]],[\"~#set\",[2]]]]",
    // A title with the patterns of JavaScript's replace, and one that mentions blocks.
    "\"$$ $& $` $' $1 $<x>\"",
    "\"((66b8d8f0-0000-4000-8000-000000000001)) [[66b8d8f0-0000-4000-8000-000000000001]]\"",
    // One tempid that many items share, as a number and as a text.
    "-1000000",
    "\"shared\"",
    // Texts that are no valid UTF-16, and names too long for a row.
    "\"\\ud800\"",
    concat!("\"~:", hundred!("long-"), "/", hundred!("name-"), "\""),
];
