"""The registry: numbered versions of a model in a bucket, one of which is the champion.

::

    <registry>/<name>/content/<digest>/         weights, configuration, evaluation, report, card
    <registry>/<name>/versions/<000001>.json    a version: its digest, checksums, metrics, lineage
    <registry>/<name>/champion.json             which version leads, and every decision so far

Content is uploaded under its own digest first; a version exists from the moment its record is
written, which can succeed once only for each number. ``champion.json`` is replaced by
compare-and-swap.
"""

from dcvae.registry.champion import Event, history, promote
from dcvae.registry.resolve import resolve
from dcvae.registry.versions import Version, list_versions

__all__ = [
    "Event",
    "Version",
    "history",
    "list_versions",
    "promote",
    "resolve",
]
