"""The current state of the engine, the cluster, registries, programs and ports. Read only."""
