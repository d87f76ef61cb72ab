"""The tar writer gives exactly what Python's tarfile would."""

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from dcvae.shards.tar import ShardWriter, find_members

samples = st.lists(st.tuples(st.binary(max_size=1500), st.none() | st.integers(0, 99999)))


@given(samples, st.sampled_from(["npy", "jpg", "png"]))
def test_tars_are_those_of_tarfile(samples: list[tuple[bytes, int | None]], encoding: str) -> None:
    buffer, writer = io.BytesIO(), ShardWriter()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (body, label) in enumerate(samples):
            writer.add(f"{number:09d}", encoding, body, label)
            members = {encoding: body} | ({} if label is None else {"cls": str(label).encode()})
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert writer.finish() == buffer.getvalue()


@given(st.lists(st.binary(max_size=1500)), st.booleans())
def test_the_walker_finds_every_member(bodies: list[bytes], labelled: bool) -> None:
    writer = ShardWriter()
    for number, body in enumerate(bodies):
        writer.add(f"{number:09d}", "jpg", body, number if labelled else None)
    tar = writer.finish()
    members = find_members(tar, "jpg")
    spans = zip(members.starts.tolist(), members.sizes.tolist(), strict=True)
    assert [tar[start : start + size] for start, size in spans] == bodies
    expected = list(range(len(bodies))) if labelled and bodies else None
    assert (None if members.labels is None else members.labels.tolist()) == expected
