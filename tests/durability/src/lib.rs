//! Tests of what outlives the death of a server: they start and kill one of their own, so they stand apart from the
//! conformance suite, which is pointed at any.
