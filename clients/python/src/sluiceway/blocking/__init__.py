"""The blocking face: the same core, on an event loop in a thread of its own."""
