"""A run from start to end: data, gradient checks, lanes, verdicts."""
