"""Images in, batches out: sources, shard sets and the stream that a model trains on."""
