"""A port that is taken is said, since a command without an address meets whoever has it."""

import socket

from streams.embedded.ports import port_for


def test_a_port_that_is_taken_is_said_with_the_one_in_its_place() -> None:
    said = list[str]()
    with socket.create_server(("127.0.0.1", 0)) as held:
        wanted = held.getsockname()[1]
        port = port_for("kafka", wanted, said.append)

    assert port != wanted
    assert said == [f"port {wanted} is taken by another program: kafka is on {port}"]


def test_nothing_is_said_of_a_port_that_is_free_or_that_nobody_chose() -> None:
    said = list[str]()

    port_for("the api", 0, said.append)

    assert said == []
