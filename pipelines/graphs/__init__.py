"""How steps are joined: one model from images to the registry, several side by side."""
