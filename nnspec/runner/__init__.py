"""A complete run: data, gradient checks, lanes, verdicts."""
