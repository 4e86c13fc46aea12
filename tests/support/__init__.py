"""Fakes of the ports, and small builders, shared by the tests."""
