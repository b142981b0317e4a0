"""A run as one self-contained page of HTML: no network, no scripts, no other files."""
