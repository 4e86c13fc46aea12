"""What `status` says of the API: at a start it is not called broken."""

from streams.cli.status import standing


def test_an_api_that_is_not_ready_just_after_the_start_is_starting() -> None:
    late = ["usage is not metered (385 s behind); look at the broker and the meter"]

    assert standing({"ready": True, "reasons": [], "starting": False}) == "ready"
    assert standing({"ready": False, "reasons": late, "starting": True}) == f"is starting: {late[0]}"
    assert standing({"ready": False, "reasons": late, "starting": False}) == f"not ready: {late[0]}"
