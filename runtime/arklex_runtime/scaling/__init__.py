"""The guide's components for load: scaling, balancing, bounded processing, memory."""
