"""What the chunk transport relies on inside Faust, pinned: an upgrade that changes any of it fails here, not at night.

When one fails: read the new source beside streams/kafka/transport.py, run the integration tests, then renew the digest.
"""

import hashlib
import inspect

import pytest
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from streams.kafka.transport import ChunkConsumer

PINNED = {
    "ConsumerThread/Consumer._drain_messages": (base.Consumer._drain_messages, "44a2500309e83c63"),
    "Consumer.ack": (base.Consumer.ack, "5fcf41cf45153475"),
    "Consumer._new_offset": (base.Consumer._new_offset, "1d2c7ea89a7ad4f1"),
    "Consumer._filter_tps_with_pending_acks": (base.Consumer._filter_tps_with_pending_acks, "f6f9239774234e7e"),
    "Consumer.perform_seek": (base.Consumer.perform_seek, "0e8c130ff4b0afd8"),
    "Consumer.on_partitions_revoked": (base.Consumer.on_partitions_revoked, "d04b7ae72c6fc206"),
    "Consumer._wait_next_records": (base.Consumer._wait_next_records, "6218e1969a636b3f"),
    "aiokafka Consumer._to_message": (driver.Consumer._to_message, "7c24f6511b2fcef7"),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_we_override_or_call_is_what_we_read(name: str) -> None:
    function, digest = PINNED[name]

    source = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]

    assert source == digest, f"{name} changed; its digest is now {source}"


def test_a_consumer_message_takes_what_we_give() -> None:
    names = list(inspect.signature(ConsumerMessage.__init__).parameters)

    assert names[1:14] == [
        "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
        "serialized_key_size", "serialized_value_size", "tp", "time_in",
    ]  # fmt: skip
    assert "generation_id" in names


def test_every_override_still_overrides_something() -> None:
    ours = [n for n, v in vars(ChunkConsumer).items() if inspect.isfunction(v)]
    inherited = ("ack", "_filter_tps_with_pending_acks", "_new_offset", "on_partitions_revoked", "perform_seek", "seek",
                 "_drain_messages")  # fmt: skip

    assert set(inherited) <= set(ours)
    assert all(hasattr(driver.Consumer, name) for name in inherited)


@pytest.mark.parametrize(
    "attribute",
    ["_read_offset", "_unacked_messages", "_n_acked", "_buffered_partitions", "flow_active", "can_resume_flow",
     "suspend_flow", "callback", "_stopped"],
)  # fmt: skip
def test_the_attributes_that_we_use_are_still_set_by_faust(attribute: str) -> None:
    sources = "".join(inspect.getsource(cls) for cls in driver.Consumer.__mro__ if cls is not object)

    assert f"{attribute}" in sources
