"""Known causes of failure, as data, with their remedies."""
