"""What the farm remembers: job records, objects, API keys, workers."""
