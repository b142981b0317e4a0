"""What a notebook and a Python prompt show: short tables of results, and a line of progress."""
