"""Output in notebooks and Python prompts: short tables of results, and a progress line."""
