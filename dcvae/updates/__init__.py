"""The three updates of a training step (Eqs. 5 and 9): what each minimises, over which weights.

The four methods of Table 1 are combinations of them:

=================  =============  ==========================  ===========
method             discriminator  generator                   contrastive
=================  =============  ==========================  ===========
vae                               pixels + KL
vae_gan            Eq. 4          Eq. 4 + D's features + KL
vae_contrastive                                               Eq. 6 + KL
dcvae              Eq. 4          Eq. 4 + KL                  Eq. 6 + KL
=================  =============  ==========================  ===========

An update is a function of (networks, images, noise) that returns a loss and its terms. It knows
nothing of optimizers, precision or ranks. Every term is a mean per image and all ranks have equal
shares, so the mean of the ranks' gradients is the gradient of the global batch.
"""

from dcvae.updates.contrastive import ContrastiveUpdate
from dcvae.updates.discriminator import DiscriminatorUpdate
from dcvae.updates.generator import GeneratorUpdate
from dcvae.updates.loss import Loss, Noise, Terms, Update
from dcvae.updates.networks import Networks

__all__ = [
    "ContrastiveUpdate",
    "DiscriminatorUpdate",
    "GeneratorUpdate",
    "Loss",
    "Networks",
    "Noise",
    "Terms",
    "Update",
]
