"""`damoscope alerts test`."""

from __future__ import annotations

from monitoring.notify.channels import Channels
from monitoring.notify.message import test_notice
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def test(settings: Settings) -> bool:
    """Send a test notice to every channel; print a line for each. Returns whether all took it.

    Raises ConfigurationError when there is no channel, or an address cannot be used.
    """
    channels = Channels(settings)
    if not channels.kinds:
        raise ConfigurationError(
            "no channel is set: put Apprise URLs into DAMOSCOPE_NOTIFY or DAMOSCOPE_NOTIFY_FILE"
        )
    deliveries = channels.send(test_notice())
    for number, delivery in enumerate(deliveries, 1):
        outcome = "sent" if delivery.ok else f"not sent: {delivery.error}"
        print(f"{number} {delivery.kind}: {outcome}")
    return all(delivery.ok for delivery in deliveries)
