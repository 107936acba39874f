//! Tests of what survives when a server is killed. They start and kill a server of their own, so they are not part of
//! the conformance suite, which runs against any server.
