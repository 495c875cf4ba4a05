"""`penstock tune`: how many executors with how many threads, and how many rows at once, are best on this machine."""
