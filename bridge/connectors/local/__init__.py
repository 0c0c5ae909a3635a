"""The embedded grid: services in worker processes on this machine, with Symphony's life cycle and application profiles.

``connector.LocalConnector`` is the way in; the worker processes import ``worker`` only, so this package imports nothing by itself.
"""
