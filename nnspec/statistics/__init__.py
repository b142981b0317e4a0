"""Statistics: means, confidence intervals, significance tests, rankings."""
