"""The grid side of Sluiceway: workers that own sessions, and the connectors to each kind of grid."""
