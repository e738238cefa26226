"""What the runtime watches on the API server, and what it reports there."""
