"""Where a farm is, for its clients."""

from typing import NamedTuple


class Place(NamedTuple):
    url: str
    #: API key; "" where none is asked for.
    key: str
    tenant: str
    #: For pika; "" where there is no AMQP broker.
    broker: str
    #: Where webhooks go; "" where none are sent.
    sink: str
