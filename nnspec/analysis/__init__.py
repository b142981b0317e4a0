"""Runs and trained networks, looked at afterwards: compared, verified, evaluated, asked, and the loss around them."""
