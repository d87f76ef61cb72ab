"""Moving the champion by hand, past the gate."""

from dcvae.registry.catalogues import Catalogue
from dcvae.registry.champion import Event, State, decide
from dcvae.registry.publication import publish
from dcvae.registry.versions import open_model, read_version
from dcvae.storage import timestamp


def promote(
    registry: str,
    name: str,
    version: int,
    reason: str = "promoted by hand",
    catalogue: Catalogue | None = None,
) -> State:
    """Make ``version`` the champion whatever the gate says; it may be an earlier one.

    Raises:
        UserError: there is no such version, or the catalogue cannot be told.
    """
    model = open_model(registry, name)
    read_version(model, version)
    if catalogue:
        catalogue.check(model.uri, name)

    def by_hand(state: State) -> Event | None:
        if state.version == version:
            return None
        return Event(
            at=timestamp(),
            by="hand",
            version=version,
            moved=True,
            previous=state.version,
            reason=reason,
        )

    state = decide(model, by_hand)
    if catalogue:
        publish(model, name, catalogue)
    return state
