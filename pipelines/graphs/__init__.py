"""How steps are joined: one model from images to the registry, or several side by side."""
