"""Runs as one HTML page that stands alone: curves, verdicts, networks, confusions, and how to get them again."""
