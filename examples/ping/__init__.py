"""A service that does next to nothing, to measure everything around it."""
