"""Docker's daemon.json: where it is, what is merged into it, how it is written, reloaded and given back."""
