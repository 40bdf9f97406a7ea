"""A service under load for long, whose processes are killed all the while: `make soak`."""
