"""Who may write to an unfinished shard set.

Writers with equal inputs write equal bytes, so any number of them may share a destination. A
writer that finds the unfinished work of *another state* of the same source (say, bad images have
been repaired) takes over; the former writer, if still alive, notices and stops. Every write is
conditional, so neither can overwrite what it has not seen.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.plan import Spec, Survey
from dcvae.shards.manifest import MANIFEST
from dcvae.storage import Conflict, NotFound, Storage

CLAIM = "unfinished.json"


class Claim:
    """The right to write below ``storage``. It can be pickled."""

    def __init__(
        self,
        storage: Storage,
        source: str,
        spec: Spec,
        survey: Survey,
        base: str | None = None,
        hints: dict[str, Any] | None = None,
    ) -> None:
        """``base`` is the etag of the manifest to be replaced, if there is one."""
        self.storage, self.base = storage, base
        self._spec = {"source": source, **asdict(spec), **(hints or {})}
        state = {**self._spec, "source_fingerprint": survey.fingerprint}
        self._body = json.dumps(state, sort_keys=True, indent=1).encode()

    def take(self) -> None:
        """Claim the destination.

        Raises:
            UserError: it holds the unfinished work of another source, or of another spec.
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
                continue  # another writer was faster: try again
        raise UserError(f"{self.storage.uri} is claimed by several writers at once: start again")

    def check(self) -> None:
        """Make sure that the claim still stands.

        Raises:
            UserError: another writer has finished or taken over.
        """
        try:
            body = self.storage.read(CLAIM)
        except NotFound:
            if not self._overtaken():
                self.take()  # the claim was deleted
            return
        if body != self._body:
            raise UserError(
                f"{self.storage.uri} was taken over by another writer, who saw another state of "
                "the source: this one stops"
            )

    def put(self, key: str, body: bytes) -> None:
        """Store ``body``; keep an equal object, replace one that another writer has left."""
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
        """Give up the claim, because the set is published."""
        self.storage.delete(CLAIM)

    def _overtaken(self) -> bool:
        present = self.storage.stat(MANIFEST)
        return (present.etag if present else None) != self.base

    def _compare(self, body: bytes) -> None:
        try:
            theirs = json.loads(body)
        except ValueError:
            theirs = {}
        for name, mine in self._spec.items():
            if theirs.get(name) != mine:
                raise UserError(
                    f"{self.storage.uri} holds an unfinished set with {name} "
                    f"{theirs.get(name)} where this has {mine}: remove it or choose another place"
                )


def _same(a: bytes, b: bytes) -> bool:
    return hashlib.sha256(a).digest() == hashlib.sha256(b).digest()
