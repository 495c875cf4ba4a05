"""One shard of a scoring: which rows it has, what of it is out, what came of it."""

import msgspec

#: Numbers in names of objects and jobs, so that names sort by them.
DIGITS = 8


class Shard(msgspec.Struct, frozen=True, omit_defaults=True):
    """As its scoring's record and its index hold it, JSON."""

    number: int
    #: Its first row and one past its last, counted over the whole input; in between there may be rows of no concern.
    start: int
    end: int
    #: Rows in its rows file, and the file's key.
    rows: int
    rows_key: str = ""
    #: Rows that could not be read, and the key of the file that has their failures.
    unread: int = 0
    unread_key: str = ""
    #: Jobs that are out: "" the first, "b" its twin. None, and not done: it waits for room in the window.
    out: tuple[str, ...] = ()
    #: There was a twin.
    twin: bool = False
    #: How often it ran as a whole and lost its worker.
    losses: int = 0
    #: It is part of a shard that failed.
    half: bool = False
    done: bool = False
    #: Rows that failed, unread ones included.
    failed: int = 0
    output_key: str = ""
    failures_key: str = ""

    @property
    def asked(self) -> int:
        """Rows that it is to give an outcome to."""
        return self.rows + self.unread

    def encode(self) -> bytes:
        return _encode(self)


class Result(msgspec.Struct, frozen=True):
    """What an executor says of a shard that it ran: the outputs of its job."""

    rows: int
    failed: int
    #: Keys; `failures` is empty where no row failed. `rows`: those that did not.
    output: str
    failures: str = ""
    bytes: int = 0
    compute_ms: float = 0.0
    #: What it took the executor: rows read, computed and made outputs, not what the object store took.
    spent_ms: float = 0.0


_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Shard).decode
decode_result = msgspec.json.Decoder(Result).decode


def job_id(scoring: str, number: int, suffix: str = "") -> str:
    return f"{scoring}-{number:0{DIGITS}}{suffix}"


def number_of(id: str) -> tuple[int, str]:
    """A shard job's number and suffix."""
    number = id.rpartition("-")[2]
    return (int(number[:-1]), "b") if number.endswith("b") else (int(number), "")


class Places:
    """Keys of a scoring's objects.

    A driver that lost its lease in the middle of a write must not write over its successor's files: what is not noted
    yet has the driver's epoch in its name, or a name that tells its content.
    """

    def __init__(self, tenant: str, scoring: str, *, round: int = 1, epoch: int = 0) -> None:
        self.all = f"{tenant}/scorings/{scoring}/"
        self.rows = self.all + "in/"
        self.outputs = self.all + "out/"
        self.indexes = self.all + "index/"
        self.errors = self.all + "errors.jsonl"
        #: What the rows files of this round begin with.
        self.rows_now = f"{self.rows}{round:04}-"
        self._epoch = epoch

    def output(self, format: str) -> str:
        return f"{self.all}output.{format}"

    def half_of(self, number: int) -> str:
        """The rows of a part of a shard."""
        return f"{self.rows_now}half-{number:0{DIGITS}}-{self._epoch}.arrow"

    def cut_of(self, start: int, end: int) -> str:
        """The rows of a shard as it was cut: its first, and one past its last."""
        return f"{self.rows_now}{start:012}-{end:012}.arrow"

    def output_of(self, number: int, suffix: str) -> str:
        """What a worker's keys for the outputs begin with."""
        return f"{self.outputs}{number:0{DIGITS}}{suffix}"

    def unread_of(self, number: int) -> str:
        return f"{self.outputs}{number:0{DIGITS}}-{self._epoch}-unread.jsonl"

    def index(self, round: int, part: int) -> str:
        return f"{self.indexes}{round:04}-{part:06}.json"
