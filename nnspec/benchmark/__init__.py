"""Benches: contestants that are tuned and raced on several problems, planned, run, recorded and verified."""
