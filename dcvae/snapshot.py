"""Snapshots: what users load. Averaged weights as safetensors beside the configuration.

::

    <snapshot>/model.safetensors    float32, no code
    <snapshot>/config.json          written last: without it there is no snapshot
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from dcvae.config import parse_config
from dcvae.errors import UserError
from dcvae.storage import NotFound, Storage, read_versioned
from dcvae.version import __version__

if TYPE_CHECKING:
    from dcvae.models import DCVAE

FORMAT_VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_snapshot(
    storage: Storage, model: "DCVAE", *, images: int, dataset: dict[str, Any]
) -> dict[str, Any]:
    """Write ``model`` into ``storage`` and return the contents of config.json.

    ``images`` is the number of real images the model has seen; ``dataset`` is what it was trained
    on (``uri``, ``name``, ``fingerprint``).
    """
    weights = save({name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()})
    description = {
        "format_version": FORMAT_VERSION,
        "dcvae_version": __version__,
        "images": images,
        "resolution": model.resolution,
        "fade": model.fade,
        "config": model.config.model_dump(mode="json"),
        "dataset": dataset,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    storage.write(WEIGHTS, weights)
    storage.write(CONFIG, json.dumps(description, indent=1).encode())
    return description


def describe_snapshot(storage: Storage) -> dict[str, Any]:
    """The contents of config.json of the snapshot in ``storage``.

    Raises UserError if there is no snapshot, or if it is damaged or of a later format.
    """
    try:
        found = read_versioned(storage, CONFIG, FORMAT_VERSION)
        _Description.model_validate(found)
        config = parse_config(found["config"])
        if found["resolution"] not in {phase.resolution for phase in config.training.phases}:
            raise UserError(f"its resolution {found['resolution']} is none of its configuration's")
        return found
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{storage.uri}/{CONFIG} is damaged ({where}: {first['msg']}); restore it"
        ) from None
    except NotFound:
        raise UserError(
            f"{storage.uri} is not a snapshot: it has no {CONFIG}; give the folder that holds "
            f"{WEIGHTS} and {CONFIG}"
        ) from None


class _Description(BaseModel):
    """What config.json must contain."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    dcvae_version: str
    images: NonNegativeInt
    resolution: PositiveInt
    fade: float = Field(ge=0, le=1)
    config: dict[str, Any]
    dataset: dict[str, str]
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")


class DamagedError(UserError):
    """A snapshot's weights are not those that were saved."""


def load_snapshot(storage: Storage, device: str = "cpu") -> "DCVAE":
    """The model of a snapshot, in evaluation mode on ``device``.

    Raises:
        DamagedError: its weights are not those that were saved.
        UserError: there is no snapshot, or it is of a later format.
    """
    import torch

    from dcvae.models import DCVAE

    description = describe_snapshot(storage)
    weights = storage.read(WEIGHTS)
    digest = hashlib.sha256(weights).hexdigest()
    if digest != description["weights_sha256"]:
        raise DamagedError(
            f"{storage.uri}/{WEIGHTS} is damaged: its sha256 is {digest[:12]}… and "
            f"{description['weights_sha256'][:12]}… was saved; restore it or train again"
        )
    config = parse_config(description["config"])
    try:
        tensors = load(weights)
        with torch.device("meta"):  # a damaged configuration may be of a model of any size
            wanted = {name: t.shape for name, t in DCVAE(config).state_dict().items()}
        if wanted != {name: t.shape for name, t in tensors.items()}:
            raise RuntimeError("they are of another model")
        model = DCVAE(config)
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise DamagedError(
            f"{storage.uri}/{WEIGHTS} does not fit its configuration: {str(error).splitlines()[0]}"
        ) from None
    model.grow_to(int(description["resolution"]), float(description["fade"]))
    return model.to(device).eval()
