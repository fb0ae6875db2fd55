"""What users see: pure renderings, and the only package that prints."""
