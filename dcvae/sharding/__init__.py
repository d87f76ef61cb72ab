"""Turns a source of images into a shard set."""
