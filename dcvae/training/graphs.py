"""CUDA graphs: an update whose shapes no longer change is recorded once and then launched whole.

An update of small networks takes some four hundred kernels, which a GPU runs faster than the host
can launch them. A graph launches them as one. It replays kernels on fixed addresses: inputs are
copied to where the recording read them, outputs are copied from where it wrote them, and every
decision that the host made while recording is repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dcvae.messages import Notice, emit

WARM_UP = 3
"""How often an update runs without a graph first: libraries choose their kernels, and Adam creates
its moments."""

Work = Callable[[list[Tensor]], dict[str, Tensor]]
Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function launches without running it; returns a function that launches it."""


@dataclass
class Recording:
    """An update of certain shapes: how often it has run, then its graph."""

    key: tuple[object, ...]
    seen: int = 0
    inputs: list[Tensor] | None = None
    outputs: dict[str, Tensor] | None = None
    replay: Callable[[], None] | None = None


class Graphs:
    """Runs work directly, or as a graph once it has run ``WARM_UP`` times.

    Without a ``recorder`` everything runs directly. If a recording fails, that is reported once and
    everything runs directly from then on: slower, with the same numbers.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self.recorder = recorder
        self.recordings: dict[str, Recording] = {}

    def run(
        self, name: str, key: tuple[object, ...] | None, inputs: list[Tensor], work: Work
    ) -> dict[str, Tensor]:
        """What ``work(inputs)`` returns.

        ``key`` stands for every decision of the host that may differ between calls of ``name``: a
        new key is recorded anew and replaces the old recording; None is never recorded.
        """
        if self.recorder is None or key is None:
            return work(inputs)
        recording = self.recordings.get(name)
        if recording is None or recording.key != key:
            recording = self.recordings[name] = Recording(key)
        if recording.replay is None:
            recording.seen += 1
            if recording.seen <= WARM_UP or not self._record(recording, inputs, work):
                return work(inputs)
        assert recording.replay is not None
        assert recording.inputs is not None
        assert recording.outputs is not None
        torch._foreach_copy_(recording.inputs, inputs)
        recording.replay()
        return {name: output.clone() for name, output in recording.outputs.items()}

    def _record(self, recording: Recording, inputs: list[Tensor], work: Work) -> bool:
        assert self.recorder is not None
        recording.inputs = [given.clone() for given in inputs]

        def made() -> None:
            assert recording.inputs is not None
            recording.outputs = work(recording.inputs)

        try:
            recording.replay = self.recorder(made)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            emit(Notice(f"updates are launched kernel by kernel: no CUDA graph of them ({reason})"))
            self.recorder, self.recordings = None, {}
            return False
        return True


class CudaRecorder:
    """Records into graphs that share one pool of memory; their outputs are read between replays."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """As :data:`Recorder`."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # The threads that fetch images may use the device meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            work()
        return graph.replay
