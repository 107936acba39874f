//! A DataScript-compatible database whose B-tree nodes live in a row store.
