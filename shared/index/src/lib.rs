//! Users, graphs, members and keys: SQL and rules over an asynchronous database.
