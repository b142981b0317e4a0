"""Trains plans: lanes, proofs, verdicts, records."""
