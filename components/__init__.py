"""The steps of a pipeline, one per file: interface, image and a thin body that calls dcvae."""
