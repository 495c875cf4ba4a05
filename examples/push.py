"""Push one job straight to the queue with plain pika, and read its result from Redis: no Penstock code.

    python examples/push.py --broker amqp://guest:guest@127.0.0.1:5672/%2F --redis redis://127.0.0.1:6379/0 \
        --model echo --inputs '{"x": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}'

docs/messages.md describes the message; a client in any other language does the same three steps.
"""

import argparse
import base64
import hmac
import json
import os
import secrets
import sys
import time

import pika
import redis

TERMINAL = {"succeeded", "failed", "canceled", "expired"}


def main() -> int:
    options = parse()
    # 1. The message: a version, an id of your own that is unique, the model with its version, and the inputs.
    id = f"push_{time.time_ns():x}_{secrets.token_hex(4)}"
    message = {
        "v": 1,
        "id": id,
        "tenant": options.tenant,
        "model": options.model,
        "version": options.version,
        "pool": options.pool,
        "priority": "normal",
        "inputs": json.loads(options.inputs),
    }
    store = redis.Redis.from_url(options.redis, decode_responses=True)
    with store.pubsub(ignore_subscribe_messages=True) as done:
        # Listening begins before pushing, so that the end cannot be missed.
        done.subscribe("penstock:done")
        push(options.broker, message)
        print(f"pushed {id}", file=sys.stderr)
        job = wait(store, done, id, options.timeout)
    print(job.get("outputs") or job.get("error") or job["status"])
    return 0 if job["status"] == "succeeded" else 1


def push(url: str, message: dict[str, object]) -> None:
    """2. Publish it persistent, mandatory and confirmed: raises when the broker has no such queue or refuses it."""
    queue = f"{message['pool']}.{message['model']}.{message['version']}.{message['priority']}"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange="penstock.jobs",
            routing_key=queue,
            body=signed(json.dumps(message).encode()),
            properties=pika.BasicProperties(delivery_mode=2, content_type="application/json", message_id=message["id"]),
            mandatory=True,
        )


def signed(body: bytes) -> bytes:
    """Where the farm's messages are signed (PENSTOCK_SIGNING_KEY): the signature becomes the last member."""
    key = os.environ.get("PENSTOCK_SIGNING_KEY", "").partition(",")[0].strip()
    if not key:
        return body
    signature = base64.b64encode(hmac.digest(key.encode(), body, "sha256"))
    return body[:-1] + b',"sig":"v1,' + signature + b'"}'


def wait(store: "redis.Redis", done: "redis.client.PubSub", id: str, timeout_s: float) -> dict[str, str]:
    """3. Read the job's record once it has ended. `outputs` holds JSON; large ones lie under `outputs_key`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        job: dict[str, str] = store.hgetall(f"penstock:job:{id}")
        if job.get("status") in TERMINAL:
            return job
        done.get_message(timeout=1.0)
    raise SystemExit(f"{id} has not ended within {timeout_s:g} s")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", required=True, help="amqp://user:password@host:5672/vhost (%%2F for /)")
    parser.add_argument("--redis", required=True, help="redis://host:6379/0")
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--inputs", required=True, help="a JSON object that maps the model's inputs to values")
    parser.add_argument("--tenant", default="local", help="whose job it is")
    parser.add_argument("--pool", default="cpu")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for the result")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
