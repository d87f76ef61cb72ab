"""What a shard set is: its manifest, its tars, how images are stored in them."""
