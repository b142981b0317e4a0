"""Numbers compared: means, intervals, tests, rankings."""
