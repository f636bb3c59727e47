"""Training of one run: the loop, and what it needs around it."""
