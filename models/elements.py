"""Whether elements surely are legal values: a few passes at C speed, however many there are."""

from models.datatypes import Datatype


def elements_fit(datatype: Datatype, elements: list[object]) -> bool:
    """Whether every element surely is a legal value of `datatype`."""
    kinds = set(map(type, elements))
    if datatype.kind == "bytes":
        return kinds <= {str, bytes}
    if datatype.kind == "bool":
        return kinds == {bool}
    if not kinds <= ({int, float} if datatype.kind == "float" else {int}):
        return False
    return numbers_fit(datatype, elements)  # type: ignore[arg-type]


def numbers_fit(datatype: Datatype, numbers: list[float]) -> bool:
    if not (datatype.low <= min(numbers) and max(numbers) <= datatype.high):
        return False
    if datatype.kind == "int":
        return True
    try:
        # min and max look past a NaN; a sum never does.
        total = sum(numbers)
    except OverflowError:
        return False
    return total == total
