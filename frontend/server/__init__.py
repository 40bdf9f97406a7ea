"""What lies between the socket and the application: bounds on connections, time and memory."""
