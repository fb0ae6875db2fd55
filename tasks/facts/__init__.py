"""What is there now: the engine, the cluster, registries, programs, ports. Read only."""
