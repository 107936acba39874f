//! The server state of one Logseq graph: transactions, log, checksum, snapshots, presence.
