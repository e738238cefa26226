"""The process in a worker pod: claims attempts, runs them, reports."""
