"""``python -m dcvae``: the same as the ``dcvae`` command."""

from dcvae.cli import main

main()
