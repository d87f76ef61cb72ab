"""The champion: one pointer, moved by compare-and-swap, with every decision written beside it."""

import random
import time
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dcvae.errors import UserError
from dcvae.registry.versions import open_model
from dcvae.storage import Conflict, NotFound, Storage, to_json

STATE = "champion.json"
PATIENCE = 120.0  # seconds of losing to other writers before giving up


class Event(BaseModel):
    """One decision about the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    by: Literal["gate", "hand"]
    version: int
    """The version that was judged or promoted."""
    moved: bool
    """Whether the champion became this version."""
    previous: int | None
    """The champion before."""
    reason: str
    thresholds: dict[str, float] = {}
    data: str | None = None
    """The data on which the champion was to be measured again, if that was needed."""


class State(BaseModel):
    """The content of ``champion.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    version: int | None = None
    events: tuple[Event, ...] = ()


def read_state(model: Storage) -> State:
    """The champion and its history; empty if nothing has been decided yet."""
    try:
        return State.model_validate(model.read_json(STATE))
    except NotFound:
        return State()
    except ValidationError as error:
        raise UserError(
            f"{model.uri}/{STATE} is malformed or of a later version: {error}"
        ) from error


def decide(model: Storage, decision: Callable[[State], Event | None]) -> State:
    """Add the event that ``decision`` makes of the current state, and move the champion by it.

    If another writer comes in between, the decision is made again from what that wrote. If there
    is no event, nothing is written.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        present = model.stat(STATE)
        state = read_state(model) if present else State()
        event = decision(state)
        if event is None:
            return state
        changed = State(
            version=event.version if event.moved else state.version,
            events=(*state.events, event),
        )
        try:
            # An object that changes between stat and read has another etag: the write conflicts.
            etag = present.etag if present else None
            model.write(
                STATE,
                to_json(changed.model_dump(mode="json")),
                if_absent=present is None,
                if_match=etag,
            )
            return changed
        except Conflict:
            if time.monotonic() > deadline:
                raise UserError(f"{model.uri}/{STATE} is changed all the time; try again") from None
            time.sleep(random.uniform(0.01, 0.3))


def history(registry: str, name: str) -> tuple[Event, ...]:
    """Every decision about a model's champion, oldest first."""
    return read_state(open_model(registry, name)).events
