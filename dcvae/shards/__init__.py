"""What a shard set is: its manifest, its tar files, and how images are stored in them."""
