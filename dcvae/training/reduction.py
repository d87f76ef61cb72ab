"""Averages gradients over ranks while the backward pass is still running."""

import deepspeed.comm
import torch
from torch import Tensor, nn

from dcvae.training import ranks

Parameters = list[nn.Parameter]


class Reduction:
    """Averages gradients in ``buckets`` of parameters, each as one flat message.

    A bucket is sent as soon as its last gradient is ready. All ranks compute the same gradients in
    the same order, so they send the same messages in the same order.
    """

    def __init__(self, buckets: list[Parameters]) -> None:
        self.buckets = buckets
        self.place = {p: index for index, bucket in enumerate(buckets) for p in bucket}
        self.missing: dict[int, set[nn.Parameter]] = {}
        """Gradients still awaited; empty outside the last backward pass of a step."""
        self.sent: list[tuple[Parameters, Tensor, torch.distributed.Work | None]] = []
        if ranks.world_size() > 1:
            for parameter in self.place:
                parameter.register_post_accumulate_grad_hook(self._made)  # type: ignore[no-untyped-call]

    def expect(self, parameters: Parameters) -> None:
        """Announce that the next backward pass is the last before :meth:`finish`, for these."""
        if ranks.world_size() == 1:
            return
        for parameter in parameters:
            self.missing.setdefault(self.place[parameter], set()).add(parameter)

    def finish(self) -> None:
        """Wait until every gradient is the mean over ranks."""
        for index in sorted(self.missing):
            self._send(index)
        self.missing.clear()
        for bucket, flat, work in self.sent:
            if work is not None:
                work.wait()
            flat /= ranks.world_size()
            gradients = [p.grad for p in bucket if p.grad is not None]
            pieces = torch.split(flat, [g.numel() for g in gradients])
            torch._foreach_copy_(
                gradients, [piece.view(g.shape) for piece, g in zip(pieces, gradients, strict=True)]
            )
        self.sent.clear()

    def _made(self, parameter: Tensor) -> None:
        assert isinstance(parameter, nn.Parameter)
        index = self.place[parameter]
        waiting = self.missing.get(index)
        if waiting is None:
            return
        waiting.discard(parameter)
        if not waiting:
            del self.missing[index]
            self._send(index)

    @torch.no_grad()
    def _send(self, index: int) -> None:
        bucket = [p for p in self.buckets[index] if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in bucket if p.grad is not None])
        # DeepSpeed's, whose communication log can only time operations that are waited for.
        at_once = deepspeed.comm.comm.comms_logger.enabled
        work = deepspeed.comm.all_reduce(flat, async_op=not at_once)
        self.sent.append((bucket, flat, work))
