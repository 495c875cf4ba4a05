"""What an executor's shards took since it was last asked."""

from dataclasses import dataclass, field

STAGES = ("decode", "compute", "encode")


@dataclass
class Spent:
    rows: int = 0
    #: Calls of the model.
    batches: int = 0
    stages_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def take(self) -> tuple[int, int, dict[str, float]]:
        """All three, from now on counted anew."""
        taken = self.rows, self.batches, self.stages_ms
        self.rows = self.batches = 0
        self.stages_ms = dict.fromkeys(STAGES, 0.0)
        return taken
