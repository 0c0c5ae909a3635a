"""Programs that show Sluiceway at work, each with its service for the grid and its client."""
