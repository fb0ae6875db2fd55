"""What users see: pure renderings, and the only place that prints."""
