"""What travels to the device arrives whole, in order, and where it was before."""

import torch

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.presets import configure
from dcvae.training import device
from dcvae.training.transfer import Arrivals, Packet

CPU = torch.device("cpu")


def test_a_packet_arrives_at_the_same_place_from_buffers_that_take_turns() -> None:
    packet = Packet(CPU)
    packet.direct = False  # as for a device that is not the host
    places, hosts = [], []
    for step in range(4):
        sent = [torch.full((3, 5), float(step)), torch.arange(200.0) + step]
        found = packet.send(sent)
        assert all(torch.equal(a, b) for a, b in zip(found, sent, strict=True))
        places.append([tensor.data_ptr() for tensor in found])
        hosts.append(packet.hosts[packet.turn].data_ptr())
        assert all(place % 512 == places[0][0] % 512 for place in places[-1])
    assert all(place == places[0] for place in places)
    assert hosts[0] == hosts[2] != hosts[1] == hosts[3]
    longer = packet.send([torch.ones(1000)])
    assert torch.equal(longer[0], torch.ones(1000))


def test_batches_arrive_in_order_however_far_ahead_they_are_read() -> None:
    arrivals = Arrivals(iter(range(100)), lambda n: [torch.tensor(n)], CPU)
    arrivals.fetch(3)
    assert [(n, int(t)) for n, (t,) in arrivals.take(2)] == [(0, 0), (1, 1)]
    assert [n for n, _ in arrivals.take(4)] == [2, 3, 4, 5]


def refusal(config: Config) -> str:
    try:
        device.prepare(CPU, config)
    except UserError as error:
        return str(error)
    return ""


def test_a_precision_means_the_same_for_convolutions_and_products() -> None:
    assert "needs an NVIDIA GPU" in refusal(configure("smoke", ["training.precision=tf32"]))
    try:
        for mode in ("tf32", "ieee"):
            device.multiply_in(mode)
            assert torch.backends.cuda.matmul.allow_tf32 == (mode == "tf32")
            with (
                torch.backends.cudnn.flags()
            ):  # torch.export does so; it refuses names of two kinds
                pass
            assert torch.backends.cudnn.allow_tf32 == (mode == "tf32")
    finally:
        device.multiply_in("ieee")
    assert refusal(configure("smoke")) == ""
