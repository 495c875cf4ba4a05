"""Which keys an object may have: `/`-separated names that mean the same in a folder and in S3."""

import unicodedata

from errors import InvalidInput

#: S3 allows 1024 bytes a key; a file name has at most 255 on the file systems that matter.
MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255


def check_key(key: str) -> None:
    """Raises InvalidInput for a key that could leave its folder, or that one side could not store."""
    for part in key.split("/"):
        check_part(part, key)
    check_length(key)


def check_prefix(prefix: str) -> None:
    """As `check_key`, for the beginning of a key: its last name may be empty or incomplete."""
    *whole, last = prefix.split("/")
    for part in whole:
        check_part(part, prefix)
    if last:
        check_part(last, prefix)
    check_length(prefix)


def check_part(part: str, key: str) -> None:
    # A leading dot also keeps `.` and `..` out, and the folder's own files apart from objects.
    if not part or part.startswith(".") or "\\" in part or any(is_control(character) for character in part):
        raise InvalidInput(f"object key {key!r} has a part that is empty, begins with a dot or is not printable")
    if len(part.encode()) > MAX_PART_BYTES:
        raise InvalidInput(f"object key has a part of more than {MAX_PART_BYTES} bytes")


def check_length(key: str) -> None:
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidInput(f"object key has more than {MAX_KEY_BYTES} bytes")


def is_control(character: str) -> bool:
    """True for control characters and for halves of surrogate pairs, which UTF-8 cannot carry."""
    return unicodedata.category(character) in ("Cc", "Cs")
