"""What is changed on this machine outside a cluster: fetched programs, Docker's daemon.json."""
