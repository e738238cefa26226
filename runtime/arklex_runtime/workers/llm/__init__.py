"""Workers that speak to a language model. Nothing here imports pydantic-ai before the first task: that takes seconds."""
