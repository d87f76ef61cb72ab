"""The experiments, one per file, and the command line that they share."""
