"""What `/metrics` says of webhooks: the farm's, as the store knows them."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from storage.deliveries import DELIVERED, DISABLED, EXHAUSTED, Deliveries


def hooks(deliveries: Deliveries) -> list[Metric]:
    """Raises StoreUnavailable."""
    counters = deliveries.counters()
    settled = CounterMetricFamily("penstock_webhooks", "Webhooks settled, by what came of them.", labels=["outcome"])
    for outcome in (DELIVERED, EXHAUSTED, DISABLED):
        settled.add_metric([outcome], counters.get(outcome, 0))
    attempts = CounterMetricFamily("penstock_webhook_attempts", "Sendings of webhooks.", labels=["outcome"])
    good, bad = counters.get("attempts:good", 0), counters.get("attempts:bad", 0)
    attempts.add_metric(["good"], good)
    attempts.add_metric(["bad"], bad)
    seconds = SummaryMetricFamily(
        "penstock_webhook_seconds", "From a sending to its answer.", count_value=int(good + bad),
        sum_value=counters.get("latency_ms", 0) / 1000,
    )  # fmt: skip
    pending = GaugeMetricFamily(
        "penstock_webhooks_pending", "Webhooks on their way, events included that nobody has looked at.",
        value=counters.get("pending", 0) + deliveries.untold(),
    )  # fmt: skip
    return [settled, attempts, seconds, pending]
