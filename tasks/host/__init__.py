"""Changes to this machine outside of a cluster: downloaded programs, Docker's daemon.json."""
