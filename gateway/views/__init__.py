"""What the gateway answers, one file a family of routes."""
