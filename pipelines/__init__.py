"""The experiments, one file each, and the command line they share."""
