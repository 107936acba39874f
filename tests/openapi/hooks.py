"""What schemathesis has to know of bodies that are no JSON (tests/openapi/fuzz.mjs)."""

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/x-tar")
def as_bytes(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
