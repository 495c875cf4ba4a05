"""Real servers for the tests, as private child processes on free loopback ports; any user may start them."""
