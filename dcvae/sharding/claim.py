"""Who may write a shard set that is not finished yet.

Writers with equal inputs write equal bytes, so any number of them may share a destination. A
writer that finds the unfinished work of *another state* of the same source (bad images have been
mended, say) takes over, and the former one, if it still lives, is told and stops. Every write is
conditional, so neither can overwrite what it has not seen.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.plan import Settings, Survey
from dcvae.shards.manifest import MANIFEST
from dcvae.storage import Conflict, NotFound, Storage

CLAIM = "unfinished.json"


class Claim:
    """The right to write below ``storage``. Can be pickled."""

    def __init__(
        self,
        storage: Storage,
        source: str,
        settings: Settings,
        survey: Survey,
        base: str | None = None,
        hints: dict[str, Any] | None = None,
    ) -> None:
        """``base`` is the etag of the manifest that is to be replaced, if there is one."""
        self.storage, self.base = storage, base
        self._settings = {"source": source, **asdict(settings), **(hints or {})}
        state = {**self._settings, "source_fingerprint": survey.fingerprint}
        self._body = json.dumps(state, sort_keys=True, indent=1).encode()

    def take(self) -> None:
        """Claim the destination.

        Raises:
            UserError: it holds the unfinished work of another source or of other settings.
        """
        for _ in range(10):
            present = self.storage.stat(CLAIM)
            try:
                if present is None:
                    self.storage.write(CLAIM, self._body, if_absent=True)
                    return
                body = self.storage.read(CLAIM)
                if body == self._body:
                    return
                self._compare(body)
                self.storage.write(CLAIM, self._body, if_match=present.etag)
                return
            except (Conflict, NotFound):
                continue  # another writer was faster: look again
        raise UserError(f"{self.storage.uri} is claimed by several writers at once: start again")

    def check(self) -> None:
        """Go on only while the claim stands.

        Raises:
            UserError: another writer has finished or taken over.
        """
        try:
            body = self.storage.read(CLAIM)
        except NotFound:
            if not self._overtaken():
                self.take()  # somebody tidied up
            return
        if body != self._body:
            raise UserError(
                f"{self.storage.uri} was taken over by another writer, who saw another state of "
                "the source: this one stops"
            )

    def put(self, key: str, body: bytes) -> None:
        """Store ``body``; leave an equal object alone, replace the remains of another writer."""
        for _ in range(5):
            present = self.storage.stat(key)
            try:
                if present is None:
                    self.storage.write(key, body, if_absent=True)
                    return
                if present.size == len(body) and _same(self.storage.read(key), body):
                    return
                self.check()
                if self._overtaken():
                    break
                self.storage.write(key, body, if_match=present.etag)
                return
            except (Conflict, NotFound):
                continue
        raise UserError(f"{self.storage.uri}/{key} is being written by somebody else: stop them")

    def release(self) -> None:
        """Give the claim up: the set is published."""
        self.storage.delete(CLAIM)

    def _overtaken(self) -> bool:
        present = self.storage.stat(MANIFEST)
        return (present.etag if present else None) != self.base

    def _compare(self, body: bytes) -> None:
        try:
            theirs = json.loads(body)
        except ValueError:
            theirs = {}
        for name, mine in self._settings.items():
            if theirs.get(name) != mine:
                raise UserError(
                    f"{self.storage.uri} holds an unfinished set with {name} "
                    f"{theirs.get(name)} where this has {mine}: remove it or choose another place"
                )


def _same(a: bytes, b: bytes) -> bool:
    return hashlib.sha256(a).digest() == hashlib.sha256(b).digest()
