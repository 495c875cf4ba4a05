"""kill -9 at every step of a job's way, at that very step."""
