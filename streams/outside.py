"""What lies outside and may be away: broker, warehouse, registry. Stages ask until it answers, commands say so and end."""


class Away(Exception):
    """Something outside does not answer; the message names it and a remedy. Nothing is wrong with what was asked."""
