"""The steps of a pipeline, one file each: interface, image and a thin body that calls dcvae."""
