"""Protocols: everything besides model and data that determines a measured number, under a name.

``paper``     50,000 samples against the training set, reconstructions of test images from a sampled
              z against the same images: how the paper's Tables 1 to 4 were made
``held-out``  everything against the test split, as many samples as it has images, reconstructions
              from the mean of q(z|x): for data sets of any size

One line of text names a protocol, on the command line and in a pipeline's form: its name, and
changes to it, as in ``paper,samples=10000,extractor=inception-v3``.
"""

import hashlib
import json
from difflib import get_close_matches
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.presets import default_protocol

Extractor = Literal["efficientnet-lite0", "inception-v3"]
Perceptual = Literal["vgg16", "vgg16-hed"]
Count = Annotated[int, Field(ge=1, le=10_000_000)]

RESIZE: dict[str, str] = {
    "efficientnet-lite0": "bilinear, antialiased: to 64 px up to 64 px, else to 224 px",
    "inception-v3": "bilinear as in TensorFlow 1, to 299 px",
}
RELEASED_CLAMP = 1.0
"""The released code, which has only the 32 x 32 networks, samples z within ±1."""


class Protocol(BaseModel):
    """A named way of measuring. Two numbers can be compared if their protocols are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["paper", "held-out"]
    version: Literal[1] = 1
    """Increases when the same fields come to mean different arithmetic."""
    reference_split: str = Field(min_length=1)
    """Split of the real images that sets are compared with."""
    reference_images: Annotated[int, Field(ge=2)] | None
    """How many of them, chosen at random; null: all."""
    reconstructed_split: str = Field(min_length=1)
    """Split of the real images that are reconstructed."""
    reconstructions: Count
    """How many of them at most, chosen at random."""
    samples: Annotated[int, Field(ge=2, le=10_000_000)] | None
    """Images decoded from the prior; null: as many as there are reference images."""
    latent_clamp: Annotated[float, Field(gt=0)] | None
    """Latents from the prior are clamped to ± this before decoding; null: not clamped."""
    latent: Literal["sampled", "mean"]
    """What is decoded for a reconstruction: a sample of q(z|x), or its mean."""
    extractor: Extractor = "efficientnet-lite0"
    resize: str = RESIZE["efficientnet-lite0"]
    """How images are resized for the extractor; follows from the extractor."""
    perceptual: Perceptual | None = None
    """The network of the perceptual distance and the path length; null: not measured."""
    neighbourhoods: Count = 10_000
    """Most images of each set that kernel distance, precision and recall use."""
    score_splits: Count = 10
    """Parts of a set whose Inception scores are averaged."""
    probe_trials: Annotated[int, Field(ge=2, le=100)] = 5
    probe_images: Count = 60_000
    """Most training images whose latents the probe learns from."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the choice of images, of latents, and of the probe's trials."""
    covariance: Literal["divided by N - 1"] = "divided by N - 1"

    @model_validator(mode="after")
    def _resized_by_its_extractor(self) -> Self:
        if self.resize != RESIZE[self.extractor]:
            raise ValueError(f"{self.extractor} has another resize than {self.resize!r}")
        return self

    @property
    def changes(self) -> dict[str, object]:
        """The fields that differ from the named protocol, with their values."""
        plain = NAMED[self.name]
        names = [f for f in type(self).model_fields if f not in ("resize", "latent_clamp")]
        found = {f: getattr(self, f) for f in names if getattr(self, f) != getattr(plain, f)}
        if self.latent_clamp not in _CLAMPS[self.name]:
            found["latent_clamp"] = self.latent_clamp
        return found

    @property
    def label(self) -> str:
        """For people: ``paper v1``, ``held-out v1, samples=100``."""
        changes = [f"{name}={_text(value)}" for name, value in self.changes.items()]
        return ", ".join([f"{self.name} v{self.version}", *changes])

    @property
    def slug(self) -> str:
        """For URIs: name, version, and eight digits of the digest."""
        return f"{self.name}-v{self.version}-{self.digest()[:8]}"

    def digest(self) -> str:
        """Hex SHA-256 of all fields."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def differences(self, other: "Protocol") -> list[str]:
        """Names of the fields in which two protocols differ."""
        return [f for f in type(self).model_fields if getattr(self, f) != getattr(other, f)]

    def changed(self, **changes: object) -> "Protocol":
        """This protocol with other values of some fields.

        Raises:
            UserError: there is no such field, or it cannot have that value.
        """
        unknown = [name for name in changes if name not in CHANGEABLE]
        if unknown:
            close = get_close_matches(unknown[0], CHANGEABLE, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(
                f"a protocol has no {unknown[0]!r}{hint}; it has {', '.join(CHANGEABLE)}"
            )
        given = dict(changes)
        if "extractor" in given:
            given["resize"] = RESIZE.get(str(given["extractor"]), "")
        try:
            return Protocol.model_validate({**self.model_dump(), **given})
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else "resize"
            message = first["msg"][0].lower() + first["msg"][1:]
            raise UserError(
                f"the protocol's {field} cannot be {given.get(field)!r}: {message}"
            ) from None


NAMED: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="paper",
            reference_split="train",
            reference_images=None,
            reconstructed_split="test",
            reconstructions=50_000,
            samples=50_000,
            latent_clamp=None,
            latent="sampled",
        ),
        Protocol(
            name="held-out",
            reference_split="test",
            reference_images=50_000,
            reconstructed_split="test",
            reconstructions=50_000,
            samples=None,
            latent_clamp=None,
            latent="mean",
        ),
    )
}
_CLAMPS: dict[str, tuple[float | None, ...]] = {
    "paper": (None, RELEASED_CLAMP),
    "held-out": (None,),
}
CHANGEABLE = tuple(
    field
    for field in Protocol.model_fields
    if field not in ("name", "version", "resize", "covariance")
)
"""The fields that may be changed."""


def read_protocol(text: str, config: Config | None = None, weights: str | None = None) -> Protocol:
    """The protocol that ``text`` names, for a model of this configuration.

    Args:
        text: ``NAME[,FIELD=VALUE…]``; without a name, the preset's default.
        config: of the model. For the 32 x 32 networks, ``paper`` samples z within ±1, like the
            released code. Without it, only the text is checked.
        weights: path or URI of Inception's weights; if given, the extractor is inception-v3 unless
            the text says otherwise.

    Raises:
        UserError: there is no such protocol or field, or an impossible value.
    """
    first, *rest = [part.strip() for part in text.split(",")]
    if "=" in first:
        first, rest = "", [first, *rest]
    name = first or default_protocol(config.preset if config else "")
    if name not in NAMED:
        raise UserError(f"there is no protocol {name!r}; there are: {', '.join(NAMED)}")
    protocol = NAMED[name]
    if name == "paper" and config and config.model.backbone == "autogan":
        protocol = protocol.changed(latent_clamp=RELEASED_CLAMP)
    if weights:
        protocol = protocol.changed(extractor="inception-v3")
    changes: dict[str, object] = {}
    for part in rest:
        field, separator, value = part.partition("=")
        if not separator:
            raise UserError(
                f"{part!r} in the protocol {text!r} is not of the form FIELD=VALUE; a protocol is "
                "written like paper,samples=10000"
            )
        changes[field.strip()] = _value(value.strip())
    return protocol.changed(**changes)


def _value(text: str) -> object:
    if text.lower() in ("none", "null", "all"):
        return None
    return text  # numbers are parsed by their field


def _text(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
