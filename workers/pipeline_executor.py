"""A pipeline's own process, seen from the worker: many jobs under way at once, and either side may speak."""

import threading

from errors import LoadError
from workers import stepwire, wire
from workers.executor import LOAD_TIMEOUT_S, Executor, ExecutorDied


class PipelineExecutor(Executor):
    """`tell` from any thread, `hear` from one."""

    program = "workers.pipeline_process"

    def __init__(self, spec: wire.Spec) -> None:
        self._telling = threading.Lock()
        super().__init__(spec, threads=1)

    def load(self) -> wire.Ready:
        """Wait until the pipeline is loaded; raises LoadError with the reason."""
        try:
            if not self._pipe.poll(LOAD_TIMEOUT_S):
                self.kill()
                raise LoadError(f"the pipeline was not ready after {LOAD_TIMEOUT_S:.0f} s")
            reply = self.hear()
        except ExecutorDied as error:
            raise LoadError(f"the process that loaded the pipeline ended with {error}") from error
        if isinstance(reply, wire.LoadFailed):
            raise LoadError(reply.reason)
        if not isinstance(reply, wire.Ready):
            raise LoadError(f"the pipeline's process answered {type(reply).__name__} instead of being ready")
        return reply

    def tell(self, message: stepwire.Down) -> None:
        """Raises ExecutorDied."""
        try:
            with self._telling:
                stepwire.send(self._pipe, message)
        except OSError as error:
            raise ExecutorDied("the pipeline's process has gone") from error

    def hear(self) -> stepwire.Up:
        """Wait for a word; raises ExecutorDied when there will be none."""
        try:
            return stepwire.receive_up(self._pipe)
        except (EOFError, OSError) as error:
            with self._telling:
                raise ExecutorDied(self._end()) from error

    def interrupt(self) -> None:
        """End the process whatever it does; whoever hears it learns of that."""
        self._process.kill()
