"""HTTP in front of the farm: authenticates, validates, records, publishes, answers."""
