"""Describes one file; the answer goes to a file of its own, since libraries print what they like."""

import importlib
import sys
from pathlib import Path

import msgspec

from errors import PenstockError
from models.describing import Description, Port, Refused
from models.failures import described


def main(form: str, file: Path, answer: Path, told: list[Port]) -> None:
    result: Description | Refused
    try:
        module = importlib.import_module(f"models.describing.{form}_")
        result = module.describe(file, told) if form == "torchscript" else module.describe(file)
    except PenstockError as error:
        result = Refused(error.detail)
    except Exception as error:  # noqa: BLE001 - libraries raise anything for a file that is none of theirs
        result = Refused(described(error))
    answer.write_bytes(msgspec.json.encode({type(result).__name__: result}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), msgspec.json.decode(sys.argv[4], type=list[Port]))
