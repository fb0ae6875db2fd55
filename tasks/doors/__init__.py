"""The tasks as invoke shows them. Each is thin: what it does stands in the room that its name says."""
