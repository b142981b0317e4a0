"""What a run gives, in memory: lanes and runs, trained networks, and what can be said of them."""
