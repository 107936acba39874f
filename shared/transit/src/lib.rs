//! Transit-JSON: a streaming reader, a writer and a value model.
