"""Measuring many images takes the memory of features and latents, not of images."""

import os
import subprocess
import sys
from pathlib import Path

FEW, MANY = 1200, 5000  # 3,800 more images are 47 MB as floats, their features 0.2 MB

SCRIPT = """
import sys
from pathlib import Path
import torch
from dcvae.evaluation import distances, read_protocol
from dcvae.evaluation.extractors import Extractor
from dcvae.evaluation.measure import Measurement
from dcvae.evaluation.measured_sets import MeasuredSets
from dcvae.evaluation.real_images import RealImages
from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.storage import open_storage
from tests.painted import Painted, shard

class Corners(torch.nn.Module):
    def forward(self, images):
        return (images[:, :, ::16, ::16].flatten(1).float(),)
    def convert_features_tuple_to_dict(self, features):
        return {"12": features[0]}

torch.set_num_threads(1)
count = int(sys.argv[1])
distances.AT_ONCE = 100
manifest = shard(Painted(count, side=32), sys.argv[2], resolution=32, samples_per_shard=200)
config = configure("smoke")
size = config.model.model_copy(update={"resolution": 32, "channels": 3})
model = DCVAE(config.model_copy(update={"model": size})).eval()
images = RealImages(open_storage(sys.argv[2]), manifest, 32, 64)
asked = read_protocol("paper,reconstructed_split=train,neighbourhoods=500")
asked = asked.changed(samples=count)
tool = Extractor("corners", "", Corners(), "12", None, 32, torch.device("cpu"))
found = Measurement(MeasuredSets(model, images, asked, tool)).run()
assert found.metrics["pixel_distance"].samples == count
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(count), str(tmp_path / str(count))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for count in (FEW, MANY)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    few, many = (int(words) for words in said)

    assert many < few + 45, (few, many)
