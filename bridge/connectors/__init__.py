"""One module or folder for each kind of grid, all behind the seam in ``bridge.connectors.base``."""
