"""HTTPS frontends: security workflow, routes, submission and collection."""
