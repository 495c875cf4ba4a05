"""What gateway and workers say to each other: topology, messages, publishing, relay."""
