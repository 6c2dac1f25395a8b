"""The metrics: one registry per node, rendered as text that a scraper reads."""

from prometheus_client.parser import text_string_to_metric_families

from entresol.node.metrics import PREFIX, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_was_counted_is_rendered() -> None:
    metrics = Metrics()
    metrics.accepted.inc(3)
    metrics.refused.labels("QUEUE_FULL").inc()
    metrics.confirmation_seconds.observe(0.004)
    metrics.l1_balance.labels("batcher").set(1.5)
    found = samples(metrics)
    assert found["entresol_sequencer_accepted_total", ()] == 3
    assert found["entresol_sequencer_refused_total", (("reason", "QUEUE_FULL"),)] == 1
    assert found["entresol_sequencer_confirmation_seconds_count", ()] == 1
    bucket = "entresol_sequencer_confirmation_seconds_bucket"
    assert found[bucket, (("le", "0.002"),)] == 0
    assert found[bucket, (("le", "0.005"),)] == 1
    assert found["entresol_l1_balance_ether", (("actor", "batcher"),)] == 1.5


def test_a_watched_gauge_is_read_when_rendered() -> None:
    metrics = Metrics()
    queue = [1, 2, 3]
    metrics.watch(metrics.queue_length, lambda: len(queue))
    assert samples(metrics)["entresol_sequencer_queue", ()] == 3
    queue.clear()
    assert samples(metrics)["entresol_sequencer_queue", ()] == 0


def test_two_nodes_in_one_process_do_not_share_counts() -> None:
    first, second = Metrics(), Metrics()
    first.blocks.inc()
    assert samples(first)["entresol_sequencer_blocks_total", ()] == 1
    assert samples(second)["entresol_sequencer_blocks_total", ()] == 0


def test_every_name_has_the_prefix_and_every_metric_a_text() -> None:
    for family in text_string_to_metric_families(Metrics().render().decode()):
        assert family.name.startswith(PREFIX + "_")
        assert family.documentation.endswith(".")
