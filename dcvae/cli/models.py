"""Verbs that use a model: new images, and images through the model."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
