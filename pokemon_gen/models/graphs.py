"""Functions that are captured as a CUDA graph and replayed.

A step of a small model is more than a thousand small kernels. Launching them one by one takes a GPU ten
times as long as computing them (`LOG.md`). A CUDA graph launches all of them at once. PyTorch captures one by
running a function once, without computing anything; each replay then repeats the same kernels on the same
memory. (PyTorch, "CUDA semantics: CUDA Graphs"; NVIDIA, "CUDA Graph Best Practice for PyTorch".)

So a function that is captured reads its inputs from tensors that stay where they are, writes its results to
such tensors, and never reads a number back from the GPU.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pokemon_gen.errors import PokemonGenError

_log = logging.getLogger(__name__)
WARM_UP = 3
"""Calls before the capture. They choose algorithms, allocate states and compile, none of which is captured.
PyTorch's notes recommend 3, and 11 only for several GPUs."""


def can_capture(device: torch.device) -> bool:
    """Tell whether functions on this device can be captured: it must be an NVIDIA GPU."""
    return device.type == "cuda" and torch.version.cuda is not None


class Replayed:
    """A function that is run a few times, then captured, and replayed from then on.

    Every call has its own effect, also those before the capture. A function that cannot be captured simply
    runs at each call. Random numbers in it come from a generator of its own, so that two such functions draw
    independently on two streams.
    """

    def __init__(
        self,
        function: Callable[[], None],
        device: torch.device,
        what: str,
        must: bool = False,
        warm_up: int = WARM_UP,
    ) -> None:
        """Prepare for the first call.

        Args:
            function: reads and writes tensors that stay where they are.
            device: an NVIDIA GPU. On any other device the function simply runs.
            what: names the function in messages, such as "training.capture".
            must: raise an error if the function cannot be captured, instead of running it.
            warm_up: the number of calls before the capture.
        """
        self.function, self.device, self.what = function, device, what
        self.must, self.warm_up = must, warm_up
        self.captures = can_capture(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0
        if self.captures:
            self._side = torch.cuda.Stream(device)
            self._random = _default_generator(device).clone_state()

    def __call__(self, seed: int | None = None) -> None:
        """Run or replay the function.

        Args:
            seed: of the random numbers in the function; None continues the random stream.

        Raises:
            PokemonGenError: if the function must be captured and cannot be.
        """
        self._calls += 1
        if self.captures and self.graph is None and self._calls > self.warm_up:
            self._capture()
        if not self.captures:
            if seed is not None:
                torch.manual_seed(seed)
            self.function()
            return
        if seed is not None:
            self._random.manual_seed(seed)
        if self.graph is None:
            self._run()
        else:
            self.graph.replay()

    def _run(self) -> None:
        """Run the function on the stream that captures it, because its tensors belong to this stream."""
        current = torch.cuda.current_stream(self.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side), self._drawing():
            self.function()
        current.wait_stream(self._side)

    def _capture(self) -> None:
        """Capture the function, or give up."""
        graph = torch.cuda.CUDAGraph()
        try:
            with self._drawing(), torch.cuda.graph(graph, stream=self._side):
                self.function()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.captures = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if self.must:
                raise PokemonGenError(f"{self.what}: this model cannot be captured: {reason}") from error
            _log.info("%s: one kernel at a time, since this model cannot be captured: %s", self.what, reason)
            return
        self.graph = graph

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Let random numbers come from the function's own generator, which the capture then registers."""
        default = _default_generator(self.device)
        previous = default.graphsafe_get_state()
        default.graphsafe_set_state(self._random)
        try:
            yield
        finally:
            default.graphsafe_set_state(previous)


def _default_generator(device: torch.device) -> torch.Generator:
    """Return the generator of a GPU that torch draws from by default."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]
