"""Tells a catalogue what the registry in the bucket holds."""

from dcvae.registry.catalogues.base import Catalogue, Entry
from dcvae.registry.champion import read_state
from dcvae.registry.versions import CARD, numbers, read_version
from dcvae.storage import Storage


def publish(model: Storage, name: str, catalogue: Catalogue) -> None:
    """Show every version of a model in ``catalogue``, and which one leads.

    If interrupted, the catalogue stays behind until the next publication completes it. Two at once
    both leave the gate's later decision there.

    Raises:
        UserError: the catalogue cannot be reached or refuses; the bucket is as it was.
    """
    while True:
        leader = read_state(model).version
        shown = catalogue.numbers(model.uri, name)
        for number in (number for number in numbers(model) if number not in shown):
            version = read_version(model, number)
            content = model.child(*version.folder.split("/"))
            entry = Entry(version, content.uri, content.read_text(CARD))
            catalogue.add(model.uri, name, entry)
        if leader is not None:
            catalogue.lead(model.uri, name, leader)
        if read_state(model).version == leader:  # otherwise it has moved meanwhile
            return
