"""How a task runs: the task decorator, the session of one call, the launch as one graph."""
