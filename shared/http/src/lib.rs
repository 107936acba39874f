//! The HTTP surface over ports: routing, handlers, CORS, error mapping.
