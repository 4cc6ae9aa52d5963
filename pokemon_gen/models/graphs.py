"""Functions that are captured as a CUDA graph and replayed.

A step of a small model is many small kernels. On an H100, launching them one by one takes about ten times as
long as a graph of them (`LOG.md`). A CUDA graph launches all of them at once. PyTorch captures one by
running a function once, without computing anything; each replay then repeats the same kernels on the same
memory. (PyTorch, "CUDA semantics: CUDA Graphs"; NVIDIA, "CUDA Graph Best Practice for PyTorch".)

So a function that is captured reads its inputs from tensors that stay where they are, writes its results to
such tensors, and never reads a number back from the GPU.
"""

import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from pokemon_gen.errors import PokemonGenError, first_line

_log = logging.getLogger(__name__)
WARM_UP = 3
"""Calls before the capture. They choose algorithms, allocate states and compile, none of which is captured.
PyTorch's notes recommend 3, and 11 only for several GPUs."""
_WAITS = "called a synchronizing CUDA operation"
"""What torch warns of where the CPU waits for the GPU, if it is asked to."""


def can_capture(device: torch.device) -> bool:
    """Tell whether functions on this device can be captured: it must be an NVIDIA GPU."""
    return device.type == "cuda" and torch.version.cuda is not None


@functools.cache
def shared_stream(device: torch.device) -> torch.cuda.Stream:
    """Return a stream of a GPU to capture on, for functions that are never replayed at the same time."""
    return torch.cuda.Stream(device)


class Replayed:
    """A function that is run a few times, then captured, and replayed from then on.

    Every call has its own effect, also those before the capture. A function that cannot be captured simply
    runs at each call. Random numbers in it come from a generator of its own, so that two such functions draw
    independently on two streams.

    Attributes:
        graph: once the function is captured.
        why_not: why it is not captured; None as long as it may be.
    """

    def __init__(
        self,
        function: Callable[[], None],
        device: torch.device,
        what: str,
        must: bool = False,
        warm_up: int = WARM_UP,
        stream: torch.cuda.Stream | None = None,
    ) -> None:
        """Prepare for the first call.

        Args:
            function: reads and writes tensors that stay where they are.
            device: an NVIDIA GPU. On any other device the function simply runs.
            what: names the function in messages, such as "training.capture".
            must: raise an error if the function cannot be captured, instead of running it.
            warm_up: the number of calls before the capture, at least one.
            stream: to capture on; None makes one. Functions that share it are not replayed at the same time,
                since they share the working memory of cuBLAS too.
        """
        self.function, self.device, self.what = function, device, what
        self.must, self.warm_up = must, warm_up
        self.graph: torch.cuda.CUDAGraph | None = None
        self.why_not: str | None = None if can_capture(device) else "there is no NVIDIA GPU here"
        self._calls = 0
        if self.why_not is None:
            self._side = stream or torch.cuda.Stream(device)
            self._random = _default_generator(device).clone_state()

    def __call__(self, seed: int | None = None) -> None:
        """Run or replay the function.

        Args:
            seed: of the random numbers in the function; None continues the random stream.

        Raises:
            PokemonGenError: if the function must be captured and cannot be.
        """
        self._calls += 1
        if self.why_not is None and self.graph is None and self._calls > self.warm_up:
            self._capture()
        if self.why_not is not None:
            if seed is not None:
                torch.manual_seed(seed)
            self.function()
            return
        if seed is not None:
            self._random.manual_seed(seed)
        if self.graph is not None:
            self.graph.replay()
        elif self._calls == self.warm_up:
            self._run_watched()
        else:
            self._run()

    def _run(self) -> None:
        """Run the function on the stream that captures it, because its tensors belong to this stream."""
        current = torch.cuda.current_stream(self.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side), self._drawing():
            self.function()
        current.wait_stream(self._side)

    def _run_watched(self) -> None:
        """Run the function, and give up capturing it if it waits for the GPU: a failed capture costs more."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")  # it warns that it does not see all that waits
            try:
                self._run()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        if any(_WAITS in str(warning.message) for warning in caught):
            self._give_up("it reads a number back from the GPU")

    def _capture(self) -> None:
        """Capture the function, or give up.

        In the mode `thread_local`, other threads, such as one that pins batches, may call CUDA meanwhile.
        """
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.stream(self._side), self._drawing():
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    self.function()
                finally:
                    graph.capture_end()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._failed = graph  # torch's allocator may still refer to it
            _end_allocations(self.device, pool)
            self._give_up(first_line(_first_error(error)), error)
        else:
            self.graph = graph

    def _give_up(self, reason: str, error: Exception | None = None) -> None:
        """Let the function run at each call from now on, or raise an error if it must be captured."""
        self.why_not = reason
        if self.must:
            raise PokemonGenError(
                f"{self.what}: this model cannot be captured: {reason}. Set it to auto."
            ) from error
        _log.info("%s: launched kernel by kernel, since this model cannot be captured: %s", self.what, reason)

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
    return torch.cuda.default_generators[_index(device)]


def _index(device: torch.device) -> int:
    """Return the number of a GPU; without one, of the current GPU."""
    return torch.cuda.current_device() if device.index is None else device.index


def _end_allocations(device: torch.device, pool: tuple[int, int]) -> None:
    """End the allocations of a capture that failed, which torch leaves open before its release of May 2026.

    As long as they are open, torch does not release memory that it keeps.
    """
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        with suppress(AttributeError, RuntimeError, TypeError):  # private; they refuse what has ended
            getattr(torch._C, name)(_index(device), pool)


def _first_error(error: BaseException) -> BaseException:
    """Return the error that came first: CUDA reports others in consequence of it."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error
