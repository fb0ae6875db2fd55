"""The only place that starts programs, through sh."""
