"""Results of a run in memory: lanes, trained networks, their health, and comparisons between them."""
