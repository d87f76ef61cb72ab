"""From a shard set to the batches that a model sees."""
