"""The registry: numbered versions of a model in a bucket, one of which is the champion.

::

    <registry>/<name>/content/<digest>/         weights, configuration, evaluation, report, card
    <registry>/<name>/versions/<000001>.json    a version: its digest, checksums, metrics, lineage
    <registry>/<name>/champion.json             which version leads, and every decision so far

Content is uploaded under its own digest first; a version exists once its record is written, which
can succeed only once for each number. ``champion.json`` is replaced by compare-and-swap. Another
registry may show all of it, see :mod:`dcvae.registry.catalogues`.
"""

from dcvae.registry.by_hand import promote
from dcvae.registry.catalogues import Catalogue, open_catalogue
from dcvae.registry.champion import Event, history
from dcvae.registry.listing import Listed, list_models
from dcvae.registry.publication import publish
from dcvae.registry.resolve import resolve, split_alias
from dcvae.registry.versions import Version, check_name, list_versions

__all__ = [
    "Catalogue",
    "Event",
    "Listed",
    "Version",
    "check_name",
    "history",
    "list_models",
    "list_versions",
    "open_catalogue",
    "promote",
    "publish",
    "resolve",
    "split_alias",
]
