"""The model that users hold: every form of image, the same latents."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dcvae
from dcvae import latent
from dcvae.errors import UserError
from dcvae.inference import Model
from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.sharding.decoding import decode, to_square
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage

COLOUR = ["model.channels=3"]
AUTOGAN = [
    "model.backbone=autogan",
    "model.resolution=32",
    "model.channels=3",
    "model.decoder_width=8",
    "model.encoder_width=8",
    'training.phases=[{"resolution":32,"images":64,"batch_size":16}]',
]


def model(settings: list[str] | None = None) -> Model:
    torch.manual_seed(0)
    return Model(DCVAE(configure("smoke", COLOUR if settings is None else settings)))


def picture(side: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    shape = (side, side) if mode == "L" else (side, side, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_every_form_of_an_image_has_the_same_latent() -> None:
    loaded, image = model(), picture(8)
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    forms = [
        image,
        [image],
        array,
        array[None],
        tensor,
        tensor[None],
        tensor.float() / 127.5 - 1,
        (tensor.float() / 127.5 - 1).numpy()[None],
        (array,),
    ]
    mu, logvar = loaded.encode(image)
    assert mu.shape == logvar.shape == (1, loaded.latent_dim)
    assert not mu.requires_grad
    expected, _ = loaded.network.encode(tensor[None].float() / 127.5 - 1)
    assert torch.equal(mu, expected)
    for form in forms:
        assert torch.equal(loaded.encode(form).mu, mu)
    both = loaded.encode([image, picture(8, seed=1)]).mu
    assert torch.allclose(loaded.encode(np.stack([array, array])).mu[1], mu[0], atol=1e-6)
    assert torch.allclose(both[0], mu[0], atol=1e-6)


def test_a_photograph_is_cut_and_resized_as_a_shard_set_is(tmp_path: Path) -> None:
    loaded, photograph = model(), picture(50).resize((50, 40))
    photograph.save(tmp_path / "photograph.png")
    pixels = to_square(decode((tmp_path / "photograph.png").read_bytes(), 8), 8, 3)
    stored = torch.tensor(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    with Image.open(tmp_path / "photograph.png") as opened:
        assert torch.equal(loaded.images(opened), stored)
    assert loaded.images([photograph, picture(8, "RGBA"), picture(9, "L")]).shape == (3, 3, 8, 8)


def test_grey_models_take_grey_and_colour() -> None:
    loaded = model([])
    assert loaded.channels == 1
    for mode in ("L", "RGB", "RGBA"):
        assert loaded.images(picture(8, mode)).shape == (1, 1, 8, 8)
    assert loaded.images(np.zeros((5, 8, 8), np.uint8)).shape == (5, 1, 8, 8)
    assert dcvae.to_array(loaded.sample(2, seed=0)).shape == (2, 8, 8)
    assert dcvae.to_pil(loaded.sample(2, seed=0))[0].mode == "L"


def test_pictures_go_out_as_they_came_in() -> None:
    images = model().images([picture(8), picture(8, seed=1)])
    assert np.array_equal(dcvae.to_array(images)[1], np.asarray(picture(8, seed=1)))
    assert np.array_equal(np.asarray(dcvae.to_pil(images)[0]), np.asarray(picture(8)))


def test_decode_reconstruct_and_sample() -> None:
    loaded = model()
    z = torch.randn(4, loaded.latent_dim, generator=torch.Generator().manual_seed(7))
    images = loaded.decode(z)
    assert images.shape == (4, 3, 8, 8)
    assert images.abs().max() <= 1
    assert torch.equal(loaded.sample(4, seed=7), images)
    assert torch.equal(loaded.sample(4, torch.Generator().manual_seed(7)), images)
    assert torch.equal(loaded.decode(z.numpy()), images)
    assert torch.allclose(loaded.decode(z[0].numpy()), images[:1], atol=1e-5)
    mu, logvar = loaded.encode(picture(8))
    assert torch.equal(loaded.reconstruct(picture(8)), loaded.decode(mu))
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(3))
    drawn = loaded.reconstruct(picture(8), torch.Generator().manual_seed(3))
    assert torch.equal(drawn, loaded.decode(mu + (0.5 * logvar).exp() * noise))
    walk = latent.interpolate(loaded, [picture(8)], [picture(8, seed=1)], 3)
    assert walk.shape == (1, 3, 3, 8, 8)


@pytest.mark.parametrize("settings", [COLOUR, AUTOGAN], ids=["progan", "autogan"])
def test_other_precisions_come_near(settings: list[str]) -> None:
    exact = model(settings).sample(8, seed=0)
    for dtype, near in ((torch.bfloat16, 0.08), (torch.float64, 1e-5)):
        other = model(settings).to(dtype=dtype)
        assert other.dtype == dtype
        images = other.sample(8, seed=0)
        assert images.dtype == other.encode(images).mu.dtype == dtype
        assert (images.float() - exact).abs().max() < near
        assert len(dcvae.to_pil(images)) == 8


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(1, 3, 16, 16), r"have shape \[N, 3, 8, 8\] or \[3, 8, 8\], not \[1, 3, 16"),
        (torch.full((1, 3, 8, 8), 255.0), "are in .-1, 1., and these reach 255; give uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "these reach nan"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "float in .-1, 1. or uint8, not torch.int64"),
        (np.zeros((1, 3, 8, 8), np.int32), "arrays of images are uint8 or float, not int32"),
        (np.zeros((2, 2, 8, 8, 3), np.uint8), r"or \[N, H, W, C\] with 1, 3 or 4 channels, not"),
        ([], "there is no image: give at least one"),
        ("four.png", "are tensors, arrays or PIL images, or a list of them, not str"),
        (Image.new("F", (8, 8)), "an image cannot be used: pixels of mode F"),
        (Image.new("RGB", (8, 1)), "an image cannot be used: 8x1 pixels are too few for 8"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(images: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        model().encode(images)  # type: ignore[arg-type]


def test_other_mistakes_are_sentences_too() -> None:
    loaded = model()
    with pytest.raises(UserError, match=r"latents have shape \[N, 8\] or \[8\], not \[2, 3\]"):
        loaded.decode(torch.zeros(2, 3))
    with pytest.raises(UserError, match="ask for 1 or more"):
        loaded.sample(0)
    with pytest.raises(UserError, match="a seed or a generator, not both"):
        loaded.sample(1, torch.Generator(), seed=1)
    with pytest.raises(UserError, match=r"floating point dtype, not torch.int8"):
        loaded.to(dtype=torch.int8)
    with pytest.raises(UserError, match="the device nowhere cannot be used"):
        loaded.to("nowhere")


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"device cuda:99 cannot be used .*; see dcvae doctor, or"):
        model().to("cuda:99")


def test_load_takes_a_snapshot_with_device_and_dtype(tmp_path: Path) -> None:
    dataset = {"uri": "x", "name": "x", "fingerprint": "0" * 64}
    made = model()
    save_snapshot(open_storage(str(tmp_path)), made.network, images=0, dataset=dataset)
    loaded = dcvae.load(str(tmp_path))
    assert torch.equal(loaded.sample(2, seed=1), made.sample(2, seed=1))
    assert repr(loaded) == "Model(smoke: 8x8x3, 8 latent dimensions, torch.float32 on cpu)"
    assert dcvae.load(str(tmp_path), torch.device("cpu"), torch.bfloat16).dtype == torch.bfloat16
