"""docs/settings.md, from the settings themselves."""

import settings

HEAD = """\
# Settings

Read from the environment, once, at start; `penstock config` prints what is in force.
A name that is not in this table is an error that names the nearest one.
A setting that holds a secret can name a file instead: `PENSTOCK_REDIS_URL_FILE=/run/secrets/redis`.

"""


def page() -> str:
    return HEAD + settings.table()
