//! Messages and bodies on the wire, their validation, and error bodies.
