//! Values that once cost a graph, or far more time than their length: each class that an attack showed, as words for
//! the dictionaries of the targets that read Transit.

/// Ten times a text.
macro_rules! ten {
    ($text:expr) => {
        concat!($text, $text, $text, $text, $text, $text, $text, $text, $text, $text)
    };
}

/// A hundred times a text: two such values in each other pass the limit of 200 levels, one does not.
macro_rules! hundred {
    ($text:expr) => {
        ten!(ten!($text))
    };
}

/// The words.
pub(crate) const WORDS: &[&str] = &[
    // Deep, in each form that gets deeper when it is written.
    concat!(hundred!("["), "1", hundred!("]")),
    concat!(hundred!("[\"~#set\",["), hundred!("]]")),
    concat!(hundred!("[\"~#list\",["), hundred!("]]")),
    concat!(hundred!("[\"^ \",\"~:a\","), "1", hundred!("]")),
    concat!(hundred!("[\"~#cmap\",[[],"), "1", hundred!("]]")),
    // Maps and sets of one length, of which a weak hash makes one bucket.
    "[\"~#set\",[[\"^ \",\"~:a\",1],[\"^ \",\"~:a\",2],[\"^ \",\"~:b\",1],[\"~#set\",[1]],[\"~#set\",[2]]]]",
    // A title with the patterns of JavaScript's replace, and one that mentions blocks.
    "\"$$ $& $` $' $1 $<x>\"",
    "\"((66b8d8f0-0000-4000-8000-000000000001)) [[66b8d8f0-0000-4000-8000-000000000001]]\"",
    // One tempid that many items share, as a number and as a text.
    "-1000000",
    "\"shared\"",
    // Texts that are no UTF-16, and names beyond what a row may hold.
    "\"\\ud800\"",
    concat!("\"~:", hundred!("long-"), "/", hundred!("name-"), "\""),
];
