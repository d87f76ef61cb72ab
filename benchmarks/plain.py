"""The update rule at 32 x 32 as one would first write it: the baseline for our step.

A deliberately plain transcription of the released training step in our own words: three
reconstructions per step, the discriminator's gradient through the reconstructions computed and
discarded, the generator's through the discriminator's weights too, every convolution at its nominal
size, one Adam per part, loops over parameters, and every loss read on the host. Its arithmetic is
exactly the released code's. Weights, buffers, noise and results are those of
:mod:`dcvae.training.step`, as a test makes sure.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.models.autogan import AutoganDualEncoder, Block, Cell
from dcvae.training.randomness import Rows
from dcvae.updates import Networks


def plain_cell(cell: Cell, x: Tensor, skipped: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A cell with its convolutions after the upsampling, as in the paper's figure."""
    side = 2 * x.shape[-1]

    def enlarge(t: Tensor) -> Tensor:
        options = {"align_corners": False} if cell.mode == "bilinear" else {}
        return F.interpolate(t, size=(side, side), mode=cell.mode, **options)

    h = cell.c1(enlarge(F.relu(x)))
    for convolution, skip in zip(cell.skip_in, skipped, strict=True):
        h = h + convolution(enlarge(skip))
    out = cell.c2(F.relu(h))
    if cell.shortcut is not None:
        out = out + cell.shortcut(enlarge(x))
    return h, out


def plain_block(block: Block, x: Tensor) -> Tensor:
    """A residual block with its convolutions before the pooling, as in the paper's figure."""
    h = block.c2(F.relu(block.c1(x if block.first else F.relu(x))))
    if not block.down:
        return x + h
    assert block.shortcut is not None
    if block.first:
        return F.avg_pool2d(h, 2) + block.shortcut(F.avg_pool2d(x, 2))
    return F.avg_pool2d(h + block.shortcut(x), 2)


@dataclass
class PlainStep:
    """The three updates on one process; ``networks`` as built by :class:`Networks`."""

    config: Config
    networks: Networks

    def __post_init__(self) -> None:
        training = self.config.training
        dual = self.dual
        parts = {
            "encoder": [self.networks.autoencoder.encoder],
            "decoder": [self.networks.autoencoder.decoder],
            **dual.parts(),
        }
        self.optimizers = {
            name: torch.optim.Adam(
                [p for m in modules for p in m.parameters()],
                lr=training.learning_rate,
                betas=training.adam_betas,
                eps=training.adam_eps,
                foreach=False,
            )
            for name, modules in parts.items()
        }
        self.losses: dict[str, list[float]] = {}
        """Each term, once for every time the last step computed it."""

    @property
    def dual(self) -> AutoganDualEncoder:
        """D."""
        dual = self.networks.dual_encoder
        assert isinstance(dual, AutoganDualEncoder)
        return dual

    def __call__(self, batches: list[tuple[Tensor, Rows]]) -> None:
        """One step on ``batches``: (images [N, C, 32, 32], their rows) for each update of D."""
        self.losses = {}
        first, *others = batches
        self.discriminator_update(*first)
        self.generator_update(*first)
        self.contrastive_update(*first)
        self.average()
        for images, rows in others:
            self.discriminator_update(images, rows)

    def average(self) -> None:
        """The moving average of encoder and decoder."""
        decay = self.config.training.average_decay
        averaged, live = self.networks.averaged, self.networks.autoencoder
        with torch.no_grad():
            for mean, now in zip(averaged.parameters(), live.parameters(), strict=True):
                mean.mul_(decay).add_(now, alpha=1 - decay)
            for mean, now in zip(averaged.buffers(), live.buffers(), strict=True):
                mean.copy_(now)

    def discriminator_update(self, images: Tensor, rows: Rows) -> None:
        """Hinge loss of D; of the fakes, only the samples are detached."""
        reconstruction, sample, _, _ = self.generate(images, rows, "discriminator", ratio=1)
        real = self.score(images)
        fakes = [self.score(sample.detach()), self.score(reconstruction)]
        loss = F.relu(1 - real).mean()
        for fake in fakes:
            loss = loss + 0.5 * F.relu(1 + fake).mean()
        self.update(loss, "gan_discriminator", ["shared", "score"])

    def generator_update(self, images: Tensor, rows: Rows) -> None:
        """Hinge loss of encoder and decoder; D's weights receive gradients that are not used."""
        ratio = self.config.training.generator_batch_ratio
        reconstruction, sample, mu, logvar = self.generate(images, rows, "generator", ratio)
        loss = -0.5 * self.score(sample).mean() - 0.5 * self.score(reconstruction).mean()
        self.update(loss, "gan_generator", ["encoder", "decoder"], self.kl("kl", mu, logvar))

    def contrastive_update(self, images: Tensor, rows: Rows) -> None:
        """InfoNCE of a third reconstruction."""
        objective, keys = self.config.objective, self.networks.key_encoder
        m = objective.key_momentum
        with torch.no_grad():
            for key, query in zip(keys.parameters(), self.dual.parameters(), strict=True):
                key.mul_(m).add_(query, alpha=1 - m)
            assert isinstance(keys, AutoganDualEncoder)
            positive = self.embed(keys, images)
        reconstruction, _, mu, logvar = self.generate(images, rows, "contrastive", ratio=0)
        kl = self.kl("kl_contrastive", mu, logvar)
        loss = images.new_zeros(())
        found = self.embed(self.dual, reconstruction)
        for name, query in found.items():
            negatives = self.networks.queues[name].valid().clone()  # type: ignore[operator]
            own = (query * positive[name]).sum(1, keepdim=True)
            logits = torch.cat([own, query @ negatives.T], 1) / objective.temperature
            term = F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
            self.note(f"accuracy_{name}", (logits.argmax(1) == 0).double().mean())
            self.note(f"instance_{name}", term)
            loss = loss + term / len(found)
        self.update(loss, "", ["encoder", "decoder", "shared", "embed"], kl)
        for name, rows_of_keys in positive.items():
            self.networks.queues[name].push(rows_of_keys)  # type: ignore[operator]

    def update(self, loss: Tensor, name: str, parts: list[str], kl: Tensor | float = 0.0) -> None:
        """Zero all gradients, differentiate, step the named parts, read the loss."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        (loss + kl).backward()
        for part in parts:
            self.optimizers[part].step()
        if name:
            self.note(name, loss)

    def note(self, name: str, value: Tensor) -> None:
        """Read and keep a term."""
        self.losses.setdefault(name, []).append(value.item())

    def kl(self, name: str, mu: Tensor, logvar: Tensor) -> Tensor:
        """The weighted KL."""
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        self.note(name, kl)
        return self.config.objective.kl_weight * kl

    def generate(
        self, images: Tensor, rows: Rows, update: str, ratio: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(reconstructions, samples, μ, log σ²)."""
        d = self.config.model.latent_dim
        encoder = self.networks.autoencoder.encoder
        features = self.trunk(encoder.trunk, images)[1]
        mu, logvar = encoder.moments(F.relu(features).sum((2, 3))).chunk(2, 1)
        noise = rows.normal(f"{update}/posterior", d).to(images)
        sample = images.new_zeros(0)
        if ratio:
            sample = self.decode(rows.normal(f"{update}/prior", d, ratio).to(images))
        return self.decode(mu + (0.5 * logvar).exp() * noise), sample, mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """AutoGAN's generator."""
        decoder = self.networks.autoencoder.decoder
        x = decoder.dense(z).view(len(z), -1, 4, 4)
        skip1, x = plain_cell(decoder.cell1, x, [])
        skip2, x = plain_cell(decoder.cell2, x, [skip1])
        _, x = plain_cell(decoder.cell3, x, [skip1, skip2])
        return torch.tanh(decoder.to_rgb(F.relu(decoder.norm(x))))

    def trunk(self, trunk: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """(after block 1, after block 4)."""
        low = plain_block(trunk.block1, images)
        x = plain_block(trunk.block2, low)
        return low, plain_block(trunk.block4, plain_block(trunk.block3, x))

    def score(self, images: Tensor) -> Tensor:
        """D's real/fake head."""
        x = self.dual.dense(F.relu(self.trunk(self.dual.trunk, images)[1]).sum((2, 3)))
        return self.dual.score_head(x)[:, 0]

    def embed(self, dual: AutoganDualEncoder, images: Tensor) -> dict[str, Tensor]:
        """D's contrastive heads."""
        low, high = self.trunk(dual.trunk, images)
        low = dual.low_embedding(dual.low_map(low).flatten(1))
        high = dual.dense(F.relu(high).sum((2, 3)))
        return {"low": F.normalize(low, dim=1), "high": F.normalize(high, dim=1)}
